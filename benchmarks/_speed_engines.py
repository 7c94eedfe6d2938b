"""recur's engines by name, beside the one that it chooses by itself."""

from collections.abc import Iterator
from typing import Any

import jax
from flax import nnx

from benchmarks._speed_programs import CannotError, Entry, Model, on_jax
from benchmarks._speed_recur import ONE, one_by_one
from benchmarks._speed_rows import CELLS, Case, directions
from recur import engines


def entries(case: Case) -> Iterator[Entry | tuple[str, CannotError]]:
    """Compiles recur under each engine that a row names, on one device; or says why it cannot run the cell."""
    for key in case.row.engines:
        engine = engines.ENGINES[key]()
        lack = engine.refusal(CELLS[case.cell](case.row.hidden))
        yield (_name(engine), CannotError(lack)) if lack else on_jax(case, model(case, engine))


def model(case: Case, engine: engines.Engine) -> Model:
    """Returns recur under an engine; several seeds run one after the other, as not every engine can be mapped."""
    module = nnx.clone(case.modules[0])
    for rnn in (rnn for layer in directions(module) for rnn in layer):
        rnn.engine = engine
    graph = nnx.graphdef(module)

    def apply(params: Any, x: jax.Array) -> jax.Array:
        return nnx.merge(graph, params)(x)

    return Model(_name(engine), apply, nnx.state, over_seeds=one_by_one)


def _name(engine: engines.Engine) -> str:
    return f"{ONE}.{type(engine).__name__}"
