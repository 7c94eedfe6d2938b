"""Tasks against their definitions: 100,000 draws, closed forms, and readers against broken files."""

import io
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recur import tasks

DRAWS = 100_000


@pytest.fixture(scope="module")
def draws():
    x, y = tasks.multiplication(jax.random.key(3), DRAWS, 7)
    return np.asarray(x, np.float64), np.asarray(y, np.float64)


def test_multiplication_is_the_product_of_the_two_marked_values(draws):
    x, y = draws
    values, marks = x[..., 0], x[..., 1]
    assert x.shape == (DRAWS, 7, 2)
    assert y.shape == (DRAWS, 1)
    assert set(np.unique(marks)) == {0.0, 1.0}
    np.testing.assert_array_equal(marks.sum(axis=1), 2)
    np.testing.assert_allclose(np.where(marks == 1, values, 1).prod(axis=1), y[:, 0], rtol=1e-6)


def test_multiplication_values_are_uniform(draws):
    values = np.sort(draws[0][..., 0].ravel())
    assert values[0] >= 0
    assert values[-1] < 1
    # Kolmogorov-Smirnov: P(distance > 1.95 / sqrt(n)) is about 0.001.
    distance = np.abs(values - (np.arange(values.size) + 0.5) / values.size).max()
    assert distance < 1.95 / np.sqrt(values.size)


def test_multiplication_marks_every_pair_equally_often(draws):
    pairs = np.argsort(-draws[0][..., 1], axis=1, kind="stable")[:, :2]
    counts = np.unique(pairs[:, 0] * 7 + pairs[:, 1], return_counts=True)[1]
    assert counts.size == 21
    expected = DRAWS / 21
    # Chi square with 20 degrees of freedom: 45.3 is exceeded once in a thousand.
    assert ((counts - expected) ** 2 / expected).sum() < 45.3


def test_multiplication_floor_is_the_error_of_the_best_constant(draws):
    errors = (draws[1] - 0.25) ** 2
    assert tasks.multiplication_floor() == pytest.approx(7 / 144, rel=1e-12)
    assert abs(errors.mean() - 7 / 144) < 4 * errors.std() / np.sqrt(DRAWS)
    assert abs(draws[1].mean() - 0.25) < 4 * draws[1].std() / np.sqrt(DRAWS)


def test_multiplication_follows_its_key():
    keys = jax.random.split(jax.random.key(0), 3)
    together = jax.jit(jax.vmap(lambda key: tasks.multiplication(key, 4, 5)))(keys)
    for index, key in enumerate(keys):
        for one, all_ in zip(tasks.multiplication(key, 4, 5), together, strict=True):
            np.testing.assert_array_equal(one, all_[index])
    assert not np.array_equal(together[0][0], together[0][1])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0, 4, 5), TypeError, "key: expected a PRNG key"),
        (("key", 0, 5), ValueError, "count: expected a whole number >= 1, got 0"),
        (("key", 4, 1), ValueError, "length: expected at least 2 steps"),
        (("key", 4, 2.5), TypeError, "length: expected a whole number"),
    ],
)
def test_multiplication_names_a_wrong_argument(key, arguments, error, message):
    arguments = [key if argument == "key" else argument for argument in arguments]
    with pytest.raises(error, match=message):
        tasks.multiplication(*arguments)


def test_ramp_is_a_straight_line():
    x, y = tasks.ramp(5, 3, start=-0.1, step=0.25)
    line = -0.1 + 0.25 * np.arange(8)
    np.testing.assert_allclose(x[..., 0], [line[n : n + 3] for n in range(5)], atol=1e-7)
    np.testing.assert_allclose(y[:, 0], line[3:], atol=1e-7)


def test_ramp_of_the_tutorial():
    x, y = tasks.ramp(6)
    np.testing.assert_allclose(x[0, :, 0], [0.0, 0.1, 0.2, 0.3], atol=1e-7)
    np.testing.assert_allclose(y[:, 0], [0.4, 0.5, 0.6, 0.7, 0.8, 0.9], atol=1e-7)


@pytest.mark.parametrize("count", [1, 2, 6, 50])
def test_ramp_floor_is_the_variance_of_its_targets(count):
    targets = np.asarray(tasks.ramp(count, step=0.3)[1], np.float64)
    assert tasks.ramp_floor(count, step=0.3) == pytest.approx(targets.var(), rel=1e-5, abs=1e-12)


@pytest.mark.parametrize(("arguments", "name"), [((0,), "count"), ((3, 0), "length")])
def test_ramp_names_a_wrong_argument(arguments, name):
    with pytest.raises(ValueError, match=f"{name}: expected a whole number >= 1, got 0"):
        tasks.ramp(*arguments)


SHAPES = {"x": ("N", "T", 2), "y": ("N", 1)}


