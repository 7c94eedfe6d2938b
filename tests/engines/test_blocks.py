"""A recurrence split over devices by blocks of time, in a process that has four, against one device."""

import json
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest
from jax.sharding import Mesh

from recur.engines import Blocks

SCRIPT = pathlib.Path(__file__).with_name("on_blocks.py")


def test_blocks_on_four_devices_are_exact_and_send_states_only():
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=4"
    path = f"{SCRIPT.parents[2]}{os.pathsep}{SCRIPT.parents[1]}"
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-W", "error", SCRIPT], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found) == 16
    assert {name: value for name, value in found.items() if not value <= 1e-5} == {}


def test_a_mesh_with_other_axes_is_refused():
    with pytest.raises(ValueError, match=r"mesh: expected one axis, \('time',\), got \('a',\)"):
        Blocks(Mesh(np.array(jax.devices()[:1]), ("a",)))
