"""Trains as one of several processes and writes what came out, for test_train_processes.py. Run as a script.

on_processes.py FOLDER PROCESSES ID PORT DEVICES STEPS [batches]
"""

import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
from on_four_devices import OPTIMIZER, loss, numbers, samples, stack, start

from recur import tasks, train

SEEDS, ROWS, BATCH, EVERY = 2, 16, 8, 2


def fit(steps, mesh, folder=None):
    """Trains two seeds on data of their own."""
    states = stack([start(0), start(1)])
    each = [{"data": samples(seed, ROWS), "validation": samples(seed + 2, 7)} for seed in range(SEEDS)]
    options = {"data_axis": 0, **stack(each), "batch_size": BATCH, "steps": steps, "mesh": mesh}
    if folder is None:
        return train.fit(states, loss, OPTIMIZER, **options)
    with train.Checkpoints(folder) as checkpoints:
        return train.fit(states, loss, OPTIMIZER, **options, hooks=train.Hooks(checkpoints=checkpoints))


def loss_of_items(params, batch, key):
    """Mean over the steps of sequences of unequal length; what only fills up counts for nothing."""
    mask = (jnp.arange(batch["x"].shape[1])[None] < batch["x_lengths"][:, None]) & batch["valid"][:, None]
    error = jnp.where(mask, (jnp.tanh(batch["x"][..., None] * params["w"][None, None, 0]).sum(-1) - 1) ** 2, 0)
    return error.sum() / jnp.maximum(mask.sum(), 1), {"weight": mask.sum()}


class Items(list):
    """A list that remembers which of its items were taken."""

    def __init__(self, items):
        super().__init__(items)
        self.taken = []

    def __getitem__(self, place):
        self.taken.append(place)
        return super().__getitem__(place)


def fit_batches(mesh, steps=6):
    """Trains on batches that grain reads, of which this process makes its part; says which items that took."""
    rng = np.random.default_rng(0)
    items = Items([{"x": rng.normal(size=1 + n % 5).astype(np.float32)} for n in range(ROWS + 3)])
    part = (0, 1) if mesh is None else train.batch_part(mesh)
    common = {"pad": {"x": 0.0}, "part": part, "read_ahead": 0}
    batches = tasks.batches(items, BATCH, buckets=2, key=jax.random.key(3), epochs=None, **common)
    validation = tasks.batches(items, BATCH, **common)
    items.taken.clear()
    options = {"steps": steps, "eval_every": EVERY, "validation": validation, "mesh": mesh}
    return train.fit_batches(start(0), loss_of_items, OPTIMIZER, batches, **options), len(items.taken)


def main(folder, processes, process_id, port, devices, steps, *also):
    jax.config.update("jax_num_cpu_devices", int(devices))
    if int(processes) > 1:
        jax.distributed.initialize(f"127.0.0.1:{port}", int(processes), int(process_id), initialization_timeout=60)
    folder = pathlib.Path(folder)
    fitted = fit(int(steps), train.make_mesh(SEEDS, BATCH, least_part=1), folder / "checkpoints")
    found = {"fit": numbers(fitted._replace(state=train.gather(fitted.state)))}
    if "batches" in also:
        mesh = train.make_mesh(1, BATCH, least_part=1)
        fitted, taken = fit_batches(mesh)
        fitted = fitted._replace(state=train.gather(fitted.state))
        found["batches"] = {**numbers(fitted), "taken": np.array(taken), "mesh": np.array(mesh.devices.shape)}
    np.savez(
        folder / f"found_{process_id}.npz",
        **{f"{run}.{key}": value for run, values in found.items() for key, value in values.items()},
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
