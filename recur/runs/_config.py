"""Configurations as frozen dataclasses, absl flags made from them, and configurations read back from a run."""

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from absl import flags

from recur import cells, train
from recur.runs import _cluster

C = TypeVar("C", bound="CellConfig")
PARSERS = {float: flags.FloatParser, int: flags.IntegerParser, str: flags.ArgumentParser}

CELL_HELP = (
    f"Cell, or several with commas: {', '.join(sorted(cells.CELLS))}; or your own as module:factory or "
    "path/file.py:factory."
)

GROUPS = {
    "Model": "cell hidden_size layers",
    "Data": "data eval_data",
    "Training": "epochs steps batch_size optimizer learning_rate schedule warmup_steps decay_to momentum weight_decay "
    "clip_norm ema_decay eval_every patience on_nonfinite",
    "Run": "workdir config resume seeds seed checkpoint_every_s host_devices tensorboard probe_every flow "
    "deterministic traceback",
}
"""Flags by the heading that they stand under in ``--help``; what is in none is an option of the experiment."""


def group_of(name: str) -> str:
    """Returns the heading of a flag in ``--help``."""
    return next((group for group, names in GROUPS.items() if name in names.split()), "Experiment")


def option(
    default: Any,
    text: str,
    *,
    least: float | None = None,
    free: bool = False,
    before: Callable[[Mapping[str, Any]], Any] | None = None,
) -> Any:
    """Returns a dataclass field that is a flag.

    Args:
        default: Its value if nothing is said.
        text: What ``--help`` says.
        least: The least value allowed.
        free: Whether it may change when a run is started again, since training does not depend on it.
        before: What was done before there was the option, from the stored options of such a run; None where that is
            its default.
    """
    metadata = {"help": text, "least": least, "free": free, "before": before}
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CellConfig:
    """What every script is told that trains cells for several seeds; a subclass overrides defaults and adds options.

    Raises:
        ValueError: A value out of its range, or an unknown cell.
        TypeError: A value of another type than its default.
    """

    workdir: str = option("runs/run", "Folder of the run; with several cells each has a folder in it.")
    cell: str | cells.Cell = option("lstm", CELL_HELP)
    hidden_size: int = option(32, "Hidden units of a layer.", least=1)
    seeds: int = option(3, "How many seeds to train, together in one program.", least=1)
    seed: int = option(0, "The first seed; the others follow it.", least=0)
    learning_rate: float = option(1e-3, "Step size of the optimiser, the greatest of a schedule.", least=0.0)
    resume: bool = option(True, "Continue the run in workdir if there is one; otherwise its being there is an error.")

    def __post_init__(self) -> None:
        """Checks every value."""
        for field in dataclasses.fields(self):
            value, kind = getattr(self, field.name), type(field.default)
            if field.name == "cell" and isinstance(value, cells.Cell):
                continue
            if kind is float and type(value) is int:
                object.__setattr__(self, field.name, value := float(value))
            if type(value) is not kind:
                raise TypeError(f"{field.name}: expected {kind.__name__}, got {value!r}")
            least = field.metadata["least"]
            if least is not None and not (least <= value < math.inf):
                raise ValueError(f"{field.name}: expected a finite number >= {least}, got {value}")
        if self.learning_rate == 0:
            raise ValueError("learning_rate: expected a positive number, got 0.0")
        if self.seed + self.seeds > 2**32:
            raise ValueError(f"seed: expected at most {2**32 - self.seeds}, got {self.seed}")
        if not self.workdir:
            raise ValueError("workdir: expected a folder, got ''")
        if len(set(self.cell_names)) < len(self.cell_names):
            raise ValueError(f"cell: expected cells each once, got {self.cell!r}")
        if not isinstance(self.cell, cells.Cell):
            for name in self.cell_names:
                cells.find_factory(name)

    @property
    def cell_names(self) -> list[str]:
        """The cells asked for."""
        if isinstance(self.cell, cells.Cell):
            return [repr(self.cell)]
        return [name.strip() for name in self.cell.split(",")]

    def make_cell(self) -> cells.Cell:
        """Returns the cell: the one that was given, or the one of this name with `hidden_size` units."""
        if isinstance(self.cell, cells.Cell):
            return self.cell
        factory = cells.find_factory(self.cell)
        try:
            cell = factory(self.hidden_size)
        except TypeError as error:
            raise ValueError(f"cell: expected {self.cell} to be made from a number of units, got: {error}") from None
        if not isinstance(cell, cells.Cell):
            raise ValueError(f"cell: expected {self.cell} to make a recur.cells.Cell, got {type(cell).__name__}")
        return cell

    def options(self) -> dict[str, Any]:
        """Returns all options by name, as they are written into files."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {**values, "cell": repr(self.cell) if isinstance(self.cell, cells.Cell) else self.cell}


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig(CellConfig):
    """What every run is told that trains on data."""

    epochs: int = option(100, "Passes over the training data.", least=1)
    steps: int = option(0, "Steps of the optimiser in all, in place of epochs; 0 for those of the epochs.", least=0)
    batch_size: int = option(32, "Sequences of a batch.", least=1)
    optimizer: str = option("adam", f"Optimiser: {', '.join(train.OPTIMIZERS)}.")
    schedule: str = option("constant", f"Step size over the run: {', '.join(train.SCHEDULES)}.")
    warmup_steps: int = option(0, "Steps in which the step size grows from zero, before the schedule.", least=0)
    decay_to: float = option(0.01, "Last step size of a schedule, as a share of the greatest.", least=0.0)
    momentum: float = option(0.0, "Momentum of sgd.", least=0.0)
    weight_decay: float = option(0.0, "Weight decay of adamw.", least=0.0)
    clip_norm: float = option(1.0, "Greatest norm of the gradient; 0 leaves it as it is.", least=0.0)
    ema_decay: float = option(
        0.0, "Decay of a moving average of the parameters, which is evaluated; 0 for none.", least=0.0
    )
    eval_every: int = option(0, "Steps between evaluations; 0 for those of an epoch.", least=0)
    patience: int = option(0, "End after so many evaluations in a row that improved no seed; 0 for never.", least=0)
    on_nonfinite: str = option(
        "stop",
        "What to do about a step with numbers that are infinite or not a number, which is never taken: stop (the seed; "
        "others go on), skip (the step), halve (back to the last good state, with half the learning rate).",
    )
    checkpoint_every_s: float = option(60.0, "Seconds between checkpoints.", least=0.0)
    tensorboard: bool = option(True, "Write the history as TensorBoard files too.")
    probe_every: int = option(0, "Steps between looks at lag curves, gates and parameters; 0 for none.", least=0)
    flow: bool = option(False, "After training, measure the gradient by lag, before it and after it.")
    deterministic: bool = option(
        False,
        "Bitwise equal runs, on the same machine with the same devices and versions. Costs nothing on a CPU, where "
        "runs are so anyway; on a GPU kernels are chosen without being timed, and sums go in a fixed order: slower.",
    )
    data: str = option("", "File to train on, in place of drawn data: .npz with x [N, T, X] and y [N, 1].")
    eval_data: str = option("", "Such a file to evaluate on at the end, also for a run that is already finished.")

    def __post_init__(self) -> None:
        """Checks every value."""
        super().__post_init__()
        if self.on_nonfinite not in train.ON_NONFINITE:
            raise ValueError(
                f"on_nonfinite: expected one of {', '.join(train.ON_NONFINITE)}, got {self.on_nonfinite!r}"
            )
        self.make_optimizer(max(self.steps, self.warmup_steps + 1))

    def total_steps(self, steps_per_epoch: int) -> int:
        """Returns the steps of the whole run."""
        return self.steps or self.epochs * steps_per_epoch

    def make_optimizer(self, total_steps: int) -> Any:
        """Returns the optimiser for so many steps, the same object for the same options.

        Raises:
            ValueError: A name or number that optimiser or schedule do not know.
        """
        schedule = train.make_schedule(
            self.schedule,
            self.learning_rate,
            # A constant step size does not depend on how long the run is.
            steps=self.warmup_steps + 1 if self.schedule == "constant" else total_steps,
            warmup_steps=self.warmup_steps,
            decay_to=self.decay_to,
        )
        return train.make_optimizer(self.optimizer, schedule, momentum=self.momentum, weight_decay=self.weight_decay)

    def describe_optimizer(self) -> str:
        """Returns in a few words how parameters are updated."""
        words = [f"{self.optimizer} {self.learning_rate:g}"]
        words += [f"warm-up over {self.warmup_steps} steps"] if self.warmup_steps else []
        words += [f"{self.schedule} to {self.decay_to:g} of it"] if self.schedule != "constant" else []
        words += [f"momentum {self.momentum:g}"] if self.momentum else []
        words += [f"weight decay {self.weight_decay:g}"] if self.weight_decay else []
        words += [f"gradient clipped to norm {self.clip_norm:g}" if self.clip_norm else "gradient not clipped"]
        words += [f"moving average with decay {self.ema_decay:g}"] if self.ema_decay else []
        return ", ".join(words)


def define_flags(config: type[CellConfig], flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines one absl flag for every field of a configuration, and ``--config``."""
    for field in dataclasses.fields(config):
        kind, default, text = type(field.default), field.default, field.metadata["help"]
        if kind is bool:
            flag = flags.BooleanFlag(field.name, default, text)
        else:
            limit = {} if kind is str else {"lower_bound": field.metadata["least"]}
            flag = flags.Flag(PARSERS[kind](**limit), flags.ArgumentSerializer(), field.name, default, text)
        flags.DEFINE_flag(flag, flag_values, module_name=group_of(field.name))
    if issubclass(config, RunConfig):
        _cluster.define_flags(flag_values)
    text = "The config.json of a run, to repeat it; other flags change it, as --workdir does."
    flags.DEFINE_string("config", "", text, flag_values, module_name=group_of("config"))