def test_read_arrays_returns_what_was_saved(tmp_path):
    x, y = np.arange(12).reshape(2, 3, 2), np.array([[0.5], [1.5]])
    np.savez_compressed(tmp_path / "a.npz", x=x, y=y, more=np.zeros(3))
    arrays = tasks.read_arrays(tmp_path / "a.npz", SHAPES)
    assert set(arrays) == {"x", "y"}
    np.testing.assert_array_equal(arrays["x"], x.astype(np.float32))
    np.testing.assert_array_equal(arrays["y"], y.astype(np.float32))
    assert arrays["x"].dtype == np.float32


GOOD_X, GOOD_Y = np.zeros((2, 3, 2)), np.zeros((2, 1))
NAN = GOOD_X.copy()
NAN[1, 2, 0] = np.nan


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": GOOD_X}, "no array 'y', only"),
        ({"x": GOOD_X[0], "y": GOOD_Y}, r"array 'x': expected shape \[N, T, 2\], no axis empty, got \[3, 2\]"),
        ({"x": GOOD_X, "y": np.zeros((3, 1))}, r"array 'y': expected shape \[N=2, 1\], no axis empty, got \[3, 1\]"),
        ({"x": GOOD_X[:0], "y": GOOD_Y[:0]}, r"got \[0, 3, 2\]"),
        ({"x": NAN, "y": GOOD_Y}, r"array 'x': expected finite numbers, got nan at index \(1, 2, 0\)"),
        ({"x": GOOD_X, "y": np.array([["a"], ["b"]])}, "array 'y': expected real numbers, got dtype <U1"),
        ({"x": GOOD_X, "y": np.array([[None], [1]])}, "Object arrays cannot be loaded"),
        (
            {"x": GOOD_X + 1e39, "y": GOOD_Y},
            "expected numbers that float32 holds, got 1e[+]39",
        ),
        ({"x": GOOD_X, "y": GOOD_Y - 1e300}, "array 'y': expected numbers that float32 holds, got -1e[+]300"),
        ({"x": GOOD_X, "y": np.array([[3], [2**24 + 1]])}, r"float32 does not round, got 16777217 at index \(1, 0\)"),
        ({"x": GOOD_X, "y": np.array([[3], [2**62 + 1]], "u8")}, "float32 does not round, got 4611686018427387905"),
    ],
)
def test_read_arrays_names_what_is_wrong(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError, match=message) as error:
        tasks.read_arrays(tmp_path / "a.npz", SHAPES)
    assert str(tmp_path / "a.npz") in str(error.value)


def test_read_arrays_refuses_files_that_are_none(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        tasks.read_arrays(tmp_path / "none.npz", SHAPES)
    with pytest.raises(ValueError, match="is no file"):
        tasks.read_arrays(tmp_path, SHAPES)
    (tmp_path / "empty.npz").touch()
    with pytest.raises(ValueError, match="the file is empty"):
        tasks.read_arrays(tmp_path / "empty.npz", SHAPES)
    (tmp_path / "text.npz").write_text("x,y\n1,2\n")
    with pytest.raises(ValueError, match="no NumPy archive"):
        tasks.read_arrays(tmp_path / "text.npz", SHAPES)


def test_read_arrays_refuses_members_that_are_no_arrays_or_larger_than_memory(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**13, 3, 2)})
    for data, message in (
        (b"no array", "expected an array, got a member"),
        (header.getvalue(), "array 'x'"),
    ):
        np.savez(tmp_path / "a.npz", y=GOOD_Y)
        with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive:
            archive.writestr("x.npy", data)
        with pytest.raises(ValueError, match=f"a.npz: .*{message}"):
            tasks.read_arrays(tmp_path / "a.npz", SHAPES)


@pytest.mark.parametrize("seed", range(20))
def test_read_arrays_survives_damage(tmp_path, seed):
    """A file with flipped bytes is refused by a ValueError, or its damage is where no number stands."""
    rng = np.random.default_rng(seed)
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=rng.random((20, 3, 2)), y=rng.random((20, 1)))
    whole = tasks.read_arrays(path, SHAPES)
    data = bytearray(path.read_bytes())
    for position in rng.integers(0, len(data), 1 + seed % 4):
        data[position] ^= 1 << int(rng.integers(8))
    path.write_bytes(data if seed % 5 else data[: len(data) // 2])
    refused, damaged = None, whole
    try:
        damaged = tasks.read_arrays(path, SHAPES)
    except ValueError as error:
        refused = str(error)
    assert refused is None or str(path) in refused
    for name in SHAPES:
        np.testing.assert_array_equal(damaged[name], whole[name])


def test_tasks_draw_on_the_device():
    assert all(isinstance(leaf, jax.Array) for leaf in tasks.ramp(2))
    x, _ = jax.jit(lambda key: tasks.multiplication(key, 3, 4, dtype=jnp.bfloat16))(jax.random.key(0))
    assert x.dtype == jnp.bfloat16
