"""Kernels as targets of XLA's foreign function interface on a CPU: compiled by LLVM, registered by name."""

import ctypes
import hashlib
import threading

import jax
import llvmlite.binding as llvm
from llvmlite import ir

from recur.engines.kernels._handler import Buffers, define_handler
from recur.engines.kernels._processor import compile_text, threads, with_wide_vectors

_lock = threading.Lock()
_compiled: dict[str, llvm.ExecutionEngine] = {}


def register(kernel: str, module: ir.Module, pack: ir.Function | None, worker: ir.Function, *, buffers: Buffers) -> str:
    """Compiles a kernel, registers it, and returns the name of the target, which tells one program from another.

    Args:
        kernel: What it is, the beginning of the name.
        module: Where `pack` and `worker` stand.
        pack: ``pack(matrix, packed)``, once a call and network; None without a product.
        worker: The loop over time, of `WORKER` arguments.
        buffers: The arrays of a call.
    """
    define_handler(module, buffers, pack, worker, threads())
    text = with_wide_vectors(str(module))
    name = f"recur_{kernel}_{hashlib.sha256(text.encode()).hexdigest()[:24]}"
    with _lock:
        if name not in _compiled:
            _compiled[name] = compile_text(text)
            address = _compiled[name].get_function_address("handler")
            jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(ctypes.c_void_p(address)), platform="cpu")
    return name
