"""Programs whose memory and time are measured as sizes and devices grow; compiled from shapes alone."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as Spec

import recur
from recur import cells, engines, train

OPTIMIZER = optax.adam(1e-3)
FEATURES = 32


class Case(NamedTuple):
    """Sizes of a training step of an LSTM with 32 inputs: steps, rows of a batch, units, seeds, devices."""

    T: int
    B: int
    H: int
    S: int = 1
    D: int = 1


def step(case: Case) -> Any:
    """Compiles a training step (Adam, gradient of the mean square of the last output) on the mesh of `fit`.

    Raises:
        ValueError: Seeds and batch that do not use all the devices.
    """
    mesh = train.make_mesh(case.S, case.B, jax.devices()[: case.D], least_part=1)
    if mesh.size != case.D:
        raise ValueError(f"devices: expected a number that {case.S} seeds and a batch of {case.B} use, got {case.D}")
    cell = cells.lstm(case.H)
    one = train.make_step(functools.partial(_loss, cell), OPTIMIZER, axis_name="batch")

    def on_a_device(state: train.TrainState, xs: jax.Array) -> Any:
        return jax.vmap(one, in_axes=(0, None))(state, xs)

    def start(key: jax.Array) -> train.TrainState:
        return train.init_state(cell.init(key, FEATURES), OPTIMIZER, key)

    specs = (Spec("seed"), Spec("batch"))
    run = jax.shard_map(on_a_device, mesh=mesh, in_specs=specs, out_specs=specs[0], check_vma=False)
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), case.S))
    arguments = (jax.eval_shape(jax.vmap(start), keys), jax.ShapeDtypeStruct((case.B, case.T, FEATURES), jnp.float32))
    return compiled(jax.jit(run, donate_argnums=0), arguments, mesh, specs)


def _loss(cell: cells.Cell, params: Any, xs: jax.Array, key: jax.Array | None) -> tuple[jax.Array, dict]:
    del key
    # By the engine that runs on every device; on a CPU kernels need less.
    return jnp.mean(recur.unroll(cell, params, jnp.moveaxis(xs, 1, 0), engine=engines.Scan()).final.h ** 2), {}


def blocks(steps: int, batch: int, hidden_size: int, devices: int) -> Any:
    """Compiles outputs and gradients of a `min_gru`, the sequence split over devices; with one, as `Scan` runs it."""
    mesh = Mesh(jax.devices()[:devices], ("time",), axis_types=(AxisType.Auto,))
    cell = cells.min_gru(hidden_size)
    engine = engines.Scan() if devices == 1 else engines.Blocks(mesh)

    def loss(params: Any, xs: jax.Array) -> jax.Array:
        return jnp.mean(recur.unroll(cell, params, xs, engine=engine).outputs ** 2)

    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), FEATURES))
    arguments = (params, jax.ShapeDtypeStruct((steps, batch, FEATURES), jnp.float32))
    return compiled(jax.jit(jax.value_and_grad(loss)), arguments, mesh, (Spec(), Spec("time")))


def hidden(steps: int, batch: int, hidden_size: int, devices: int) -> Any:
    """Compiles outputs and gradients of an LSTM whose kernels are split by units over devices, as XLA then runs it."""
    mesh = Mesh(jax.devices()[:devices], ("units",), axis_types=(AxisType.Auto,))
    cell = cells.lstm(hidden_size)

    def loss(params: Any, xs: jax.Array) -> jax.Array:
        return jnp.mean(recur.unroll(cell, params, xs).final.h ** 2)

    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), FEATURES))
    specs = jax.tree.map(lambda leaf: Spec(*[None] * (leaf.ndim - 1), "units"), params)
    arguments = (params, jax.ShapeDtypeStruct((steps, batch, FEATURES), jnp.float32))
    placed = jax.tree.map(lambda spec: NamedSharding(mesh, spec), (Spec(), specs))
    return compiled(jax.jit(jax.value_and_grad(loss), out_shardings=placed), arguments, mesh, (specs, Spec()))


def compiled(function: Any, arguments: tuple, mesh: Mesh, specs: tuple) -> Any:
    """Compiles a jitted function for shapes on a mesh; nothing is allocated."""
    shardings = jax.tree.map(lambda spec: NamedSharding(mesh, spec), specs)

    def placed(leaf: jax.ShapeDtypeStruct, sharding: NamedSharding) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    return function.lower(*jax.tree.map(placed, arguments, jax.tree.broadcast(shardings, arguments))).compile()


def planned_bytes(program: Any) -> int:
    """Returns the memory that a program plans for on each device: arguments, results, and what lies between."""
    plan = program.memory_analysis()
    return plan.argument_size_in_bytes + plan.output_size_in_bytes + plan.temp_size_in_bytes - plan.alias_size_in_bytes


def caller(program: Any) -> Callable[[], Any]:
    """Returns a call of a program on arrays of one number, that returns when all is computed.

    Where it takes the memory of its state, the state that comes out goes in the next time.
    """
    (arguments, _), shardings = program.in_avals, program.input_shardings[0]
    filled = jax.tree.map(_ones, arguments, shardings)
    donates = program.memory_analysis().alias_size_in_bytes > 0
    held = [filled]

    def call() -> Any:
        found = jax.block_until_ready(program(*held[0]))
        if donates:
            held[0] = (found[0], *held[0][1:])
        return found

    return call


def _ones(leaf: Any, sharding: NamedSharding) -> jax.Array:
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.device_put(jax.random.split(jax.random.key(0), leaf.shape[0]), sharding)
    # Small, so that no network blows up.
    value = 0.01 if jnp.issubdtype(leaf.dtype, jnp.floating) else 0
    return jax.device_put(jnp.full(leaf.shape, value, leaf.dtype), sharding)
