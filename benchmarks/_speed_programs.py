"""What a peer hands over to be checked and timed, and how a peer on JAX gets it from one function."""

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as Spec

from benchmarks._speed_clock import Call
from benchmarks._speed_rows import Case
from benchmarks._speed_weights import Convert, PullBack, loss

MEASURES = ("forward", "gradients", "step")
"""Outputs; gradients to parameters and inputs; gradients to parameters and Adam's update."""

LEARNING_RATE = 1e-3


class CannotError(Exception):
    """A peer that has no such cell or cannot run a row; the text says why."""


class Program(NamedTuple):
    """One of the `MEASURES`, ready to run.

    Args:
        call: Runs it once; see `_speed_clock.Call`. A training step returns the loss before it.
        compile_s: Seconds until it could run, or of its first call.
        memory_bytes: What it holds at its peak; None if unknown.
        memory_source: How that is known.
    """

    call: Call
    compile_s: float
    memory_bytes: int | None
    memory_source: str


class Entry(NamedTuple):
    """A peer on a case.

    Args:
        name: The peer, with its cell where it has several.
        on_jax: Whether it counts among the JAX peers.
        program: Makes one of the `MEASURES` ready, the first time that it is asked for.
        outputs: Returns the outputs, one entry a seed.
        gradients: Returns gradients to parameters (by path of recur's) and to the inputs, one entry a seed.
        absent: Name of the parameters that it lacks.
    """

    name: str
    on_jax: bool
    program: Callable[[str], Program]
    outputs: Callable[[], list[np.ndarray]]
    gradients: Callable[[], tuple[list[dict[str, np.ndarray]], list[np.ndarray]]]
    absent: str | None = None


class Model(NamedTuple):
    """A network of a library on JAX.

    Args:
        name: Of the peer.
        apply: ``apply(params, x) -> outputs``, batch-major, of one seed.
        convert: Makes its parameters of a recur module.
        over_seeds: How to run it for several seeds, a function such as `jax.vmap`.
        absent: Name of the parameters that it lacks.
    """

    name: str
    apply: Callable[[Any, jax.Array], jax.Array]
    convert: Convert
    over_seeds: Callable[[Callable], Callable] = jax.vmap
    absent: str | None = None


def on_jax(case: Case, model: Model, devices: int = 1) -> Entry:
    """Hands over a model.

    Args:
        case: Sizes, weights and data.
        model: The network.
        devices: Over how many the batch is split, or the seeds if there are several.
    """
    params = [model.convert(module) for module in case.modules]
    if case.row.seeds > 1:
        params, apply = jax.tree.map(lambda *leaves: jnp.stack(leaves), *params), model.over_seeds(model.apply)
        objective = _sum_of_seeds(model.over_seeds(functools.partial(_objective, model.apply)))
    else:
        (params,), apply, objective = params, model.apply, functools.partial(_objective, model.apply)
    differentiate = jax.value_and_grad(objective, argnums=(0, 1))
    mesh = Mesh(np.array(jax.devices()[:devices]), ("split",))
    spec = Spec("split") if case.row.seeds > 1 else Spec()

    def place(tree: Any, spec: Spec) -> Any:
        return jax.device_put(tree, NamedSharding(mesh, spec) if devices > 1 else jax.devices()[0])

    params = place(params, spec)
    x, target = place(case.x, Spec("split")), place(case.target, Spec("split"))
    if devices > 1:
        apply, differentiate = _split(apply, differentiate, mesh, spec, shared=case.row.seeds == 1)
    optimizer = optax.adam(LEARNING_RATE)

    def step(params: Any, state: Any, x: jax.Array, target: jax.Array) -> tuple[Any, Any, jax.Array]:
        # Gradients to the inputs are asked for and not used, so that they are not computed.
        value, (gradients, _) = differentiate(params, x, target)
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state, value

    @functools.cache
    def compiled(measure: str) -> tuple[Callable, Program]:
        if measure == "forward":
            return _compile(jax.jit(apply), (params, x), devices)
        if measure == "gradients":
            return _compile(jax.jit(differentiate), (params, x, target), devices)
        # Copies, as donated arrays are gone after the call.
        state = jax.tree.map(lambda leaf: place(jnp.copy(leaf), spec if leaf.ndim else Spec()), optimizer.init(params))
        return _training(step, (jax.tree.map(jnp.copy, params), state), x, target, devices)

    def seeds(tree: Any) -> list[Any]:
        if case.row.seeds == 1:
            return [tree]
        leaves, structure = jax.tree.flatten(tree)
        return [jax.tree.unflatten(structure, one) for one in zip(*leaves, strict=True)]

    def found() -> tuple[list[dict[str, np.ndarray]], list[np.ndarray]]:
        _, (d_params, d_x) = jax.device_get(compiled("gradients")[0](params, x, target))
        pull_back = PullBack.of(model.convert, case.modules[0])
        return [pull_back(one) for one in seeds(d_params)], seeds(d_x)

    return Entry(
        name=model.name,
        on_jax=True,
        program=lambda measure: compiled(measure)[1],
        outputs=lambda: seeds(jax.device_get(compiled("forward")[0](params, x))),
        gradients=found,
        absent=model.absent,
    )


