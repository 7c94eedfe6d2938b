"""Cells declared by one elementwise function: `pointwise`."""

from collections.abc import Callable, Mapping, Sequence

import jax

from recur._checks import brief, check_positive
from recur._types import Initializer, Params
from recur.cells._declaration import Activation, Bound, Declaration, Derived
from recur.cells._gates import gate_init
from recur.cells._init import Chrono, InitSpec
from recur.cells._pointwise_cell import PointwiseCell


def pointwise(
    *,
    state: Sequence[str],
    gates: Mapping[str, Activation | None],
    split: Sequence[str] = (),
    weights: Mapping[str, Initializer | None] | None = None,
    recurrent_kernel: Callable[[Params], jax.Array] | None = None,
    parameters: Callable[[Params], Mapping[str, jax.Array]] | None = None,
    keep: str | None = None,
    write: str | None = None,
    recurrence: str = "dense",
    cudnn_name: str | None = None,
    name: str | None = None,
) -> Callable[[Callable[..., Mapping[str, jax.Array]]], Callable[..., PointwiseCell]]:
    """Declares a cell by one elementwise function ``update(gate, state[, weight]) -> {field: array}``.

    For every gate g, with parameters W_g ``[X, H]``, U_g ``[H, H]``, b_g ``[H]``:

        gate.g = activation_g(x W_g + b_g + h U_g)

    Args:
        state: Names of the state's fields, each ``[*B, H]``; the first must be ``h``, the output and what enters
            the recurrent product.
        gates: Activation of each gate by name, in the order of the gate axis; None leaves the gate linear.
        split: Gates handed over as two shares before any activation: ``gate.n.x = x W_n + b_n`` and
            ``gate.n.h = h U_n``.
        weights: Per-unit weights ``[H]`` by name with their initialisers; they come as third argument. None as
            initialiser says that `parameters` makes the weight.
        recurrent_kernel: Makes the recurrent kernel ``[H, G, H]``, or one ``[H, H]`` for all gates, of the parameters,
            a dict as ``cell.init`` draws it, whose ``recurrent_kernel`` then holds free numbers. Called once a run,
            not once a step, and differentiated.
        parameters: Makes any of them: returns a dict of those that take the place of what was drawn.
        keep: Gate that keeps the state, and
        write: gate that lets the input in: what `Chrono` initialises.
        recurrence: ``"dense"``: U_g ``[H, H]`` as above; ``"diagonal"``: u_g ``[H]``, every unit sees itself alone,
            ``h u_g`` entry by entry; ``"none"``: the gates do not see the state.
        cudnn_name: ``"lstm"`` if the equations, the gates and their order are exactly those that cuDNN has under this
            name (see `recur.engines.Cudnn`); a claim that nothing checks.
        name: Name in messages and reports; by default the function's.

    Returns:
        A decorator that turns the function into a factory:
        ``factory(hidden_size, *, kernel_init, recurrent_init, bias_init) -> PointwiseCell``. Each ``*_init`` is a
        name of `INITIALIZERS`, a number, an initialiser ``(key, shape, dtype) -> array``, or a mapping from gate
        to one of these; ``bias_init`` may be `Chrono`. By default recurrent kernels are orthogonal, diagonal ones
        uniform on [0, 1).

    Raises:
        ValueError: Names that clash or are unknown.
        TypeError: An activation or an initialiser that is no function.

    Example:
        >>> import jax, jax.numpy as jnp, recur
        >>> @recur.cells.pointwise(state=("h",), gates={"f": jax.nn.sigmoid, "n": jnp.tanh})
        ... def leaky(gate, state):
        ...     return {"h": gate.f * state.h + (1 - gate.f) * gate.n}
        >>> cell = leaky(8)
        >>> params = cell.init(jax.random.key(0), 3)
        >>> recur.unroll(cell, params, jnp.ones((100, 3))).outputs.shape
        (100, 8)
    """
    for argument, value in (("gates", gates), ("weights", {} if weights is None else weights)):
        if not isinstance(value, Mapping):
            raise TypeError(f"{argument}: expected a mapping from name to function, got {brief(value)}")
    for argument, value in (("state", state), ("split", split)):
        if not isinstance(value, (tuple, list)) or not all(isinstance(entry, str) for entry in value):
            raise TypeError(f"{argument}: expected a tuple of names, got {brief(value)}")
    if recurrent_kernel is not None:
        if not callable(recurrent_kernel) or parameters is not None or recurrence == "none":
            raise (ValueError if callable(recurrent_kernel) else TypeError)(
                f"recurrent_kernel: expected a function of the parameters, without parameters= and with a recurrent "
                f"product, got {brief(recurrent_kernel)}; let parameters= return the kernel among the others"
            )
        parameters = Derived("recurrent_kernel", Bound.of(recurrent_kernel))
    words = {"keep": keep, "write": write, "recurrence": recurrence, "cudnn_name": cudnn_name, "name": name}
    for argument, value in words.items():
        if not isinstance(value, str | None):
            raise TypeError(f"{argument}: expected a name, got {brief(value)}")

    def declare(update: Callable[..., Mapping[str, jax.Array]]) -> Callable[..., PointwiseCell]:
        # A partial function bears the name of what is in it, any other object that of its class.
        named = getattr(update, "func", update)
        named = named if hasattr(named, "__qualname__") else type(named)
        update = Bound.of(update)
        declaration = Declaration(
            name=name or named.__name__,
            state=tuple(state),
            gates=tuple(gates.items()),
            split=tuple(split),
            weights=tuple((weights or {}).items()),
            keep=keep,
            write=write,
            update=update,
            recurrence=recurrence,
            cudnn_name=cudnn_name,
            parameters=Bound.of(parameters),
        )

        def factory(
            hidden_size: int,
            *,
            kernel_init: InitSpec = "glorot_uniform",
            recurrent_init: InitSpec | None = None,
            bias_init: InitSpec | Chrono = "zeros",
        ) -> PointwiseCell:
            inits = gate_init(
                declaration.gate_names,
                kernel_init=kernel_init,
                recurrent_init=recurrent_init,
                bias_init=bias_init,
                keep=keep,
                write=write,
                recurrence=recurrence,
            )
            return PointwiseCell(declaration, check_positive("hidden_size", hidden_size), inits)

        # Named after the declared function but with its own signature, which functools.wraps would hide.
        for attribute in ("__module__", "__name__", "__qualname__", "__doc__"):
            setattr(factory, attribute, getattr(named, attribute))
        # The factory takes the function's place in its module: there pickle finds it.
        factory.update = update
        return factory

    return declare
