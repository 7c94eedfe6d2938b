"""One training run in its folder: configuration, history, checkpoints, summary, page."""

import contextlib
import dataclasses
import functools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Key, PyTree

from recur import report, train
from recur.runs import _broken, _cluster, _flow, _folder, _history, _lock, _machine, _page, _probe
from recur.runs._config import CellConfig, RunConfig
from recur.runs._main import StoppedError, stop_on_interrupt
from recur.runs._problem import Problem
from recur.runs._progress import progress


def run(name: str, config: RunConfig, pose: Callable[[RunConfig], Problem]) -> dict[str, Any]:
    """Trains every cell asked for, and writes and returns the summary.

    A run that is found in its folder goes on, and ends as if it had never been stopped; one that is finished is
    measured again.

    Args:
        name: Of the experiment.
        config: With several cells each is trained in ``workdir/CELL``, and the summary names metrics ``CELL.NAME``.
        pose: Makes the problem from a configuration of one cell; wrong values and files are found there.

    Raises:
        StoppedError: Ctrl-C or SIGTERM, after a checkpoint.
        ValueError: A value or file that does not fit.
        OSError: A file or folder that cannot be read or written.
    """
    if config.deterministic:
        print(_machine.be_deterministic(), flush=True)
    with _cluster.own_folder(config.workdir) as workdir:
        own = dataclasses.replace(config, workdir=workdir)
        return _run_cells(name, own, pose, Path(config.workdir))


def _run_cells(name: str, config: RunConfig, pose: Callable[[RunConfig], Problem], shared: Path) -> dict[str, Any]:
    """Runs in the folder of `config`; the checkpoints are those of all processes, in folder `shared`."""
    # Wrong values and files are found here, before anything is written.
    if len(config.cell_names) == 1:
        return _Run(name, config, pose(config), shared / "checkpoints").run()
    configs = [
        dataclasses.replace(config, cell=cell, workdir=str(Path(config.workdir) / label(cell)))
        for cell in config.cell_names
    ]
    problem = pose(configs[0])
    with _lock.alone_in(config.workdir):
        workdir = _folder.check_folder(name, config)
        _folder.write_config(workdir, name, config)
        metrics, curves, broken, wall_s = {}, {}, {}, 0.0
        for alone in configs:
            problem = problem if alone is configs[0] else pose(alone)
            summary = _Run(name, alone, problem, shared / label(alone.cell) / "checkpoints").run()
            metrics |= {f"{label(alone.cell)}.{key}": value for key, value in summary["metrics"].items()}
            rows = report.read_jsonl(workdir / label(alone.cell) / "history.jsonl")
            curves[label(alone.cell)] = _history.curve(rows, problem.best_of)
            broken |= {f"{label(alone.cell)}.{seed}": step for seed, step in summary.get("broken", {}).items()}
            wall_s += summary["wall_s"]
        is_loss = problem.best_of.endswith("_loss")
        style = _loss_style(problem) if is_loss else {"y_label": problem.best_of}
        figure = _history.draw(f"{name}: {problem.best_of}", config, curves, **style)
        report.save_figure(workdir / ("loss.png" if is_loss else f"{problem.best_of}.png"), figure)
        return _folder.write_summary(workdir, name, config, metrics, wall_s, broken)


def label(cell: str) -> str:
    """Returns the name of a cell as a folder may bear it: of ``file.py:factory`` the factory's."""
    return re.sub(r"[^\w.-]", "_", cell.rpartition(":")[2])


def seed_keys(config: CellConfig) -> Key[Array, "S"]:
    """Returns one key a seed: seed n draws the same whatever the seeds beside it."""
    return jnp.stack([jax.random.key(config.seed + index) for index in range(config.seeds)])


