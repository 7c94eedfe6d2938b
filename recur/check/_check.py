"""The checks put together: of one cell, of one engine, of recur on this device."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import jax

from recur import cells, engines
from recur._checks import brief, check_whole
from recur.check import _closed_forms, _engine_checks, _laws
from recur.check._scorecard import Check, Scorecard

Engines = Collection[str] | Mapping[str, engines.Engine] | None


def check_cell(cell: cells.Cell, *, engines: Engines = None, seed: int = 0) -> Scorecard:
    """Checks a cell: the laws of a run, and every engine that takes it against a plain loop in float64.

    The laws: a cell is a value that can be pickled; the key decides the parameters; a step keeps the state's structure,
    shape and dtype; rows of a batch do not see each other; two halves make the whole; padding counts nowhere; nothing
    passes a reset, not even NaN; networks run side by side under `jax.vmap`; `recur.flow` equals derivatives of the
    run. For each engine: outputs and final state against a plain loop over ``cell.step`` in float64, with masks, resets
    and reversed time; gradients against central differences; float32 gradients against float64 ones.

    Args:
        cell: The cell. It reads inputs of two features; choose few units, as the oracle is a loop in Python.
        engines: Names of `recur.engines.ENGINES`, or a mapping from name to engine. By default all of them.
        seed: Seed of all draws.

    Returns:
        A `Scorecard`: ``print`` it, ask ``passed``, or call ``raise_failures()`` in a test of your own.

    Raises:
        TypeError: No cell, or an engine that is none.
        ValueError: An unknown name of an engine.

    Example:
        >>> from recur import cells, check
        >>> card = check.check_cell(cells.elman(3), engines=["scan", "cudnn"])
        >>> card.refused
        {'cudnn': 'cuDNN runs the LSTM alone'}
    """
    _check_is_cell(cell)
    chosen, name = _engines(engines), repr(cell)
    todo = [*_laws.checks(name, cell, _seed(seed)), *_engine_checks.checks({name: cell}, seed, chosen)]
    refused = {label: engine.refusal(cell) for label, engine in chosen.items() if engine.refusal(cell)}
    return _measured(todo, refused)


def check_engine(engine: engines.Engine, *, names: Collection[str] | None = None, seed: int = 0) -> Scorecard:
    """Checks an engine on every cell of `recur.cells.CELLS` that it takes, against a plain loop in float64.

    Args:
        engine: The engine.
        names: Names of the cells; by default all of the table.
        seed: Seed of all draws.

    Returns:
        A `Scorecard`.

    Raises:
        TypeError: No engine.
        ValueError: An unknown cell.
    """
    label = type(engine).__name__.lower()
    chosen = _engines({label: engine})
    made = {name: cells.find_factory(name)(_engine_checks.HIDDEN) for name in (cells.CELLS if names is None else names)}
    refused = {name: lack for name, cell in made.items() if (lack := engine.refusal(cell))}
    return _measured(_engine_checks.checks(made, _seed(seed), chosen), refused)


def selfcheck(names: Collection[str] | None = None, *, seed: int = 0) -> Scorecard:
    """Checks recur on this device: every cell with every engine, and what `recur.flow` measures against closed forms.

    Args:
        names: Names of `recur.cells.CELLS`; by default all. Closed forms are of named cells.
        seed: Seed of all draws.

    Returns:
        A `Scorecard`.
    """
    chosen = tuple(cells.CELLS if names is None else names)
    made = {name: cells.find_factory(name)(_engine_checks.HIDDEN) for name in chosen}
    return _measured([*_engine_checks.checks(made, _seed(seed)), *_closed_forms.checks(chosen, seed)], {})


def _measured(todo: Iterable[Check], refused: Mapping[str, str]) -> Scorecard:
    # Some devices round the factors of a float32 product to fewer bits unless told not to.
    with jax.default_matmul_precision("highest"):
        rows = [row for check in todo for row in check.rows()]
    return Scorecard(tuple(rows), dict(refused))


def _check_is_cell(cell: Any) -> None:
    if not isinstance(cell, cells.Cell):
        hint = "; call the factory with a number of units" if callable(cell) else ""
        raise TypeError(f"cell: expected a recur.cells.Cell such as recur.cells.lstm(3), got {brief(cell)}{hint}")


def _engines(chosen: Engines) -> dict[str, engines.Engine]:
    table = engines.ENGINES
    if chosen is None:
        return {name: make() for name, make in table.items()}
    if isinstance(chosen, str):
        raise TypeError(f"engines: expected a list of names, got {chosen!r}; put it in a list")
    if not isinstance(chosen, Mapping):
        unknown = sorted(set(chosen) - set(table))
        if unknown:
            raise ValueError(f"engines: expected names among {sorted(table)}, got {unknown}")
        return {name: table[name]() for name in chosen}
    for name, engine in chosen.items():
        if isinstance(engine, type) or not (hasattr(engine, "run") and hasattr(engine, "refusal")):
            raise TypeError(f"engines[{name!r}]: expected an engine such as recur.engines.Scan(), got {brief(engine)}")
    return dict(chosen)


def _seed(seed: Any) -> int:
    if not 0 <= check_whole("seed", seed) < 2**32:
        raise ValueError(f"seed: expected 0 <= seed < 2**32, got {seed}")
    return seed
