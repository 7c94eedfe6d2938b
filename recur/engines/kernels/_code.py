"""What kernels are written with: loops, addresses, and vectors of units that may end inside a vector."""

import contextlib
from collections.abc import Callable, Iterator, Sequence

from llvmlite import ir

F32, I1, I8, I32, I64 = ir.FloatType(), ir.IntType(1), ir.IntType(8), ir.IntType(32), ir.IntType(64)
PTR, VOID = ir.PointerType(), ir.VoidType()
BYTES = 4
"""Of a float32."""

ALIGNED = 64
"""Bytes that memory of the kernel's own is aligned to."""


def const(value: int) -> ir.Constant:
    """Returns a whole number for indices."""
    return ir.Constant(I64, value)


class Code:
    """One function of a module, being written.

    Args:
        module: Where it goes.
        name: Its name.
        arguments: Types of its arguments.
        lanes: Entries of a vector.
        returns: What it returns.
        internal: Whether nothing outside the module calls it.
    """

    def __init__(
        self,
        module: ir.Module,
        name: str,
        arguments: Sequence[ir.Type],
        lanes: int,
        *,
        returns: ir.Type = VOID,
        internal: bool = True,
    ):
        self.function = ir.Function(module, ir.FunctionType(returns, list(arguments)), name)
        if internal:
            self.function.linkage = "internal"
        self.builder = ir.IRBuilder(self.function.append_basic_block("entry"))
        self.lanes, self.vector = lanes, ir.VectorType(F32, lanes)

    @property
    def arguments(self) -> tuple[ir.Value, ...]:
        """The arguments."""
        return self.function.args

    def room(self, kind: ir.Type, count: int = 1) -> ir.Value:
        """Returns memory on the stack."""
        with self.builder.goto_entry_block():
            memory = self.builder.alloca(kind, const(count))
        memory.align = ALIGNED
        return memory

    @contextlib.contextmanager
    def loop(self, start: ir.Value, stop: ir.Value, step: int = 1) -> Iterator[ir.Value]:
        """Loops while ``start + n step < stop``; yields the index."""
        b = self.builder
        before, head = b.block, b.append_basic_block("head")
        body, after = b.append_basic_block("body"), b.append_basic_block("after")
        b.branch(head)
        b.position_at_end(head)
        index = b.phi(I64)
        index.add_incoming(start, before)
        b.cbranch(b.icmp_signed("<", index, stop), body, after)
        b.position_at_end(body)
        yield index
        index.add_incoming(b.add(index, const(step)), b.block)
        b.branch(head)
        b.position_at_end(after)

    def at(self, pointer: ir.Value, *terms: ir.Value | int) -> ir.Value:
        """Returns the address of the float32 whose index is the sum of the terms."""
        total: ir.Value = const(sum(term for term in terms if isinstance(term, int)))
        for term in terms:
            if not isinstance(term, int):
                total = self.builder.add(total, term)
        return self.builder.gep(pointer, [total], source_etype=F32)

    def entry(self, buffers: ir.Value, place: int) -> ir.Value:
        """Returns the pointer at a place of a table of pointers."""
        return self.builder.load(self.builder.gep(buffers, [const(place)], source_etype=PTR), typ=PTR)

    def flag(self, pointer: ir.Value, index: ir.Value) -> ir.Value:
        """Returns a flag that is stored as a byte."""
        byte = self.builder.load(self.builder.gep(pointer, [index], source_etype=I8), typ=I8)
        return self.builder.icmp_signed("!=", byte, ir.Constant(I8, 0))

    def load(self, pointer: ir.Value, *, aligned: bool = False) -> ir.Value:
        """Returns the vector that begins at an address."""
        return self.builder.load(pointer, align=self._alignment(aligned), typ=self.vector)

    def store(self, value: ir.Value, pointer: ir.Value, *, aligned: bool = False) -> None:
        """Stores a vector at an address."""
        self.builder.store(value, pointer, align=self._alignment(aligned))

    def _alignment(self, aligned: bool) -> int:
        return min(ALIGNED, self.lanes * BYTES) if aligned else BYTES

    def splat(self, scalar: ir.Value, kind: ir.Type = F32) -> ir.Value:
        """Returns a vector of one value that is computed."""
        undefined = ir.Constant(ir.VectorType(kind, self.lanes), ir.Undefined)
        first = self.builder.insert_element(undefined, scalar, ir.Constant(I32, 0))
        zeros = ir.Constant(ir.VectorType(I32, self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(first, undefined, zeros)


class Row:
    """Vectors of a row of `units` entries, of which the last may be shorter.

    Args:
        code: The function that reads and writes them.
        units: Entries of the row.
        first: Unit that the vector begins with.
    """

    def __init__(self, code: Code, units: int, first: ir.Value):
        self._code, self._ragged = code, units % code.lanes != 0
        if self._ragged:
            b = code.builder
            counts = ir.Constant(ir.VectorType(I64, code.lanes), list(range(code.lanes)))
            left = code.splat(b.sub(const(units), first), I64)
            self._inside = b.icmp_signed("<", counts, left)

    def _intrinsic(self, name: str, returns: ir.Type, arguments: list[ir.Type]) -> Callable:
        module = self._code.function.module
        name = f"llvm.masked.{name}.v{self._code.lanes}f32.p0"
        found = module.globals.get(name)
        return found or ir.Function(module, ir.FunctionType(returns, arguments), name)

    def load(self, pointer: ir.Value) -> ir.Value:
        """Returns the vector at an address, zero behind the row's end."""
        if not self._ragged:
            return self._code.load(pointer)
        kind, zeros = self._code.vector, ir.Constant(self._code.vector, [0.0] * self._code.lanes)
        load = self._intrinsic("load", kind, [PTR, self._inside.type, kind])
        return self._code.builder.call(load, [pointer, self._inside, zeros])

    def store(self, value: ir.Value, pointer: ir.Value) -> None:
        """Stores the vector, nothing behind the row's end."""
        if not self._ragged:
            self._code.store(value, pointer)
            return
        store = self._intrinsic("store", VOID, [self._code.vector, PTR, self._inside.type])
        self._code.builder.call(store, [value, pointer, self._inside])
