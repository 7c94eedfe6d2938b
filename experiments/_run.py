"""One training run in its folder: configuration, history, checkpoints, picture, summary."""

import contextlib
import dataclasses
import functools
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Key, PyTree

from experiments import _folder, _history, _probe
from experiments._config import CellConfig, RunConfig
from experiments._main import stop_on_interrupt
from recur import report, train


class Problem(NamedTuple):
    """What an experiment hands over, for S seeds.

    Attributes:
        init: Draws the parameters of one seed.
        loss: What training lowers, ``loss(params, batch, key) -> (scalar, metrics)``.
        data: Training data, ``[S, N, ...]``.
        validation: The like, evaluated on after every epoch.
        as_cell: Hands out the recurrent part of the parameters of one seed, for ``--probe_every``.
        measure: Numbers of the trained parameters, ``params [S, ...] -> {name: [S]}``.
        floors: Dashed lines of the picture, by label.
        loss_name: What the loss is, for the picture.
    """

    init: Callable[[Key[Array, ""]], PyTree]
    loss: train.Loss
    data: PyTree
    validation: PyTree
    as_cell: _probe.AsCell
    measure: Callable[[PyTree], Mapping[str, Float[Array, "S"]]]
    floors: Mapping[str, float]
    loss_name: str = "mean squared error"

    def steps_per_epoch(self, batch_size: int) -> int:
        """Returns the number of batches in an epoch."""
        return jax.tree.leaves(self.data)[0].shape[1] // batch_size


def run(name: str, config: RunConfig, pose: Callable[[RunConfig], Problem]) -> dict[str, Any]:
    """Trains every cell asked for, and writes and returns the summary.

    Args:
        name: Of the experiment.
        config: With several cells each is trained in ``workdir/CELL``, and the summary names metrics ``CELL.NAME``.
        pose: Makes the problem from a configuration of one cell; wrong values and files are found there.

    Raises:
        KeyboardInterrupt: Ctrl-C, after a checkpoint of the last whole epoch.
        ValueError: A value or file that does not fit.
        OSError: A file or folder that cannot be read or written.
    """
    # Wrong values and files are found here, before anything is written.
    if len(config.cell_names) == 1:
        return _run_cell(name, config, pose(config))
    configs = [
        dataclasses.replace(config, cell=cell, workdir=str(Path(config.workdir) / cell)) for cell in config.cell_names
    ]
    problem = pose(configs[0])
    workdir = _folder.open_folder(name, config)
    metrics, curves, wall_s = {}, {}, 0.0
    for alone in configs:
        problem = problem if alone is configs[0] else pose(alone)
        summary = _run_cell(name, alone, problem)
        metrics |= {f"{alone.cell}.{key}": value for key, value in summary["metrics"].items()}
        curves[alone.cell] = _history.curve(report.read_jsonl(workdir / alone.cell / "history.jsonl"), "val_loss")
        wall_s += summary["wall_s"]
    _history.draw(
        workdir / "loss.png",
        f"{name}: validation loss",
        config,
        curves,
        loss_name=problem.loss_name,
        floors=problem.floors,
    )
    return _folder.write_summary(workdir, name, config, metrics, wall_s)


def _run_cell(name: str, config: RunConfig, problem: Problem) -> dict[str, Any]:
    workdir = _folder.open_folder(name, config)
    optimizer = _adam(config.learning_rate)
    state = _start(seed_keys(config), init=problem.init, optimizer=optimizer)
    _announce(config, state.params)
    with train.Checkpoints(workdir / "checkpoints") as checkpoints:
        fitted = _train(workdir, name, config, problem, optimizer, state, checkpoints)
    per_epoch = problem.steps_per_epoch(config.batch_size)
    rows = [_history.row(record, per_epoch) for record in fitted.history]
    report.write_jsonl(workdir / "history.jsonl", rows)
    report.write_csv(workdir / "history.csv", _history.tidy(rows, config))
    curves = {"training": _history.curve(rows, "train_loss"), "validation": _history.curve(rows, "val_loss")}
    _history.draw(
        workdir / "loss.png",
        f"{name}: loss of {config.cell}",
        config,
        curves,
        loss_name=problem.loss_name,
        floors=problem.floors,
    )
    if not fitted.finished:
        raise KeyboardInterrupt(
            f"stopped after step {int(fitted.state.step[0])} of {per_epoch * config.epochs}; the same command goes on "
            "from there"
        )
    metrics = _metrics(fitted, problem, per_epoch)
    summary = _folder.write_summary(workdir, name, config, metrics, fitted.history[-1].wall_s)
    print(_folder.as_text(f"{name}, {config.cell}", summary["metrics"]), flush=True)
    return summary


def seed_keys(config: CellConfig) -> Key[Array, "S"]:
    """Returns one key a seed: seed n draws the same whatever the seeds beside it."""
    return jnp.stack([jax.random.key(config.seed + index) for index in range(config.seeds)])


# The same optimiser for the same step size, so that a program compiled with it is used again.
_adam = functools.cache(optax.adam)


