"""The loops over time: forwards, and backwards for the gradient.

Both go through the steps with all rows of a part of the batch, whose rows do not see one another. A row is a sequence.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from jax.extend.core import ClosedJaxpr
from llvmlite import ir

from recur.engines.kernels._code import I64, PTR, Code, Row, const
from recur.engines.kernels._evaluate import entries_of
from recur.engines.kernels._product import BLOCKS, FEWER, Shape, define_product

WORKER = [PTR, I64, I64, I64, I64]
"""Of a kernel: table of buffers, T, B, first row, and the row behind the last one."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """All that shapes a kernel.

    Args:
        program: The step of one unit, forwards or backwards.
        units: H.
        lanes: Entries of a vector.
        many_registers: Whether there are 32 of them, not 16.
        sizes: Entries that a unit has in each buffer, by name, several where it is a tuple of buffers.
        places: Where the buffers stand in the table, likewise.
        gates: Entries that a unit has in the input's share.
        depth: Entries that the recurrent product sums over; 0 where there is none.
        given: Fields that cotangents come for, backwards.
    """

    program: ClosedJaxpr
    units: int
    lanes: int
    many_registers: bool
    sizes: dict[str, tuple[int, ...]]
    places: dict[str, tuple[int, ...]]
    gates: int
    depth: int
    given: tuple[int, ...] = ()

    def has(self, name: str) -> bool:
        """Returns whether there is such a buffer."""
        return bool(self.places.get(name))

    @property
    def blocks(self) -> tuple[tuple[int, int], ...]:
        """Blocks of rows that products are made of."""
        return BLOCKS if self.many_registers else FEWER


class Kernel:
    """What both directions share while they are written."""

    def __init__(self, module: ir.Module, plan: Plan, name: str):
        self.module, self.plan, self.name = module, plan, name

    def code(self, name: str, arguments: list[ir.Type]) -> Code:
        return Code(self.module, f"{self.name}_{name}", arguments, self.plan.lanes)

    def buffers(self, code: Code, table: ir.Value, name: str) -> list[ir.Value]:
        return [code.entry(table, place) for place in self.plan.places.get(name, ())]

    def before(
        self, code: Code, table: ir.Value, field: int, step: ir.Value, batch: ir.Value, row: ir.Value
    ) -> tuple[ir.Value, ir.Value]:
        """Returns addresses of a row's field before a step: as the step sees it, and as it was before any reset."""
        b, units = code.builder, const(self.plan.units)
        other = b.sub(step, const(1))
        own = b.mul(row, units)
        start = code.at(self.buffers(code, table, "start")[field], own)
        after = code.at(self.buffers(code, table, "states")[field], b.mul(b.mul(other, batch), units), own)
        held = b.select(b.icmp_signed("==", step, const(0)), start, after)
        if not self.plan.has("reset"):
            return held, held
        reset = code.flag(self.buffers(code, table, "reset")[0], b.add(b.mul(step, batch), row))
        return b.select(reset, code.at(self.buffers(code, table, "restart")[field], own), held), held

    def entries(
        self, code: Code, vectors: Row, table: ir.Value, name: str, row: ir.Value | None, first: ir.Value
    ) -> list[Any]:
        """Returns the vectors of all leaves of a buffer, in a row (None: in one for all rows), from unit `first` on."""
        leaves = []
        for pointer, size in zip(self.buffers(code, table, name), self.plan.sizes.get(name, ()), strict=True):
            terms = [] if row is None else [code.builder.mul(row, const(size * self.plan.units))]
            found = [vectors.load(code.at(pointer, *terms, first, entry * self.plan.units)) for entry in range(size)]
            leaves.append(entries_of(found))
        return leaves

    def projected(self, code: Code, vectors: Row, table: ir.Value, row: ir.Value, first: ir.Value) -> list[Any]:
        """Returns the input's share in a row, none where it is not read."""
        parts = (
            self.entries(code, vectors, table, name, at, first) for name, at in (("projected", row), ("bias", None))
        )
        return [
            entries_of([code.builder.fadd(x, y) for x, y in zip(product.ravel(), bias.ravel(), strict=True)])
            for product, bias in zip(*parts, strict=True)
        ]

    def put(
        self, code: Code, vectors: Row, table: ir.Value, name: str, row: ir.Value, first: ir.Value, leaves: list[Any]
    ) -> None:
        """Stores what `entries` reads."""
        for pointer, size, leaf in zip(
            self.buffers(code, table, name), self.plan.sizes.get(name, ()), leaves, strict=True
        ):
            start = code.builder.mul(row, const(size * self.plan.units))
            for entry, value in enumerate(leaf.ravel()):
                vectors.store(value, code.at(pointer, start, first, entry * self.plan.units))

    def product(self, shape: Shape, rows: int, chunks: int, vectors: int) -> ir.Function:
        """Returns the product of a block of rows and some chunks, defined when it is first asked for."""
        name = f"{self.name}_product_{rows}_{chunks}"
        return self.module.globals.get(name) or define_product(self.module, name, shape, rows, chunks, vectors)

    def over_groups(self, code: Code, groups: Sequence[tuple[int, int]], body: Callable[[ir.Value, int], None]) -> None:
        """Writes ``body(first chunk, chunks)`` for groups of which the last may be smaller."""
        size = groups[0][1]
        whole = [first for first, chunks in groups if chunks == size]
        with code.loop(const(0), const(len(whole) * size), size) as first:
            body(first, size)
        for first, chunks in groups[len(whole) :]:
            body(const(first), chunks)

    def in_blocks(
        self, code: Code, low: ir.Value, high: ir.Value, blocks: Sequence[ir.Function], *arguments: ir.Value
    ) -> None:
        """Calls ``block(*arguments, row)`` until all rows are done, the greatest blocks first."""
        b, slot = code.builder, code.room(I64)
        b.store(low, slot)
        for (rows, _), function in zip(self.plan.blocks, blocks, strict=True):
            head, body, after = (b.append_basic_block(name) for name in ("rows", "block", "fewer"))
            b.branch(head)
            b.position_at_end(head)
            row = b.load(slot, typ=I64)
            b.cbranch(b.icmp_signed(">=", b.sub(high, row), const(rows)), body, after)
            b.position_at_end(body)
            b.call(function, [*arguments, row])
            b.store(b.add(row, const(rows)), slot)
            b.branch(head)
            b.position_at_end(after)
