"""The function that XLA calls: it finds the arrays, and splits networks and rows among XLA's threads.

Offsets are those of the structures of `xla/ffi/api/c_api.h`, version 0.x; a handler answers with the version of the
runtime that asks, whose rules keep these structures' beginnings.
"""

from typing import NamedTuple

from llvmlite import ir

from recur.engines.kernels._code import I8, I32, I64, PTR, VOID, Code, const

FRAME = {"extension": 8, "api": 16, "context": 24, "args": 72, "results": 112}
BUFFER = {"data": 24, "rank": 32, "dims": 40}
API = {"major": 32, "minor": 36, "schedule": 136}
METADATA_EXTENSION, METADATA_MAJOR, METADATA_MINOR = 24, 24, 28
SCHEDULE_SIZE = 40

# Of what threads share: next part, parts done, references, parts, parts of a network, T, B, then the table of buffers
# and how far apart those of two networks lie.
NEXT, DONE, HELD, PARTS, EACH, LENGTH, BATCH, TABLE = (8 * place for place in range(8))

LEAST_ROWS = 2
"""Rows that a thread takes at least."""


class Buffers(NamedTuple):
    """The arrays of a call, arguments first.

    Args:
        widths: Bytes of an entry of each.
        arguments: How many are handed in; the others come back.
        lengths: Number of an argument whose first axes, behind that of networks, are T and B.
        matrix: Number of the matrix of the product.
        packed: That of the memory it is laid out in.
        networks: Whether every array has a first axis of networks.
    """

    widths: tuple[int, ...]
    arguments: int
    lengths: int
    matrix: int
    packed: int
    networks: bool


def define_handler(
    module: ir.Module, buffers: Buffers, pack: ir.Function | None, worker: ir.Function, threads: int
) -> None:
    """Defines ``handler(frame)``, which lays out all matrices by `pack` and runs `worker` on up to so many threads."""
    _Handler(module, buffers, pack, worker, threads).define()


class _Work(NamedTuple):
    """What a call works on: tables of addresses and of distances, T, B, and the count of networks."""

    table: ir.Value
    strides: ir.Value
    length: ir.Value
    batch: ir.Value
    networks: ir.Value