@functools.partial(jax.jit, static_argnames=("init", "optimizer"))
def _start(keys: Key[Array, "S"], *, init: Callable, optimizer: optax.GradientTransformation) -> train.TrainState:
    def one(key: Key[Array, ""]) -> train.TrainState:
        # 0 is the data's, drawn where the problem is posed.
        return train.init_state(init(jax.random.fold_in(key, 1)), optimizer, jax.random.fold_in(key, 2))

    return jax.lax.map(one, keys)


def _train(
    workdir: Path,
    name: str,
    config: RunConfig,
    problem: Problem,
    optimizer: optax.GradientTransformation,
    state: train.TrainState,
    checkpoints: train.Checkpoints,
) -> train.Fit:
    history_file, per_epoch = workdir / "history.jsonl", problem.steps_per_epoch(config.batch_size)
    history = [] if checkpoints.latest() is None else checkpoints.progress().history
    # What came after the checkpoint is trained again, so its rows go.
    report.write_jsonl(history_file, [_history.row(record, per_epoch) for record in history])
    probing = _probing(workdir, config, problem, state, checkpoints.latest()) if config.probe_every else {}
    notice = "stopping (Ctrl-C again: at once, back to the last checkpoint)"
    with _progress(config, history) as show, stop_on_interrupt(notice) as stop:
        hooks = train.Hooks(
            checkpoints=checkpoints,
            checkpoint_every_s=config.checkpoint_every_s,
            on_record=[lambda record: report.append_jsonl(history_file, _history.row(record, per_epoch)), show],
            stop=stop,
            **probing,
        )
        fitted = train.fit(
            state,
            problem.loss,
            optimizer,
            problem.data,
            validation=problem.validation,
            data_axis=0,
            epochs=config.epochs,
            batch_size=config.batch_size,
            clip_norm=config.clip_norm or None,
            mesh=train.make_mesh(config.seeds, config.batch_size),
            hooks=hooks,
        )
    if probing:
        rows, subtitle = report.read_jsonl(workdir / "probe.jsonl"), f"{config.cell}, {config.hidden_size} units"
        _probe.draw(workdir / "probe.png", f"{name}: gradient by lag while training", subtitle, rows)
    return fitted


def _probing(
    workdir: Path, config: RunConfig, problem: Problem, state: train.TrainState, step: int | None
) -> dict[str, Any]:
    """Returns the hooks that look at the first validation sequences of the first seed, from a step on."""
    rows = workdir / "probe.jsonl"
    report.write_jsonl(rows, _probe.kept(rows, -1 if step is None else step))
    one = jax.tree.map(lambda leaf: leaf[0], state.params)
    return {
        "probe": _probe.make(problem.as_cell, problem.validation[0][0], one),
        "probe_every": config.probe_every,
        "on_probe": [lambda look: report.append_jsonl(rows, _probe.row(look))],
    }


def _metrics(fitted: train.Fit, problem: Problem, steps_per_epoch: int) -> dict[str, np.ndarray]:
    last = fitted.history[-1].metrics
    metrics = {
        "train_loss": last["train_loss"],
        "val_loss": last["val_loss"],
        "best_val_loss": fitted.state.best.value,
        "best_epoch": fitted.state.best.step / steps_per_epoch,
        **problem.measure(fitted.state.params),
    }
    return {key: np.asarray(value, np.float64) for key, value in metrics.items()}


def _announce(config: RunConfig, params: PyTree) -> None:
    """Prints layers, shapes and number of parameters of one seed, and how it is trained, on a line each."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    layers: dict[str, list[str]] = {}
    for path, leaf in leaves:
        module = jax.tree_util.keystr(path[:-1], simple=True, separator=".")
        name = jax.tree_util.keystr(path[-1:], simple=True)
        layers.setdefault(module, []).append(f"{name} {'x'.join(map(str, leaf.shape[1:]))}")
    outline = "; ".join(f"{module}: {', '.join(shapes)}" for module, shapes in layers.items())
    count = sum(leaf[0].size for _, leaf in leaves)
    clip = f"gradient clipped to norm {config.clip_norm:g}" if config.clip_norm else "gradient not clipped"
    print(f"{config.cell}: {count:,} parameters ({outline})")
    print(
        f"seeds {config.seed} to {config.seed + config.seeds - 1}, {config.epochs} epochs, batch {config.batch_size}, "
        f"Adam {config.learning_rate:g}, {clip}; {config.workdir}",
        flush=True,
    )


@contextlib.contextmanager
def _progress(config: RunConfig, history: Sequence[train.Record]) -> Iterator[Callable[[train.Record], None]]:
    """Yields a function that shows a record in a bar, or nothing where standard error is no terminal."""
    if not sys.stderr.isatty():
        yield lambda record: None
        return
    import tqdm

    with tqdm.tqdm(total=config.epochs, initial=len(history), desc=config.cell, unit="epoch") as bar:

        def show(record: train.Record) -> None:
            losses = {name: f"{np.median(record.metrics[name]):.2e}" for name in ("train_loss", "val_loss")}
            bar.set_postfix(losses, refresh=False)
            bar.update()

        yield show