class _Run:
    """The run of one cell."""

    def __init__(self, name: str, config: RunConfig, problem: Problem, checkpoints: Path):
        problem = problem.with_batch(jax.random.key(config.seed), config.batch_size)
        self.name, self.config, self.problem, self.checkpoints = name, config, problem, checkpoints
        if (config.flow or config.probe_every) and problem.recurrence is None:
            raise ValueError(f"flow: {name} hands out no recurrent part to look at; leave out --flow and --probe_every")
        self.per_epoch = problem.epoch_steps(config.batch_size)
        self.steps = config.total_steps(self.per_epoch)
        self.optimizer = config.make_optimizer(self.steps)
        self.title = f"{name}, {config.cell_names[0]}"

    def run(self) -> dict[str, Any]:
        """Trains, measures, shows, and returns the summary."""
        with _lock.alone_in(self.config.workdir):
            self.workdir = _folder.check_folder(self.name, self.config)
            about = _folder.identity(self.name, self.config)
            # Opened before a file is written: if all checkpoints are damaged, everything stays as it is.
            # The folder's own configuration was compared above, in which some options may change.
            ignoring = {"on_other_config": "ignore"}
            with train.Checkpoints(self.checkpoints, config=about, **ignoring) as checkpoints:
                return self._run(checkpoints)

    def _run(self, checkpoints: train.Checkpoints) -> dict[str, Any]:
        config, problem = self.config, self.problem
        _folder.write_config(self.workdir, self.name, config)
        start = _start(
            seed_keys(config),
            problem.carry,
            init=problem.init,
            optimizer=self.optimizer,
            ema=config.ema_decay > 0,
        )
        outline = _outline(config, start.params)
        print(outline)
        print(
            f"seeds {config.seed} to {config.seed + config.seeds - 1}, {self.steps:,} steps of {self.per_epoch:,} an "
            f"epoch, batch {config.batch_size}, {config.describe_optimizer()}; {config.workdir}",
            flush=True,
        )
        fitted = self._train(start, checkpoints)
        # From the devices that trained it to one.
        gathered = train.gather((fitted.state.best, fitted.state.evaluated))
        best, last = jax.device_put(gathered, jax.local_devices()[0])
        params = best.params if problem.measured == "best" else last
        record = fitted.history[-1]
        metrics = {name: values for name, values in record.metrics.items() if name.startswith(("train_", "val_"))}
        metrics |= {f"best_{problem.best_of}": best.value, "best_epoch": best.step / self.per_epoch}
        metrics |= problem.measure(params) if problem.measure else {}
        broken = _history.broken(record.metrics, config)
        summary = _folder.write_summary(self.workdir, self.name, config, metrics, record.wall_s, broken)
        print(_folder.as_text(self.title, summary), flush=True)
        sections = self._sections(fitted, start.params, params)
        _page.write(self.workdir, self.title, config, outline, summary, sections)
        return summary

    def _sections(self, fitted: train.Fit, before: PyTree, after: PyTree) -> dict[str, dict[str, Any]]:
        """Returns what there is to see, by heading and name, and prints what of it is text."""
        config, problem = self.config, self.problem
        rows = [_history.row(record, self.per_epoch) for record in fitted.history]
        sections = {"Training": _history.figures(rows, self.title, config, loss=_loss_style(problem))}
        broken = _history.broken(rows[-1], config)
        if broken:
            sections["Training"]["broken"] = _folder.broken_lines(broken)
        probed = _probe.read(self.workdir / "probe.jsonl")
        if probed:
            sections["Training"]["probe"] = _probe.draw(f"{self.title}: gradient while training", "", probed)
        if config.flow:
            figure, words = _flow.compare(self.workdir / "flow.jsonl", problem.recurrence, before, after, config)
            sections["Gradient flow"] = {"flow": figure, "flow_verdict": [words]}
        if problem.show:
            sections["Examples"] = dict(problem.show(after))
        for entry in (entry for entries in sections.values() for entry in entries.values() if _page.is_text(entry)):
            print(*entry, sep="\n", flush=True)
        return sections

    def _train(self, start: train.TrainState, checkpoints: train.Checkpoints) -> train.Fit:
        """Trains from where the run in the folder is, and leaves its history there."""
        config, problem = self.config, self.problem
        with (
            stop_on_interrupt("stopping (again: at once, back to the last checkpoint)") as stop,
            self._hooks(start, checkpoints, stop) as hooks,
        ):
            common = {
                "steps": self.steps,
                "eval_every": config.eval_every or self.per_epoch,
                "validation": problem.validation,
                "data_axis": problem.data_axis,
                "monitor": problem.best_of,
                "maximize": problem.maximize,
                "patience": config.patience or None,
                "clip_norm": config.clip_norm or None,
                "ema_decay": config.ema_decay or None,
                "mesh": train.make_mesh(config.seeds, config.batch_size),
                "on_nonfinite": config.on_nonfinite,
                "hooks": hooks,
            }
            try:
                if problem.draw is not None:
                    fitted = train.fit(start, problem.loss, self.optimizer, draw=problem.draw, **common)
                elif problem.batches is not None:
                    fitted = train.fit_batches(start, problem.loss, self.optimizer, problem.batches, **common)
                else:
                    own = {"batch_size": config.batch_size, "shuffle": problem.shuffle}
                    fitted = train.fit(start, problem.loss, self.optimizer, problem.data, **own, **common)
            except train.NonFiniteError as error:
                raise _broken.as_error(config, error) from error
        rows = [_history.row(record, self.per_epoch) for record in fitted.history]
        report.write_jsonl(self.workdir / "history.jsonl", rows)
        report.write_csv(self.workdir / "history.csv", _history.tidy(rows, config))
        if not fitted.finished:
            step = int(train.gather(fitted.state.step)[0])
            text = f"stopped after step {step:,} of {self.steps:,}; the same command goes on from there"
            raise StoppedError(text, stop.number)
        return fitted

    @contextlib.contextmanager
    def _hooks(
        self, start: train.TrainState, checkpoints: train.Checkpoints, stop: Callable[[], bool]
    ) -> Iterator[train.Hooks]:
        """Yields what happens beside training; what was written after the last checkpoint comes again, so it goes."""
        config, history_file, probe_file = self.config, self.workdir / "history.jsonl", self.workdir / "probe.jsonl"
        step = checkpoints.latest() or 0
        done = checkpoints.progress().history if step else []

        def write(record: train.Record) -> None:
            report.append_jsonl(history_file, _history.row(record, self.per_epoch))

        report.write_jsonl(history_file, [_history.row(record, self.per_epoch) for record in done])
        probing = {}
        if config.probe_every:
            # A run that begins looks at step 0 itself.
            kept = [row for row in _probe.read(probe_file) if row["step"] <= step] if step else []
            report.write_jsonl(probe_file, kept)
            probing = {
                "probe": _probe.make(self.problem.recurrence, jax.tree.map(lambda leaf: leaf[0], start.params)),
                "probe_every": config.probe_every,
                "on_probe": [lambda look: report.append_jsonl(probe_file, _probe.row(look))],
            }
        with (
            _history.tensorboard(self.workdir / "tensorboard", config, step) as to_tensorboard,
            progress(config.cell_names[0], step, self.steps) as show,
        ):
            yield train.Hooks(
                checkpoints=checkpoints,
                checkpoint_every_s=config.checkpoint_every_s,
                on_record=[write, to_tensorboard],
                on_nonfinite=[_broken.tell(config)],
                explain=_broken.explain(self.problem),
                on_call=[show],
                stop=stop,
                **probing,
            )


