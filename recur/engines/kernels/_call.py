"""Kernels as targets of XLA's foreign function interface on a CPU: compiled by LLVM, registered by name.

Offsets are those of the structures of `xla/ffi/api/c_api.h`, version 0.x; a handler answers with the version of the
runtime that asks, whose rules keep these structures' beginnings.
"""

import ctypes
import functools
import hashlib
import os
import threading

import jax
import llvmlite.binding as llvm
from llvmlite import ir

from recur.engines.kernels._code import I32, I64, PTR, Code, const

FRAME = {"extension": 8, "api": 16, "context": 24, "args": 72, "results": 112}
BUFFER_DATA, BUFFER_DIMS = 24, 40
API = {"major": 32, "minor": 36, "schedule": 136}
METADATA_EXTENSION, METADATA_MAJOR, METADATA_MINOR = 24, 24, 28
SCHEDULE_SIZE = 40

# Of what threads share: next part, parts done, references, parts, T, B, then the table of buffers.
NEXT, DONE, HELD, PARTS, LENGTH, BATCH, TABLE = (8 * place for place in range(7))

LEAST_ROWS = 2
"""Rows that a thread takes at least."""

_lock = threading.Lock()
_compiled: dict[str, llvm.ExecutionEngine] = {}


@functools.cache
def machine() -> llvm.TargetMachine:
    """Returns the processor that this process runs on, as LLVM knows it."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple()
    features = llvm.get_host_cpu_features().flatten()
    return target.create_target_machine(cpu=llvm.get_host_cpu_name(), features=features, opt=2, jit=True)


@functools.cache
def vectors() -> tuple[int, bool]:
    """Returns the entries of a vector of float32, and whether there are 32 registers of them."""
    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        return 16, True
    if features.get("avx2") and features.get("fma"):
        return 8, False
    return 4, machine().triple.startswith(("aarch64", "arm64"))


@functools.cache
def threads() -> int:
    """Returns the threads that a run may use: the cores of a device, of those that the CPU is split into."""
    if os.name == "nt":
        # Waiting for other threads is written for POSIX.
        return 1
    return max((os.cpu_count() or 1) // len(jax.local_devices(backend="cpu")), 1)


def register(
    kernel: str,
    module: ir.Module,
    pack: ir.Function | None,
    worker: ir.Function,
    *,
    places: tuple[int, int],
    lengths: int,
    matrix: int,
    packed: int,
) -> str:
    """Compiles a kernel, registers it, and returns the name of the target, which tells one program from another.

    Args:
        kernel: What it is, the beginning of the name.
        module: Where `pack` and `worker` stand.
        pack: ``pack(matrix, packed)``, once a call; None without a product.
        worker: The loop over time, of `WORKER` arguments.
        places: How many arrays are handed in, and how many come back.
        lengths: Number of an argument whose first axes are T and B.
        matrix: Number of the matrix in the table of arrays, arguments first.
        packed: That of the memory it is laid out in.
    """
    _Handler(module, places, pack, worker).define(matrix, packed, lengths)
    text = _with_wide_vectors(str(module))
    name = f"recur_{kernel}_{hashlib.sha256(text.encode()).hexdigest()[:24]}"
    with _lock:
        if name not in _compiled:
            _compiled[name] = _compile(text)
            address = _compiled[name].get_function_address("handler")
            jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(ctypes.c_void_p(address)), platform="cpu")
    return name


def _with_wide_vectors(text: str) -> str:
    """Asks LLVM for vectors of full width, which it avoids on some processors."""
    lines = [f"{line} #0" if line.startswith("define ") else line for line in text.replace("\n{", " {").splitlines()]
    lines = [line.replace(" { #0", " #0 {") for line in lines]
    return "\n".join([*lines, 'attributes #0 = { "prefer-vector-width"="512" "min-legal-vector-width"="512" }', ""])


def _compile(text: str) -> llvm.ExecutionEngine:
    module = llvm.parse_assembly(text)
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_vectorization = options.slp_vectorization = False
    builder = llvm.create_pass_builder(machine(), options)
    builder.getModulePassManager().run(module, builder)
    engine = llvm.create_mcjit_compiler(module, machine())
    engine.finalize_object()
    return engine


class _Handler:
    """The function that XLA calls, and what it splits work with."""

    def __init__(self, module: ir.Module, places: tuple[int, int], pack: ir.Function | None, worker: ir.Function):
        self.module, self.places, self.pack, self.worker = module, places, pack, worker

    def define(self, matrix: int, packed: int, lengths: int) -> None:
        """Defines ``handler(frame)``.

        `places` are the numbers of arguments and of results. T and B are the first axes of argument `lengths`; the
        matrix at place `matrix` is laid out to `packed` first.
        """
        code = Code(self.module, "handler", [PTR], 1, returns=PTR, internal=False)
        b, (frame,) = code.builder, code.arguments
        with b.if_then(b.icmp_signed("!=", self._pointer(b, frame, FRAME["extension"]), ir.Constant(PTR, None))):
            self._answer(b, frame)
            b.ret(ir.Constant(PTR, None))
        table, dims = self._table(code, frame, lengths)
        length, batch = (b.load(b.gep(dims, [const(axis)], source_etype=I64), typ=I64) for axis in (0, 1))
        if self.pack is not None:
            b.call(self.pack, [code.entry(table, matrix), code.entry(table, packed)])
        alone = [table, length, batch, const(0), batch]
        if threads() == 1:
            b.call(self.worker, alone)
        else:
            most = b.sdiv(batch, const(LEAST_ROWS))
            parts = b.select(b.icmp_signed("<", most, const(threads())), most, const(threads()))
            with b.if_else(b.icmp_signed("<=", parts, const(1))) as (one, several):
                with one:
                    b.call(self.worker, alone)
                with several:
                    self._share(code, frame, table, (parts, length, batch))
        b.ret(ir.Constant(PTR, None))

    def _answer(self, b: ir.IRBuilder, frame: ir.Value) -> None:
        """Tells which version the handler was made for: the one that asks."""
        api = self._pointer(b, frame, FRAME["api"])
        metadata = self._pointer(b, self._pointer(b, frame, FRAME["extension"]), METADATA_EXTENSION)
        for source, target in (("major", METADATA_MAJOR), ("minor", METADATA_MINOR)):
            b.store(b.load(self._at(b, api, API[source]), typ=I32), self._at(b, metadata, target))

    def _table(self, code: Code, frame: ir.Value, lengths: int) -> tuple[ir.Value, ir.Value]:
        """Returns the addresses of all buffers' data, arguments first, and the axes of one argument."""
        b, (arguments, results) = code.builder, self.places
        table, dims = code.room(PTR, arguments + results), None
        for kind, first, count in (("args", 0, arguments), ("results", arguments, results)):
            buffers = self._pointer(b, frame, FRAME[kind])
            for place in range(count):
                buffer = code.entry(buffers, place)
                data = self._pointer(b, buffer, BUFFER_DATA)
                b.store(data, b.gep(table, [const(first + place)], source_etype=PTR))
                if kind == "args" and place == lengths:
                    dims = self._pointer(b, buffer, BUFFER_DIMS)
        return table, dims

    def _share(
        self,
        code: Code,
        frame: ir.Value,
        table: ir.Value,
        numbers: tuple[ir.Value, ir.Value, ir.Value],
    ) -> None:
        """Shares the rows with XLA's threads; whoever is free takes the next part, this thread too.

        So nobody waits for a thread that never comes; one that comes late finds nothing left to do.
        """
        b, count, parts = code.builder, sum(self.places), numbers[0]
        run_parts = self._define_run_parts()
        task = self._define_task(run_parts)
        shared = b.call(self._external("malloc", PTR, [I64]), [const(TABLE + 8 * count)])
        values = (const(0), const(0), parts, *numbers)
        for offset, value in zip((NEXT, DONE, HELD, PARTS, LENGTH, BATCH), values, strict=True):
            b.store(value, self._at(b, shared, offset))
        for place in range(count):
            b.store(code.entry(table, place), self._at(b, shared, TABLE + 8 * place))
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
        with code.loop(const(1), parts):
            b.call(schedule, [request])
        b.call(run_parts, [shared])
        wait, done = b.append_basic_block("wait"), b.append_basic_block("all_done")
        b.branch(wait)
        b.position_at_end(wait)
        finished = b.load_atomic(self._at(b, shared, DONE), "acquire", 8, typ=I64)
        b.call(self._external("sched_yield", I32, []), [])
        b.cbranch(b.icmp_signed("<", finished, parts), wait, done)
        b.position_at_end(done)
        self._release(b, shared)

    def _define_run_parts(self) -> ir.Function:
        """Defines what a thread does: takes parts until there are none left."""
        code = Code(self.module, "run_parts", [PTR], 1)
        b, (shared,) = code.builder, code.arguments
        parts, length, batch = (b.load(self._at(b, shared, offset), typ=I64) for offset in (PARTS, LENGTH, BATCH))
        take, work, leave = (b.append_basic_block(name) for name in ("take", "work", "leave"))
        b.branch(take)
        b.position_at_end(take)
        part = b.atomic_rmw("add", self._at(b, shared, NEXT), const(1), "acq_rel")
        b.cbranch(b.icmp_signed("<", part, parts), work, leave)
        b.position_at_end(work)
        low, high = (b.sdiv(b.mul(batch, which), parts) for which in (part, b.add(part, const(1))))
        b.call(self.worker, [self._at(b, shared, TABLE), length, batch, low, high])
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
            b.call(self._external("free", ir.VoidType(), [PTR]), [shared])

    def _external(self, name: str, returns: ir.Type, arguments: list[ir.Type]) -> ir.Function:
        found = self.module.globals.get(name)
        return found or ir.Function(self.module, ir.FunctionType(returns, arguments), name)

    @staticmethod
    def _at(b: ir.IRBuilder, pointer: ir.Value, offset: int) -> ir.Value:
        return b.gep(pointer, [const(offset)], source_etype=ir.IntType(8))

    def _pointer(self, b: ir.IRBuilder, pointer: ir.Value, offset: int) -> ir.Value:
        return b.load(self._at(b, pointer, offset), typ=PTR)
