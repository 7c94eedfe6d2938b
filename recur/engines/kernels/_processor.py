"""The processor that kernels are compiled for, and their compilation by LLVM."""

import functools
import os

import jax
import llvmlite.binding as llvm


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


def with_wide_vectors(text: str) -> str:
    """Asks LLVM for vectors of full width, which it avoids on some processors."""
    lines = [f"{line} #0" if line.startswith("define ") else line for line in text.replace("\n{", " {").splitlines()]
    lines = [line.replace(" { #0", " #0 {") for line in lines]
    return "\n".join([*lines, 'attributes #0 = { "prefer-vector-width"="512" "min-legal-vector-width"="512" }', ""])


def compile_text(text: str) -> llvm.ExecutionEngine:
    module = llvm.parse_assembly(text)
    module.verify()
    # No pass over the code before it is generated: they take most of the time, and kernels that are written vector by
    # vector are no faster for it.
    engine = llvm.create_mcjit_compiler(module, machine())
    engine.finalize_object()
    return engine