class _Handler:
    def __init__(
        self, module: ir.Module, buffers: Buffers, pack: ir.Function | None, worker: ir.Function, threads: int
    ):
        self.module, self.buffers, self.pack, self.worker, self.threads = module, buffers, pack, worker, threads

    def define(self) -> None:
        code = Code(self.module, "handler", [PTR], 1, returns=PTR, internal=False)
        b, (frame,) = code.builder, code.arguments
        with b.if_then(b.icmp_signed("!=", self._pointer(b, frame, FRAME["extension"]), ir.Constant(PTR, None))):
            self._answer(b, frame)
            b.ret(ir.Constant(PTR, None))
        work, run_part = self._work(code, frame), self._define_run_part()
        tables = [work.table, work.strides]
        sizes = [work.length, work.batch]
        if self.threads == 1:
            with code.loop(const(0), work.networks) as network:
                b.call(run_part, [*tables, *sizes, network, const(1)])
        else:
            # Networks first, then the rows of each.
            wanted = b.sdiv(b.add(work.networks, const(self.threads - 1)), work.networks)
            each = self._least(b, wanted, b.sdiv(work.batch, const(LEAST_ROWS)))
            each = b.select(b.icmp_signed("<", each, const(1)), const(1), each)
            parts = b.mul(each, work.networks)
            with b.if_else(b.icmp_signed("<=", parts, const(1))) as (one, several):
                with one:
                    b.call(run_part, [*tables, *sizes, const(0), const(1)])
                with several:
                    with b.if_then(b.icmp_signed(">", each, const(1))), code.loop(const(0), work.networks) as network:
                        self._lay_out(code, *tables, network)
                    self._share(code, frame, run_part, work, (parts, each))
        b.ret(ir.Constant(PTR, None))

    def _lay_out(self, code: Code, table: ir.Value, strides: ir.Value, network: ir.Value) -> None:
        """Lays out one network's matrix; where a network has one part only, that does it."""
        if self.pack is not None:
            places = (self.buffers.matrix, self.buffers.packed)
            code.builder.call(self.pack, [self._of_network(code, table, strides, place, network) for place in places])

    def _answer(self, b: ir.IRBuilder, frame: ir.Value) -> None:
        """Tells which version the handler was made for: the one that asks."""
        api = self._pointer(b, frame, FRAME["api"])
        metadata = self._pointer(b, self._pointer(b, frame, FRAME["extension"]), METADATA_EXTENSION)
        for source, target in (("major", METADATA_MAJOR), ("minor", METADATA_MINOR)):
            b.store(b.load(self._at(b, api, API[source]), typ=I32), self._at(b, metadata, target))

    def _work(self, code: Code, frame: ir.Value) -> _Work:
        """Finds all arrays, and reads the sizes that are not compiled in."""
        b, own = code.builder, self.buffers
        table, strides = code.room(PTR, len(own.widths)), code.room(I64, len(own.widths))
        dims = None
        for place, width in enumerate(own.widths):
            kind, index = ("args", place) if place < own.arguments else ("results", place - own.arguments)
            buffer = code.entry(self._pointer(b, frame, FRAME[kind]), index)
            b.store(self._pointer(b, buffer, BUFFER["data"]), b.gep(table, [const(place)], source_etype=PTR))
            sizes = self._pointer(b, buffer, BUFFER["dims"])
            if own.networks:
                stride = b.gep(strides, [const(place)], source_etype=I64)
                b.store(const(width), stride)
                with code.loop(const(1), b.load(self._at(b, buffer, BUFFER["rank"]), typ=I64)) as axis:
                    size = b.load(b.gep(sizes, [axis], source_etype=I64), typ=I64)
                    b.store(b.mul(b.load(stride, typ=I64), size), stride)
            if place == own.lengths:
                dims = sizes
        first = int(own.networks)
        length, batch = (b.load(b.gep(dims, [const(first + axis)], source_etype=I64), typ=I64) for axis in (0, 1))
        return _Work(table, strides, length, batch, b.load(dims, typ=I64) if own.networks else const(1))

    def _of_network(self, code: Code, table: ir.Value, strides: ir.Value, place: int, network: ir.Value) -> ir.Value:
        """Returns the address of one network's array."""
        b, address = code.builder, code.entry(table, place)
        if not self.buffers.networks:
            return address
        stride = b.load(b.gep(strides, [const(place)], source_etype=I64), typ=I64)
        return b.gep(address, [b.mul(network, stride)], source_etype=I8)

    def _define_run_part(self) -> ir.Function:
        """Defines ``run_part(table, strides, T, B, part, parts of a network)``."""
        code = Code(self.module, "run_part", [PTR, PTR, I64, I64, I64, I64], 1)
        b, (table, strides, length, batch, part, each) = code.builder, code.arguments
        network, own = b.sdiv(part, each), table
        if self.buffers.networks:
            own = code.room(PTR, len(self.buffers.widths))
            for place in range(len(self.buffers.widths)):
                address = self._of_network(code, table, strides, place, network)
                b.store(address, b.gep(own, [const(place)], source_etype=PTR))
        with b.if_then(b.icmp_signed("==", each, const(1))):
            self._lay_out(code, table, strides, network)
        within = b.srem(part, each)
        low, high = (b.sdiv(b.mul(batch, which), each) for which in (within, b.add(within, const(1))))
        b.call(self.worker, [own, length, batch, low, high])
        b.ret_void()
        return code.function

    def _share(
        self, code: Code, frame: ir.Value, run_part: ir.Function, work: _Work, parts: tuple[ir.Value, ir.Value]
    ) -> None:
        """Shares the parts with XLA's threads; whoever is free takes the next one, this thread too.

        So nobody waits for a thread that never comes; one that comes late finds nothing left to do.
        """
        b, count = code.builder, len(self.buffers.widths)
        run_parts = self._define_run_parts(run_part)
        task = self._define_task(run_parts)
        takers = self._least(b, parts[0], const(self.threads))
        shared = b.call(self._external("malloc", PTR, [I64]), [const(TABLE + 16 * count)])
        values = (const(0), const(0), takers, *parts, work.length, work.batch)
        for offset, value in zip((NEXT, DONE, HELD, PARTS, EACH, LENGTH, BATCH), values, strict=True):
            b.store(value, self._at(b, shared, offset))
        for place in range(count):
            b.store(code.entry(work.table, place), self._at(b, shared, TABLE + 8 * place))
            if self.buffers.networks:
                stride = b.load(b.gep(work.strides, [const(place)], source_etype=I64), typ=I64)
                b.store(stride, self._at(b, shared, TABLE + 8 * (count + place)))
        request = code.room(PTR, SCHEDULE_SIZE // 8)
        entries = (
            b.inttoptr(const(SCHEDULE_SIZE), PTR),
            ir.Constant(PTR, None),
            self._pointer(b, frame, FRAME["context"]),
            task,
            shared,
        )
        for place, entry in enumerate(entries):
            b.store(entry, self._at(b, request, 8 * place))
        address = b.load(self._at(b, self._pointer(b, frame, FRAME["api"]), API["schedule"]), typ=I64)
        schedule = b.inttoptr(address, ir.FunctionType(PTR, [PTR]).as_pointer())
        with code.loop(const(1), takers):
            b.call(schedule, [request])
        b.call(run_parts, [shared])
        wait, done = b.append_basic_block("wait"), b.append_basic_block("all_done")
        b.branch(wait)
        b.position_at_end(wait)
        finished = b.load_atomic(self._at(b, shared, DONE), "acquire", 8, typ=I64)
        b.call(self._external("sched_yield", I32, []), [])
        b.cbranch(b.icmp_signed("<", finished, parts[0]), wait, done)
        b.position_at_end(done)
        self._release(b, shared)

    def _define_run_parts(self, run_part: ir.Function) -> ir.Function:
        """Defines what a thread does: takes parts until there are none left."""
        code = Code(self.module, "run_parts", [PTR], 1)
        b, (shared,) = code.builder, code.arguments
        offsets = (PARTS, EACH, LENGTH, BATCH)
        parts, each, length, batch = (b.load(self._at(b, shared, offset), typ=I64) for offset in offsets)
        table, strides = (self._at(b, shared, TABLE + 8 * first) for first in (0, len(self.buffers.widths)))
        take, work, leave = (b.append_basic_block(name) for name in ("take", "work", "leave"))
        b.branch(take)
        b.position_at_end(take)
        part = b.atomic_rmw("add", self._at(b, shared, NEXT), const(1), "acq_rel")
        b.cbranch(b.icmp_signed("<", part, parts), work, leave)
        b.position_at_end(work)
        b.call(run_part, [table, strides, length, batch, part, each])
        b.atomic_rmw("add", self._at(b, shared, DONE), const(1), "acq_rel")
        b.branch(take)
        b.position_at_end(leave)
        b.ret_void()
        return code.function

    def _define_task(self, run_parts: ir.Function) -> ir.Function:
        code = Code(self.module, "task", [PTR], 1)
        b, (shared,) = code.builder, code.arguments
        b.call(run_parts, [shared])
        self._release(b, shared)
        b.ret_void()
        return code.function

    def _release(self, b: ir.IRBuilder, shared: ir.Value) -> None:
        """Gives up the shared memory, which the last thread frees."""
        left = b.atomic_rmw("sub", self._at(b, shared, HELD), const(1), "acq_rel")
        with b.if_then(b.icmp_signed("==", left, const(1))):
            b.call(self._external("free", VOID, [PTR]), [shared])

    def _external(self, name: str, returns: ir.Type, arguments: list[ir.Type]) -> ir.Function:
        found = self.module.globals.get(name)
        return found or ir.Function(self.module, ir.FunctionType(returns, arguments), name)

    @staticmethod
    def _least(b: ir.IRBuilder, one: ir.Value, other: ir.Value) -> ir.Value:
        return b.select(b.icmp_signed("<", one, other), one, other)

    @staticmethod
    def _at(b: ir.IRBuilder, pointer: ir.Value, offset: int) -> ir.Value:
        return b.gep(pointer, [const(offset)], source_etype=I8)

    def _pointer(self, b: ir.IRBuilder, pointer: ir.Value, offset: int) -> ir.Value:
        return b.load(self._at(b, pointer, offset), typ=PTR)
