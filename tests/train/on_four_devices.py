"""Trains on meshes of simulated devices and writes what came out, for test_train_mesh.py. Run as a script."""

import functools
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax

from recur import train

OPTIMIZER = optax.adam(0.05)
DEVICES = {"none": None, "2x1": (2, 1), "1x2": (1, 2), "2x2": (2, 2)}


def loss(params, batch, key):
    """Mean over the rows that count, which are not as many in every part of a batch."""
    x, y, counts = batch
    error = (jnp.tanh(x @ params["w"]).sum(axis=1) - y) ** 2
    draw = jnp.zeros(()) if key is None else jax.random.uniform(key)
    return (error * counts).sum() / counts.sum(), {"draw": draw, "weight": counts.sum()}


def loss_with_carry(params, batch, key, carry):
    """Of rows that each go on where they ended in the batch before."""
    carry = jnp.tanh(batch[0] @ params["w"] + carry)
    return (carry.sum(axis=1) ** 2).mean(), {}, carry


def start(seed):
    key = jax.random.key(seed)
    return train.init_state({"w": jax.random.normal(key, (3, 4))}, OPTIMIZER, key)


def samples(seed, count):
    return draw(jax.random.key(100 + seed), count)


def draw(key, count):
    x = jax.random.normal(key, (count, 3))
    return x, jnp.sin(x[:, 0]), 1.0 + jnp.arange(count) % 3


def stack(trees):
    return jax.tree.map(
        lambda *leaves: np.stack(leaves) if isinstance(leaves[0], np.ndarray) else jnp.stack(leaves), *trees
    )


def take(samples, rows):
    return jax.tree.map(lambda leaf: np.asarray(leaf)[rows], samples)


def order(seed, epoch):
    """The rows of both batches of an epoch."""
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), 0), epoch)
    return np.asarray(jax.random.permutation(key, 10))[:8].reshape(2, 4)


def mesh_of(name):
    shape = DEVICES[name]
    if shape is None:
        return None
    mesh = train.make_mesh(shape[0], shape[1], jax.devices()[: shape[0] * shape[1]], least_part=1)
    assert tuple(mesh.shape.values()) == shape
    return mesh


def numbers(fitted):
    metrics = {name: np.stack([r.metrics[name] for r in fitted.history]) for name in fitted.history[0].metrics}
    return {"w": np.asarray(fitted.state.params["w"]), "best": np.asarray(fitted.state.best.value), **metrics}


def main(folder):
    states = stack([start(0), start(1)])
    each = [{"data": samples(seed, 10), "validation": samples(seed + 2, 7)} for seed in range(2)]
    both = {"data_axis": 0, **stack(each)}
    fit = functools.partial(train.fit, loss=loss, optimizer=OPTIMIZER, batch_size=4)
    found = {name: numbers(fit(states, **both, epochs=3, mesh=mesh_of(name))) for name in ("none", "2x1", "2x2")}
    drawn = {"draw": lambda key: draw(key, 4), "data_axis": 0, "validation": both["validation"], "steps": 3}
    for name in ("none", "2x2"):
        found[f"drawn_{name}"] = numbers(train.fit(states, loss, OPTIMIZER, **drawn, mesh=mesh_of(name)))
    for name in ("2x2", "none"):
        with train.Checkpoints(folder / f"checkpoints_{name}") as checkpoints:
            options = {**both, "hooks": train.Hooks(checkpoints=checkpoints)}
            fit(states, **options, steps=3, mesh=mesh_of("2x2"))
            found[f"continued_{name}"] = numbers(fit(states, **options, epochs=3, mesh=mesh_of(name)))
    stream = start(0)._replace(carry=jnp.zeros((4, 4)))
    for name in ("none", "1x2"):
        options = {"data": samples(0, 12), "validation": samples(1, 8), "shuffle": False, "batch_size": 4}
        fitted = train.fit(stream, loss_with_carry, OPTIMIZER, **options, epochs=2, mesh=mesh_of(name))
        found[f"carry_{name}"] = {**numbers(fitted), "carry": np.asarray(fitted.state.carry)}
    # In the second batch one sample is not a number: in each epoch the step is refused.
    options["data"] = jax.tree.map(
        lambda leaf: leaf.at[5].set(jnp.nan) if leaf.dtype == "float32" else leaf, samples(0, 12)
    )
    for name in ("none", "1x2"):
        halved = {"epochs": 2, "eval_every": 2, "on_nonfinite": "halve", "mesh": mesh_of(name)}
        fitted = train.fit(stream, loss_with_carry, OPTIMIZER, **options, **halved)
        found[f"halved_{name}"] = {**numbers(fitted), "carry": np.asarray(fitted.state.carry)}
    # The very batches that the device draws; of validation a part that two devices divide, and one that they do not.
    batches = [
        stack([take(each[n]["data"], order(n, epoch)[step]) for n in (0, 1)]) for epoch in range(3) for step in (0, 1)
    ]
    validation = [
        stack([take(each[n]["validation"], rows) for n in (0, 1)]) for rows in (np.arange(4), np.arange(4, 7))
    ]
    options = {"data_axis": 0, "steps": 6, "eval_every": 2, "validation": validation, "mesh": mesh_of("2x2")}
    found["batches"] = numbers(train.fit_batches(states, loss, OPTIMIZER, batches, **options))
    for name, mesh in {
        "all": train.make_mesh(8, 32),
        "odd": train.make_mesh(3, 16),
        "few": train.make_mesh(1, 24),
        "six": train.make_mesh(6, 32),
        "whole": train.make_mesh(1),
    }.items():
        found[f"mesh_{name}"] = {"shape": np.array(mesh.devices.shape)}
    np.savez(folder / "found.npz", **{f"{run}.{key}": v for run, values in found.items() for key, v in values.items()})


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
