"""Configurations as frozen dataclasses, and absl flags made from them."""

import dataclasses
import math
import sys
from typing import Any, TypeVar

from absl import flags

from recur import cells

C = TypeVar("C", bound="CellConfig")
PARSERS = {float: flags.FloatParser, int: flags.IntegerParser, str: flags.ArgumentParser}

CELL_HELP = f"Cell, or several with commas: {', '.join(sorted(cells.CELLS))}."


def option(default: Any, text: str, *, least: float | None = None) -> Any:
    """Returns a dataclass field that is a flag: default, help text, and the least value allowed."""
    return dataclasses.field(default=default, metadata={"help": text, "least": least})


@dataclasses.dataclass(frozen=True, kw_only=True)
class CellConfig:
    """What every script is told that trains cells for several seeds; a subclass overrides defaults and adds options.

    Raises:
        ValueError: A value out of its range, or an unknown cell.
        TypeError: A value of another type than its default.
    """

    workdir: str = option("runs/run", "Folder of the run; with several cells each has a folder in it.")
    cell: str = option("lstm", CELL_HELP)
    hidden_size: int = option(32, "Hidden units of a layer.", least=1)
    seeds: int = option(3, "How many seeds to train, together in one program.", least=1)
    seed: int = option(0, "The first seed; the others follow it.", least=0)
    learning_rate: float = option(1e-3, "Step size of Adam.", least=0.0)
    resume: bool = option(True, "Continue the run in workdir if there is one; otherwise its being there is an error.")

    def __post_init__(self) -> None:
        """Checks every value."""
        for field in dataclasses.fields(self):
            value, kind = getattr(self, field.name), type(field.default)
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
        unknown = [name for name in self.cell_names if name not in cells.CELLS]
        if unknown or len(set(self.cell_names)) < len(self.cell_names):
            raise ValueError(
                f"cell: expected one or several of {', '.join(sorted(cells.CELLS))}, each once, got {self.cell!r}"
            )

    @property
    def cell_names(self) -> list[str]:
        """The cells asked for."""
        return [name.strip() for name in self.cell.split(",")]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig(CellConfig):
    """What every run is told that passes over training data."""

    epochs: int = option(100, "Passes over the training data.", least=1)
    batch_size: int = option(32, "Sequences of a batch.", least=1)
    clip_norm: float = option(1.0, "Greatest norm of the gradient; 0 leaves it as it is.", least=0.0)
    probe_every: int = option(0, "Steps between looks at lag curves, gates and parameters; 0 for none.", least=0)
    checkpoint_every_s: float = option(60.0, "Seconds between checkpoints.", least=0.0)
    data: str = option("", "File to train on, in place of drawn data: .npz with x [N, T, X] and y [N, 1].")
    eval_data: str = option("", "Such a file to evaluate on at the end, also for a run that is already finished.")


def define_flags(config: type[CellConfig], flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines one absl flag for every field of a configuration."""
    for field in dataclasses.fields(config):
        kind, default, text = type(field.default), field.default, field.metadata["help"]
        if kind is bool:
            flag = flags.BooleanFlag(field.name, default, text)
        else:
            limit = {} if kind is str else {"lower_bound": field.metadata["least"]}
            flag = flags.Flag(PARSERS[kind](**limit), flags.ArgumentSerializer(), field.name, default, text)
        # Under the script's own name, so that --help shows it.
        flags.DEFINE_flag(flag, flag_values, module_name=sys.argv[0])


def from_flags(config: type[C], flag_values: flags.FlagValues = flags.FLAGS) -> C:
    """Returns the configuration that the parsed flags say."""
    return config(**{field.name: flag_values[field.name].value for field in dataclasses.fields(config)})
