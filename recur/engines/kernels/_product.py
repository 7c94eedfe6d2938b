"""Products of a few rows with a matrix that is used at every step, laid out once for vectors.

    out[r, n] = sum_k rows[r][k] matrix[k, n]

The matrix is laid chunk by chunk of `lanes` units: ``[chunk, k, gate, lane]``, zero behind the last unit. A block of
rows keeps its sums in registers over all k; the order of every sum is that of k, whatever the block.
"""

import dataclasses

from llvmlite import ir

from recur.engines.kernels import _math
from recur.engines.kernels._code import F32, I64, PTR, Code, Row, const

BLOCKS = ((12, 2), (8, 3), (4, 6), (2, 8), (1, 8))
"""Rows of a block, and vectors that it sums at once with 32 registers."""

FEWER = ((6, 2), (4, 3), (2, 4), (1, 6))
"""The same with 16 registers."""


@dataclasses.dataclass(frozen=True)
class Shape:
    """A product: sums over `depth` entries, for `gates` gates of `units` units, in vectors of `lanes` lanes."""

    depth: int
    gates: int
    units: int
    lanes: int

    @property
    def chunks(self) -> int:
        """Vectors that hold the units of a gate."""
        return -(-self.units // self.lanes)

    @property
    def packed_size(self) -> int:
        """Entries of the matrix as it is laid out."""
        return self.chunks * self.depth * self.gates * self.lanes

    def groups(self, vectors: int) -> list[tuple[int, int]]:
        """Returns first chunk and number of chunks of the groups that a block with so many vectors goes through."""
        size = max(1, vectors // self.gates)
        return [(first, min(size, self.chunks - first)) for first in range(0, self.chunks, size)]


def define_packing(module: ir.Module, name: str, shape: Shape, *, transposed: bool) -> ir.Function:
    """Defines ``pack(matrix, packed)``.

    The matrix is ``[depth, gates * units]``; transposed, ``[units, depth]`` with one gate.
    """
    code = Code(module, name, [PTR, PTR], shape.lanes)
    b, (matrix, packed) = code.builder, code.arguments
    vectors = shape.depth * shape.gates
    with code.loop(const(0), const(shape.chunks)) as chunk:
        first = b.mul(chunk, const(shape.lanes))
        with code.loop(const(0), const(vectors)) as vector:
            target = code.at(packed, b.mul(b.add(b.mul(chunk, const(vectors)), vector), const(shape.lanes)))
            if transposed:
                # Down a column, entry by entry: once a run.
                with code.loop(const(0), const(shape.lanes)) as lane:
                    unit = b.add(first, lane)
                    last = const(shape.units - 1)
                    inside = b.icmp_signed("<=", unit, last)
                    source = b.mul(b.select(inside, unit, last), const(shape.depth))
                    value = b.load(code.at(matrix, source, vector), typ=F32)
                    b.store(b.select(inside, value, ir.Constant(F32, 0.0)), code.at(target, lane))
            else:
                # Vector k * gates + g of the matrix begins at (k * gates + g) * units.
                source = code.at(matrix, b.mul(vector, const(shape.units)), first)
                code.store(Row(code, shape.units, first).load(source), target, aligned=True)
    b.ret_void()
    return code.function


def define_product(module: ir.Module, name: str, shape: Shape, rows: int, chunks: int, most: int) -> ir.Function:
    """Defines ``product(row pointers, packed chunk, out)`` for a block of rows and some chunks.

    It writes ``out [rows, chunks, gates, lanes]``, at most `most` vectors of a row at once.
    """
    code = Code(module, name, [PTR, PTR, PTR], shape.lanes)
    b, (pointers, packed, out) = code.builder, code.arguments
    row = [code.entry(pointers, r) for r in range(rows)]
    stride = shape.depth * shape.gates * shape.lanes
    vectors = [(chunk, gate) for chunk in range(chunks) for gate in range(shape.gates)]
    passes = -(-len(vectors) // most)
    size = -(-len(vectors) // passes)
    for begin in range(0, len(vectors), size):
        some = vectors[begin : begin + size]
        entry, head, after = b.block, b.append_basic_block("k"), b.append_basic_block("done")
        b.branch(head)
        b.position_at_end(head)
        k = b.phi(I64)
        k.add_incoming(const(0), entry)
        sums = [[b.phi(code.vector) for _ in some] for _ in range(rows)]
        for total in (total for of_row in sums for total in of_row):
            total.add_incoming(_math.splat(0.0, code.vector), entry)
        place = b.mul(k, const(shape.gates * shape.lanes))
        columns = [
            code.load(code.at(packed, place, chunk * stride + gate * shape.lanes), aligned=True) for chunk, gate in some
        ]
        new = []
        for pointer, of_row in zip(row, sums, strict=True):
            entry_k = code.splat(b.load(code.at(pointer, k), typ=F32, align=4))
            new.append([_math.fma(b, entry_k, c, total) for c, total in zip(columns, of_row, strict=True)])
        after_k = b.add(k, const(1))
        k.add_incoming(after_k, head)
        for of_row, new_row in zip(sums, new, strict=True):
            for total, value in zip(of_row, new_row, strict=True):
                total.add_incoming(value, head)
        b.cbranch(b.icmp_signed("<", after_k, const(shape.depth)), head, after)
        b.position_at_end(after)
        for r, new_row in enumerate(new):
            for offset, value in enumerate(new_row, begin):
                code.store(value, code.at(out, (r * len(vectors) + offset) * shape.lanes), aligned=True)
    b.ret_void()
    return code.function
