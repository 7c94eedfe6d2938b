"""Where a run first leaves the finite numbers."""

from recur._types import Array, Bool, Float, Int, Params, State
from recur.cells import Cell
from recur.flow._trajectory import NonFiniteState, first_nonfinite_state, visited_states


def first_nonfinite(
    cell: Cell,
    params: Params,
    xs: Float[Array, "T *B X"],
    initial_state: State | None = None,
    *,
    lengths: Int[Array, "*B"] | None = None,
    mask: Bool[Array, "T *B"] | None = None,
    reset: Bool[Array, "T *B"] | None = None,
    reverse: bool = False,
) -> NonFiniteState | None:
    """Returns the first state of a run that is infinite or not a number: its step, layer, field and unit.

    Of several in the same step it is the one in the lowest layer, and there in the first field.

    Args:
        cell: What to run, step by step.
        params: Its parameters.
        xs: Inputs.
        initial_state: State before the first step (see `recur.unroll`).
        lengths: Steps of each sequence that count, from the first on; the rest is padding.
        mask: Which steps count, wherever they stand; in place of `lengths`.
        reset: Where a new sequence begins, from the cell's own initial state.
        reverse: Whether the last step is taken first.

    Returns:
        `NonFiniteState`, None if all states are finite.

    Raises:
        TypeError: As `recur.unroll`.
        ValueError: As `recur.unroll`.

    Example:
        Two rectifiers, of which the second triples its state and adds one, so that it is (3^t - 1) / 2, in float32:

        >>> import jax.numpy as jnp, recur
        >>> cell = recur.cells.ind_rnn(2, activation="relu")
        >>> weights = {"kernel": jnp.eye(2)[:, None], "recurrent_kernel": jnp.array([[1.0, 3.0]])}
        >>> params = {**weights, "bias": jnp.zeros((1, 2))}
        >>> recur.flow.first_nonfinite(cell, params, jnp.ones((100, 2)))
        NonFiniteState(step=82, field='h', entry=(1,), value=inf)
    """
    run = (cell, params, xs, initial_state, lengths, mask, reset, reverse)
    return first_nonfinite_state(visited_states(*run, align="none")[1])
