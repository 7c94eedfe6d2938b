"""Training on meshes of simulated devices, run once in a process that has four, against one device."""

import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh

from recur import train
from recur.train import _fit

SCRIPT = pathlib.Path(__file__).with_name("on_four_devices.py")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mesh")
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=4"
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(SCRIPT.parents[2])}
    done = subprocess.run(
        [sys.executable, "-W", "error", SCRIPT, folder], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    values = {}
    for key, value in np.load(folder / "found.npz").items():
        run, name = key.split(".")
        values.setdefault(run, {})[name] = value
    return values


def test_a_mesh_equals_one_device(found):
    """Batches, also from the host, whose parts do not weigh the same, and a validation set that parts do not divide."""
    alone = found["none"]
    assert alone["val_loss"].std() > 0.01
    for name in set(alone) - {"train_draw"}:
        for run in ("2x1", "2x2", "batches"):
            np.testing.assert_allclose(found[run][name], alone[name], rtol=2e-5, atol=1e-6, err_msg=f"{run} {name}")


def test_drawn_batches_are_the_same_on_a_mesh(found):
    assert found["drawn_none"]["w"].std() > 0.01
    for name in set(found["drawn_none"]) - {"train_draw"}:
        wanted = found["drawn_none"][name]
        np.testing.assert_allclose(found["drawn_2x2"][name], wanted, rtol=2e-5, atol=1e-6, err_msg=name)


def test_a_carry_is_split_as_its_batch(found):
    """On a mesh of seeds 1, parts 2, with a state that has no axis of seeds."""
    for name, wanted in found["carry_none"].items():
        np.testing.assert_allclose(found["carry_1x2"][name], wanted, rtol=2e-5, atol=1e-6, err_msg=name)


def test_all_parts_refuse_a_step_that_one_cannot_take(found):
    assert found["halved_none"]["halvings"].tolist() == [1, 1, 2]
    assert np.isfinite(found["halved_none"]["w"]).all()
    for name, wanted in found["halved_none"].items():
        np.testing.assert_allclose(found["halved_1x2"][name], wanted, rtol=2e-5, atol=1e-6, err_msg=name)


def test_whole_batches_draw_as_on_one_device(found):
    np.testing.assert_allclose(found["2x1"]["train_draw"], found["none"]["train_draw"], rtol=1e-6)


def test_parts_of_a_batch_draw_with_keys_of_their_own(found):
    """The draws of the two parts, averaged by what they weigh, over the two steps of the first epoch."""
    key, wanted = jax.random.key(0), []
    order = jax.random.permutation(jax.random.fold_in(jax.random.fold_in(key, 0), 0), 10)
    weights = np.asarray(1 + order % 3, np.float64)
    for step in range(2):
        of_step = jax.random.fold_in(jax.random.fold_in(key, 1), step)
        draws = [float(jax.random.uniform(jax.random.fold_in(of_step, part))) for part in range(2)]
        parts = weights[4 * step : 4 * step + 4].reshape(2, 2).sum(axis=1)
        wanted.append(np.average(draws, weights=parts))
    np.testing.assert_allclose(found["2x2"]["train_draw"][0, 0], np.mean(wanted), rtol=1e-5)


def test_a_run_goes_on_bit_for_bit_on_its_mesh_and_to_rounding_on_another(found):
    whole, continued = found["2x2"], found["continued_2x2"]
    for name in ("w", "best"):
        np.testing.assert_array_equal(continued[name], whole[name])
    # A record more: training stopped first in the middle of the second epoch.
    np.testing.assert_array_equal(continued["val_loss"][[0, 2, 3]], whole["val_loss"])
    np.testing.assert_allclose(found["continued_none"]["w"], whole["w"], rtol=1e-4)


def test_devices_go_to_seeds_first(found):
    shapes = {"all": [4, 1], "odd": [1, 2], "few": [1, 2], "six": [2, 2], "whole": [1, 1]}
    assert {name: found[f"mesh_{name}"]["shape"].tolist() for name in shapes} == shapes


def test_a_call_takes_the_memory_of_parameters_and_optimiser_state(monkeypatch):
    given = []

    def loss(params, batch, key):
        return ((batch - params["w"][None]) ** 2).mean(), {}

    def watched(function, **options):
        def call(state, *arguments):
            if function is _fit.run_steps:
                # Without the counters, which the host still looks at.
                given.append(state._replace(health=None))
            return program(function, **options)(state, *arguments)

        return call

    program = _fit.program
    monkeypatch.setattr(_fit, "program", watched)
    optimizer = optax.adam(0.1)
    state = train.init_state({"w": jnp.ones(3)}, optimizer, jax.random.key(0))
    train.fit(state, loss, optimizer, jnp.ones((4, 3)), epochs=2, batch_size=2)
    assert len(given) >= 2
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(given))
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(state))


def test_a_mesh_that_does_not_fit_is_refused():
    device = np.array(jax.devices()[:1]).reshape(1, 1)
    optimizer = optax.sgd(0.1)
    state = train.init_state(jnp.ones(3), optimizer, jax.random.key(0))

    def fit(mesh):
        return train.fit(state, lambda *_: None, optimizer, jnp.ones((4, 3)), epochs=1, batch_size=3, mesh=mesh)

    with pytest.raises(ValueError, match=r"mesh: expected axes \('seed', 'batch'\), got \('a', 'b'\)"):
        fit(Mesh(device, ("a", "b")))
    with pytest.raises(ValueError, match="mesh: expected a seed axis that divides 1 seeds, got 2"):
        fit(Mesh(np.broadcast_to(device, (2, 1)), ("seed", "batch")))
    with pytest.raises(ValueError, match="batch_size: expected a multiple of the mesh's batch axis, 2, got 3"):
        fit(Mesh(np.broadcast_to(device, (1, 2)), ("seed", "batch")))
    with pytest.raises(ValueError, match="devices: expected at least one, got none"):
        train.make_mesh(devices=[])
    with pytest.raises(ValueError, match="seeds: expected a whole number >= 1, got 0"):
        train.make_mesh(0)
