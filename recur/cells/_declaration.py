"""What `pointwise` is told about a cell, checked."""

import dataclasses
import functools
import importlib
import keyword
import operator
import types
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from recur._types import Initializer, Params

Activation = Callable[[jax.Array], jax.Array]

RECURRENCES = ("dense", "diagonal", "none")


class Shares(NamedTuple):
    """A split gate's two shares before any activation: `x` from the input (with the bias), `h` from the state."""

    x: jax.Array
    h: jax.Array


@dataclasses.dataclass(frozen=True)
class Declaration:
    """What `pointwise` was told: everything about a cell but its size and its initialisers."""

    name: str
    state: tuple[str, ...]
    gates: tuple[tuple[str, Activation | None], ...]
    split: tuple[str, ...]
    weights: tuple[tuple[str, Initializer | None], ...]
    keep: str | None
    write: str | None
    update: Callable[..., Mapping[str, jax.Array]]
    recurrence: str = "dense"
    cudnn_name: str | None = None
    parameters: Callable[[Params], Mapping[str, jax.Array]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Returns what can be pickled: functions that JAX has compiled go by the name that they are known by."""
        gates = tuple((name, _named(activation)) for name, activation in self.gates)
        functions = {"update": _named(self.update), "parameters": _named(self.parameters)}
        return {**self.__dict__, "gates": gates, **functions}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restores the functions."""
        gates = tuple((name, _found(activation)) for name, activation in state["gates"])
        functions = {name: _found(state[name]) for name in ("update", "parameters")}
        self.__dict__.update(state, gates=gates, **functions)

    def __post_init__(self) -> None:
        """Checks the names against each other."""
        gates, weights = self.gate_names, [name for name, _ in self.weights]
        if not self.state or self.state[0] != "h":
            raise ValueError(f"state: expected 'h', the output, as first field, got {self.state}")
        if not gates:
            raise ValueError("gates: expected at least one gate, got none")
        for argument, names in (("state", self.state), ("gates", gates), ("weights", weights)):
            wrong = [n for n in names if not _fits_attribute(n) or names.count(n) > 1]
            if wrong:
                raise ValueError(
                    f"{argument}: expected distinct names fit for attributes, got {wrong}; "
                    f"rename them: identifiers that are no keyword and begin without underscore"
                )
        for argument, names in (
            ("split", self.split),
            ("keep", [self.keep] if self.keep else []),
            ("write", [self.write] if self.write else []),
        ):
            unknown = sorted(set(names) - set(gates))
            if unknown:
                raise ValueError(f"{argument}: expected gates among {list(gates)}, got {unknown}")
        if self.recurrence not in RECURRENCES:
            raise ValueError(f"recurrence: expected one of {RECURRENCES}, got {self.recurrence!r}")
        if self.split and self.recurrence == "none":
            raise ValueError(f"split: expected none without a recurrent product, got {list(self.split)}; leave it out")
        taken = sorted({"kernel", "recurrent_kernel", "bias"} & set(weights))
        if taken:
            raise ValueError(f"weights: expected names that the cell does not have already, got {taken}; rename them")
        for name, activation in self.gates:
            if activation is not None and not callable(activation):
                raise TypeError(f"gates[{name!r}]: expected a function or None (linear), got {activation!r}")
            if name in self.split and activation is not None:
                raise ValueError(
                    f"split: expected gates declared with None, got {name!r} with an activation; "
                    f"a split gate is handed over before any activation: apply it inside {self.name}"
                )
        if self.parameters is not None and not callable(self.parameters):
            raise TypeError(f"parameters: expected a function of the parameters or None, got {self.parameters!r}")
        for name, initializer in self.weights:
            if not callable(initializer) and (initializer is not None or self.parameters is None):
                raise TypeError(
                    f"weights[{name!r}]: expected an initialiser (key, shape, dtype) -> array such as "
                    f"recur.cells.Constant(0.0), got {initializer!r}"
                )

    @property
    def gate_names(self) -> tuple[str, ...]:
        """Gate names in the order of the gate axis."""
        return tuple(name for name, _ in self.gates)


@dataclasses.dataclass(frozen=True)
class Bound:
    """A function with some of its arguments given, as `functools.partial` has them, but equal where these are."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    options: tuple[tuple[str, Any], ...]

    @classmethod
    def of(cls, function: Any) -> Any:
        """Returns a function as it is, but a partial one as a value."""
        if not isinstance(function, functools.partial):
            return function
        return cls(function.func, function.args, tuple(sorted(function.keywords.items())))

    def __call__(self, *args: Any) -> Any:
        """Calls the function."""
        return self.function(*self.args, *args, **dict(self.options))


@dataclasses.dataclass(frozen=True)
class Derived:
    """A parameter that is a function of all of them."""

    name: str
    function: Callable[[Params], jax.Array]

    def __call__(self, params: Params) -> dict[str, jax.Array]:
        """Returns the parameter by its name."""
        return {self.name: self.function(params)}

    def __reduce__(self) -> tuple:
        """Goes by the name of the function, as `Declaration` has it."""
        return _derived, (self.name, _named(self.function))


def _derived(name: str, function: Any) -> Derived:
    return Derived(name, _found(function))


class _Place(NamedTuple):
    """Where a function is found: an attribute of a module, or of the factory that stands in its place."""

    owner: Any
    name: str


def _named(function: Any) -> Any:
    """Returns the place of a function that pickle would not find: one from `jax.jit`, or one that was declared."""
    name = getattr(function, "__qualname__", None)
    for module in (getattr(function, "__module__", None), "jax.nn", "jax.numpy", "jax.lax"):
        try:
            found = _found(_Place(module, name))
        except (ImportError, AttributeError, TypeError):
            continue
        if found is function:
            return function if isinstance(function, types.FunctionType) else _Place(module, name)
        if getattr(found, "update", None) is function:
            return _Place(found, "update")
    return function


def _found(function: Any) -> Any:
    if not isinstance(function, _Place):
        return function
    owner = importlib.import_module(function.owner) if isinstance(function.owner, str) else function.owner
    return operator.attrgetter(function.name)(owner)


def _fits_attribute(name: Any) -> bool:
    return isinstance(name, str) and name.isidentifier() and not name.startswith("_") and not keyword.iskeyword(name)
