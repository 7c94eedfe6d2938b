"""Numbers that went wrong: which state of the network first, and what is told of it."""

from collections.abc import Callable

from jaxtyping import PyTree

from recur import flow, train
from recur.runs._config import CellConfig
from recur.runs._problem import Problem


def explain(problem: Problem) -> Callable[[PyTree, PyTree], str]:
    """Returns what names the first state of a network that is not finite, from parameters and batch of one seed.

    Where a problem does not say what its recurrent part reads of a batch, the sequences are those that ``--flow`` and
    ``--probe_every`` look at, and the words say so.
    """

    def words(params: PyTree, batch: PyTree) -> str:
        if problem.reads is not None:
            where, unrolled = "", problem.reads(params, batch)
        elif problem.recurrence is not None:
            where, unrolled = " on the sequences that --flow looks at", problem.recurrence(params)
        else:
            return ""
        first = flow.first_nonfinite(*unrolled)
        if first is None:
            return f"all states are finite{where}"
        *row, unit = first.entry
        sequence = f"sequence {', '.join(map(str, row))}, " if row else ""
        return f"state {first.field} is {first.value} at time step {first.step}, {sequence}unit {unit}{where}"

    return words


def tell(config: CellConfig) -> Callable[[train.NonFinite], None]:
    """Returns what prints a line about a seed that went wrong while it or others go on."""

    def show(event: train.NonFinite) -> None:
        print(f"{config.cell_names[0]}: {event.text(_name(config, event))}", flush=True)

    return show


def as_error(config: CellConfig, error: train.NonFiniteError) -> FloatingPointError:
    """Returns the error with the seed by its own number."""
    left = f"; none of the {config.seeds} seeds is left" if config.seeds > 1 else ""
    return FloatingPointError(f"{config.cell_names[0]}: {error.event.text(_name(config, error.event))}{left}")


def _name(config: CellConfig, event: train.NonFinite) -> str:
    return f"seed {config.seed + (event.seed or 0)}"
