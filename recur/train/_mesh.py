"""Devices as a mesh: seeds on one axis, the parts of a batch on the other."""

import math
from collections.abc import Callable, Sequence

import jax
from jax.sharding import AxisType, Mesh, NamedSharding

from recur._checks import check_positive
from recur._types import PyTree
from recur.train._processes import put, spans_processes

SEED, BATCH = "seed", "batch"


def make_mesh(
    seeds: int = 1,
    batch_size: int | None = None,
    devices: Sequence[jax.Device] | None = None,
    *,
    least_part: int = 8,
) -> Mesh:
    """Returns a mesh with axes ("seed", "batch") for `fit` and `fit_batches`.

    As many devices as divide the seeds train seeds of their own, which costs no communication; among these, as many of
    the rest as divide a batch share it and average their gradients. What divides neither stays idle.

        seed = gcd(S, devices),   batch = the greatest divisor of gcd(B, devices / seed) with B / batch >= least_part

    Args:
        seeds: S, trained together; 1 also for a state without an axis of seeds.
        batch_size: B, samples of a batch; None leaves batches whole.
        devices: By default all there are, of all processes that `jax.distributed` knows. The cores of a CPU become
            devices by ``jax.config.update("jax_num_cpu_devices", n)`` before JAX is first used.
        least_part: Samples that a device takes of a batch, at least: averaging the gradients of a few samples takes
            longer than to compute them. Of several processes, which all must take part, 1.

    Raises:
        ValueError: A number below 1, no devices, or seeds and batch that leave a process without work.

    Example:
        >>> dict(make_mesh(seeds=8, batch_size=32, devices=jax.devices()[:1]).shape)
        {'seed': 1, 'batch': 1}
    """
    devices = jax.devices() if devices is None else list(devices)
    if not devices:
        raise ValueError("devices: expected at least one, got none; leave it out for all")
    processes = len({device.process_index for device in devices})
    on_seed, on_batch = math.gcd(check_positive("seeds", seeds), len(devices)), 1
    if batch_size is not None:
        parts = math.gcd(check_positive("batch_size", batch_size), len(devices) // on_seed)
        least_part = check_positive("least_part", least_part)
        most = max(batch_size // (least_part if processes == 1 else 1), 1)
        on_batch = max(part for part in range(1, min(most, parts) + 1) if parts % part == 0)
    count = on_seed * on_batch
    if count % processes:
        raise ValueError(
            f"seeds: expected seeds and a batch that give each of {processes} processes as many devices, got {seeds} "
            f"seeds and a batch of {batch_size}, for {count} of {len(devices)} devices; take other numbers of them"
        )
    if count < len(devices) and processes > 1:
        devices = _of_each_process(devices, count // processes)
    types = (AxisType.Auto, AxisType.Auto)
    return jax.make_mesh((on_seed, on_batch), (SEED, BATCH), axis_types=types, devices=devices[:count])


def _of_each_process(devices: Sequence[jax.Device], count: int) -> list[jax.Device]:
    """Returns the first `count` devices of every process."""
    by_process: dict[int, list[jax.Device]] = {}
    for device in devices:
        by_process.setdefault(device.process_index, []).append(device)
    return [device for own in by_process.values() for device in own[:count]]


def check_mesh(mesh: Mesh | None, seeds: int | None, batch_size: int | None = None) -> Mesh | None:
    """Returns the mesh, None for a mesh that splits nothing and is on the default device.

    Raises:
        ValueError: Its axes are others, or do not divide the seeds or the batch.
    """
    if mesh is None:
        return None
    if mesh.axis_names != (SEED, BATCH):
        raise ValueError(f"mesh: expected axes ('seed', 'batch'), got {mesh.axis_names}; make it with train.make_mesh")
    if (seeds or 1) % mesh.shape[SEED]:
        raise ValueError(f"mesh: expected a seed axis that divides {seeds or 1} seeds, got {mesh.shape[SEED]}")
    if batch_size is not None and batch_size % mesh.shape[BATCH]:
        raise ValueError(
            f"batch_size: expected a multiple of the mesh's batch axis, {mesh.shape[BATCH]}, got {batch_size}; "
            "train.make_mesh(seeds, batch_size) makes one that fits"
        )
    return None if mesh.devices.tolist() == [[jax.devices()[0]]] else mesh


def batch_axis(mesh: Mesh | None) -> str | None:
    """Returns the name of the axis that batches are split on, None where they stay whole."""
    return BATCH if mesh is not None and mesh.shape[BATCH] > 1 else None


def place(tree: PyTree, mesh: Mesh | None, specs: PyTree) -> PyTree:
    """Returns a tree on the devices of a mesh, or the default device; `specs` is a prefix of it."""
    if mesh is None:
        return jax.device_put(tree)
    shardings = jax.tree.map(lambda spec: NamedSharding(mesh, spec), specs)
    if spans_processes(mesh):
        return jax.tree.map(put, tree, jax.tree.broadcast(shardings, tree))
    return jax.device_put(tree, shardings)


def over_seeds(
    function: Callable,
    *,
    mesh: Mesh | None,
    at_once: int | None,
    in_axes: tuple[int | None, ...],
    in_specs: tuple[PyTree, ...],
    out_specs: PyTree,
) -> Callable:
    """Returns a function of one seed as one of all seeds, run on the devices of a mesh.

    Args:
        function: Of arrays without an axis of seeds.
        mesh: None for the default device.
        at_once: `at_once` seeds go side by side on a device, such groups one after the other; None where there is one
            seed, without an axis.
        in_axes: For every argument 0 if it has an axis S, None if seeds share it.
        in_specs: How arguments are split over the devices, a prefix of each.
        out_specs: How results are.
    """

    def on_a_device(*arguments: PyTree) -> PyTree:
        if at_once is None:
            return function(*arguments)

        def of_seed(own: list[PyTree]) -> PyTree:
            left = iter(own)
            pairs = zip(arguments, in_axes, strict=True)
            return function(*(shared if axis is None else next(left) for shared, axis in pairs))

        own = [argument for argument, axis in zip(arguments, in_axes, strict=True) if axis == 0]
        # A group of 1 is mapped without a vmap, which would turn its products into batched ones.
        return jax.lax.map(of_seed, own, batch_size=None if at_once == 1 else at_once)

    if mesh is None:
        return on_a_device
    return jax.shard_map(on_a_device, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False)