@functools.partial(_machine.jit_once, static_argnames=("init", "optimizer", "ema"))
def _start(
    keys: Key[Array, "S"], carry: PyTree, *, init: Callable, optimizer: optax.GradientTransformation, ema: bool
) -> train.TrainState:
    def one(key: Key[Array, ""]) -> train.TrainState:
        # 0 is the data's, drawn where the problem is posed.
        params = init(jax.random.fold_in(key, 1))
        return train.init_state(params, optimizer, jax.random.fold_in(key, 2), ema=ema, carry=carry)

    return jax.lax.map(one, keys)


def _loss_style(problem: Problem) -> dict[str, Any]:
    return {"y_label": problem.loss_name, "y_scale": problem.loss_scale, "floors": problem.floors}


def _outline(config: RunConfig, params: PyTree) -> str:
    """Returns layers, shapes and number of parameters of one seed in a line."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    layers: dict[str, list[str]] = {}
    for path, leaf in leaves:
        module = jax.tree_util.keystr(path[:-1], simple=True, separator=".")
        name = jax.tree_util.keystr(path[-1:], simple=True)
        layers.setdefault(module, []).append(f"{name} {'x'.join(map(str, leaf.shape[1:]))}")
    named = {f"{module}: " if module else "": ", ".join(shapes) for module, shapes in layers.items()}
    outline = "; ".join(module + shapes for module, shapes in named.items())
    return f"{config.cell_names[0]}: {sum(leaf.size // len(leaf) for _, leaf in leaves):,} parameters ({outline})"