def _objective(apply: Callable, params: Any, x: jax.Array, target: jax.Array) -> jax.Array:
    return loss(apply(params, x), target)


def _sum_of_seeds(each: Callable) -> Callable:
    return lambda params, x, target: jnp.sum(each(params, x, target))


def _split(apply: Callable, differentiate: Callable, mesh: Mesh, params: Spec, *, shared: bool) -> tuple:
    """Runs both on all devices of a mesh, each on its part; with `shared` parameters the parts make one mean."""
    part = Spec("split")

    def mean(params: Any, x: jax.Array, target: jax.Array) -> tuple[jax.Array, tuple[Any, jax.Array]]:
        value, (d_params, d_x) = differentiate(params, x, target)
        if not shared:
            return jax.lax.psum(value, "split"), (d_params, d_x)
        return *jax.lax.pmean((value,), "split"), (jax.lax.pmean(d_params, "split"), d_x / mesh.size)

    split = functools.partial(jax.shard_map, mesh=mesh, check_vma=False)
    return (
        split(apply, in_specs=(params, part), out_specs=part),
        split(mean, in_specs=(params, part, part), out_specs=(Spec(), (params, part))),
    )


def _compile(function: Any, arguments: tuple, devices: int) -> tuple[Callable, Program]:
    started = time.perf_counter()
    compiled = function.lower(*arguments).compile()
    compile_s = time.perf_counter() - started
    memory, source = planned_memory(compiled, devices)
    return compiled, Program(lambda: jax.block_until_ready(compiled(*arguments)), compile_s, memory, source)


def _training(
    step: Callable, held: tuple[Any, Any], x: jax.Array, target: jax.Array, devices: int
) -> tuple[Callable, Program]:
    """Compiles a step that replaces what it is handed; each call takes up where the one before left off."""
    shardings = jax.tree.map(lambda leaf: leaf.sharding, held)
    function = jax.jit(step, donate_argnums=(0, 1), out_shardings=(*shardings, None))
    compiled, program = _compile(function, (*held, x, target), devices)
    latest = [held]

    def call() -> jax.Array:
        *new, value = compiled(*latest[0], x, target)
        latest[0] = jax.block_until_ready(new)
        return jax.block_until_ready(value)

    return compiled, program._replace(call=call)


def planned_memory(compiled: Any, devices: int) -> tuple[int | None, str]:
    """Returns what a compiled program plans for on all devices together; donated arguments count once."""
    planned = compiled.memory_analysis()
    if planned is None:
        return None, "not told"
    parts = ("argument", "output", "temp")
    held = sum(getattr(planned, f"{part}_size_in_bytes", 0) for part in parts)
    return devices * (held - getattr(planned, "alias_size_in_bytes", 0)), "planned by XLA"
