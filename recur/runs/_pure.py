"""A Flax NNX module as pure functions of its parameters."""

import dataclasses
from collections.abc import Callable
from typing import Any

from flax import nnx
from jaxtyping import Array, Float, Key, PyTree

from recur import cells, nn


@dataclasses.dataclass(frozen=True)
class Pure:
    """What `pure` returns: ``init(key) -> params``, and ``model(params)``, which is the module with these parameters.

    Args:
        make: ``make(rngs) -> module``.
    """

    make: Callable[[nnx.Rngs], nnx.Module]

    def init(self, key: Key[Array, ""]) -> PyTree:
        """Draws the parameters, as plain dicts of arrays."""
        return nnx.to_pure_dict(nnx.state(self.make(nnx.Rngs(key)), nnx.Param))

    def __call__(self, params: PyTree) -> Any:
        """Returns the module that has these parameters; cheap, and JAX can trace it."""
        graph, state = nnx.split(nnx.eval_shape(lambda: self.make(nnx.Rngs(0))))
        nnx.replace_by_pure_dict(state, params)
        return nnx.merge(graph, state)

    def recurrence(self, params: PyTree, batch: PyTree) -> tuple[cells.Cell, PyTree, Float[Array, "T *B X"]]:
        """Returns the recurrent part with the inputs that it sees of a batch: ``(cell, its params, xs)``.

        A `recur.nn.Stack` in one direction is one deep cell. Of several recurrences it is the first.

        Args:
            params: Of one seed.
            batch: What the loss gets. The module reads its first entry, where it is a tuple, or its entry ``"x"`` or
                ``"inputs"``.
        """
        inputs = batch
        if isinstance(batch, tuple | list):
            inputs = batch[0]
        elif isinstance(batch, dict):
            inputs = batch["x"] if "x" in batch else batch["inputs"]
        module = self(params)
        found = next(iter(nn.recurrences(module, inputs).values()))
        stacks = [part for _, part in nnx.iter_modules(module) if isinstance(part, nn.Stack)]
        if len(stacks) == 1 and not stacks[0].bidirectional:
            return (*stacks[0].as_cell(), found.xs)
        return found.cell, found.params, found.xs


def pure(make: Callable[[nnx.Rngs], nnx.Module]) -> Pure:
    """Makes pure functions of a Flax NNX module, for a loss that takes parameters.

    Args:
        make: ``make(rngs) -> module``, such as ``lambda rngs: nn.SequenceRegressor(1, cell, input_size=1, rngs=rngs)``.

    Returns:
        `Pure`: ``model.init(key)``, ``model(params)(x)``, ``model.recurrence``.

    Raises:
        TypeError: No function.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from recur import cells, nn, runs
        >>> model = runs.pure(lambda rngs: nn.SequenceRegressor(1, cells.gru(4), input_size=1, rngs=rngs))
        >>> model(model.init(jax.random.key(0)))(jnp.ones((2, 5, 1))).shape
        (2, 1)
    """
    if not callable(make):
        raise TypeError(f"make: expected a function rngs -> module, got {type(make).__name__}")
    return Pure(make)
