"""Training by several processes and on eight devices, against one device; checkpoints that other processes restore."""

import shutil

import jax
import numpy as np
import process_runs
import pytest
from on_processes import BATCH, ROWS, fit, fit_batches
from on_processes import numbers as numbers_of
from process_runs import train_on

from recur import tasks, train

STOP, STEPS = 3, 6


@pytest.fixture(scope="module")
def alone():
    fitted, taken = fit_batches(None)
    return {"fit": numbers_of(fit(STEPS, None)), "batches": {**numbers_of(fitted), "taken": taken}}


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    """Four processes of a device each, stopped in the middle; and the folder with their checkpoint."""
    folder = tmp_path_factory.mktemp("four")
    return train_on(folder, 4, 1, STOP, "batches"), folder


def assert_same(found, wanted, names):
    for name in names:
        np.testing.assert_allclose(found[name], wanted[name], rtol=2e-5, atol=1e-6, err_msg=name)


METRICS = ("train_loss", "val_loss", "grad_norm", "clipped")


def test_four_processes_take_the_steps_of_one_device(alone, four):
    found, _ = four
    wanted = numbers_of(fit(STOP, None))
    for one in found:
        assert one["batches"]["mesh"].tolist() == [1, 4]
        assert_same(one["fit"], wanted, ("w", "best", *METRICS))
        assert_same(one["batches"], alone["batches"], ("w", "best", *METRICS))
    np.testing.assert_array_equal(found[0]["fit"]["w"], found[3]["fit"]["w"])


def test_each_process_reads_its_part_of_a_batch_only(alone, four):
    """Six steps of training, three passes over three batches of validation, one of them for the names of metrics."""
    batches = STEPS + 3 * 3 + 1
    assert alone["batches"]["taken"] == batches * BATCH
    assert [int(one["batches"]["taken"]) for one in four[0]] == [batches * BATCH // 4] * 4


@pytest.mark.parametrize("processes", [1, 2])
def test_a_checkpoint_of_four_processes_goes_on_in_fewer(alone, four, processes, tmp_path):
    shutil.copytree(four[1] / "checkpoints", tmp_path / "checkpoints")
    if processes == 1:
        found = [{"fit": numbers_of(fit(STEPS, None, tmp_path / "checkpoints"))}]
    else:
        # Two devices each, so that seeds are split over the processes and batches over the devices of one.
        found = train_on(tmp_path, 2, 2, STEPS)
    for one in found:
        assert_same(one["fit"], alone["fit"], ("w", "best"))
        # A record more: training stopped first in the middle of the second epoch.
        np.testing.assert_allclose(one["fit"]["val_loss"][[0, 2, 3]], alone["fit"]["val_loss"], rtol=2e-5)
        np.testing.assert_allclose(one["fit"]["val_loss"][1], four[0][0]["fit"]["val_loss"][1], rtol=1e-6)


def test_every_process_wrote_to_the_checkpoint(four):
    written = sorted(path.name for path in (four[1] / "checkpoints" / str(STOP) / "state").glob("ocdbt.process_*"))
    assert written == [f"ocdbt.process_{index}" for index in range(4)]


def test_eight_devices_of_a_process_take_the_steps_of_one(alone, tmp_path):
    (found,) = train_on(tmp_path, 1, 8, STEPS, "batches")
    assert found["batches"]["mesh"].tolist() == [1, 8]
    assert_same(found["fit"], alone["fit"], ("w", "best", *METRICS))
    assert_same(found["batches"], alone["batches"], ("w", "best", *METRICS))


def test_parts_of_batches_make_the_whole():
    key = jax.random.key(1)
    items = [{"x": np.arange(1, n + 2)} for n in range(ROWS)]
    whole = tasks.batches(items, 6, pad={"x": 0}, key=key, buckets=3)
    parts = [tasks.batches(items, 6, pad={"x": 0}, key=key, buckets=3, part=(n, 3)) for n in range(3)]
    streams = tasks.stream_batches(np.arange(50), 4, 3, remainder="keep")
    halves = [tasks.stream_batches(np.arange(50), 4, 3, remainder="keep", part=(n, 2)) for n in range(2)]
    for each, pieces in ((whole, parts), (streams, halves)):
        assert len(each) > 1
        for step in range(len(each)):
            for name, value in each[step].items():
                found = [piece[step][name] for piece in pieces]
                np.testing.assert_array_equal(np.concatenate(found) if value.ndim else found[0], value)


@pytest.mark.parametrize("part", [(3, 3), (-1, 2), (0, 4)])
def test_a_part_that_is_none_is_refused(part):
    with pytest.raises(ValueError, match=r"part: expected \(index, count\) .* divides the batch of 6, got"):
        tasks.batches([{"x": np.ones(2)}] * 6, 6, pad={"x": 0}, part=part)
    with pytest.raises(ValueError, match="part: expected"):
        tasks.stream_batches(np.arange(50), 6, 2, part=part)


class Device:
    """What a mesh is made of, as far as counting goes."""

    def __init__(self, process_index):
        self.process_index = process_index


def test_a_mesh_that_leaves_a_process_idle_is_refused():
    devices = [Device(process) for process in range(4) for _ in range(2)]
    with pytest.raises(
        ValueError, match="give each of 4 processes as many devices, got 3 seeds and a batch of 2, for 2"
    ):
        train.make_mesh(3, 2, devices)


FAILING = """
import signal, sys, time
import jax
own, port, failing, how = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.distributed.initialize(f"127.0.0.1:{port}", 2, own, initialization_timeout=60)
import jax.numpy as jnp, numpy as np, optax
from recur import train

def loss(params, batch, key):
    return jnp.mean((batch @ params - 1) ** 2), {}

def batches():
    for number in range(10**6):
        if own == failing and number == 20:
            if how == "interrupt":
                signal.raise_signal(signal.SIGINT)
            raise OSError("the disk is gone")
        time.sleep(0.01)
        yield np.ones((4, 3), np.float32)

optimizer = optax.sgd(0.1)
state = train.init_state(jnp.ones(3), optimizer, jax.random.key(0))
mesh = train.make_mesh(1, 8, least_part=1)
train.fit_batches(state, loss, optimizer, batches(), steps=10**6, mesh=mesh)
"""


SLOW = [pytest.param(1, how, marks=pytest.mark.slow) for how in ("error", "interrupt")]


@pytest.mark.parametrize(("failing", "how"), [(0, "error"), *SLOW])
def test_all_processes_end_when_one_fails(failing, how):
    """Within a minute, starting included; JAX alone takes five."""
    port = process_runs.free_port()
    commands = [["-c", FAILING, str(own), str(port), str(failing), how] for own in range(2)]
    codes, _, errors = process_runs.finish(process_runs.begin(commands), 90)
    assert codes[failing] == (130 if how == "interrupt" else 1)
    assert codes[1 - failing] not in (0, None)
    assert ("KeyboardInterrupt" if how == "interrupt" else "the disk is gone") in errors[failing]