def from_flags(config: type[C], flag_values: flags.FlagValues = flags.FLAGS) -> C:
    """Returns the configuration that the parsed flags say, what they leave out being that of ``--config``.

    Raises:
        ValueError: The file holds no configuration of this experiment.
        OSError: It cannot be read.
    """
    stored = read_config(flag_values["config"].value, config) if flag_values["config"].value else {}
    values = {}
    for field in dataclasses.fields(config):
        flag = flag_values[field.name]
        values[field.name] = stored[field.name] if not flag.present and field.name in stored else flag.value
    try:
        return config(**values)
    # Flags have the right types: the file has not.
    except TypeError as error:
        raise ValueError(f"config: {flag_values['config'].value}: {error}") from None


def read_config(path: str, config: type[CellConfig]) -> dict[str, Any]:
    """Returns the options in the ``config.json`` of a run.

    Raises:
        ValueError: It is none, or of an experiment with other options.
        OSError: It cannot be read.
    """
    try:
        stored = json.loads(Path(path).read_text(encoding="utf-8"))
        experiment, options = stored["experiment"], dict(stored["config"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"config: expected the config.json of a run, got {path} ({error!r})") from None
    unknown = sorted(set(options) - {field.name for field in dataclasses.fields(config)})
    if unknown:
        raise ValueError(
            f"config: {path} is of experiment {experiment!r}, whose option {unknown[0]} is none of this one"
        )
    return options
