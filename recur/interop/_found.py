"""What was found, layer by layer: converted, or refused with the names of all."""

from collections.abc import Callable, Mapping

from recur.interop._network import RecurModule


def convert(layers: Mapping[str, Callable[[], RecurModule]]) -> dict[str, RecurModule]:
    """Converts every layer that was found.

    Raises:
        ValueError: A layer that recur cannot compute, by its name, beside the names of all others.
    """
    found, refused = {}, {}
    for name, make in layers.items():
        try:
            found[name] = make()
        except (TypeError, ValueError) as error:
            refused[name] = error
    if refused:
        name, error = next(iter(refused.items()))
        raise ValueError(
            f"model: expected recurrent layers that recur has too, got {name!r}: {error} "
            f"(found: {', '.join(map(repr, layers))})"
        ) from error
    return found


def join(*parts: str) -> str:
    """Joins the parts of a name by dots; empty ones are left out."""
    return ".".join(part for part in parts if part)
