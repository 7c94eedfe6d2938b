"""Makes checkpoint_4.zip beside this file: a checkpoint of the layout that is written today.

    python -m tests.golden.make_checkpoint

A layout that is no longer written stays as its last version wrote it (of recur 0.1.0: checkpoint_1.zip before there
were manifests, checkpoint_2.zip with the history as JSON, checkpoint_3.zip with names that are not escaped), so that
what users stored goes on being read. All hold the same run.
"""

import shutil
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from recur import train
from recur.train import _layout

STEP = 7
CONFIG = {"cell": "gru", "hidden_size": 2}
RECORD = train.Record(5, 1.5, {"val_loss": np.array([0.25, np.inf]), "train_loss": np.array([0.5, 1 / 3])})
PROGRESS = train.Progress(2.5, [RECORD], {"loss": np.array([0.125, 0.75])}, {"next_index": 3})


def state() -> train.TrainState:
    """Returns what is in it: two seeds, a moving average, a carry, and moments that are not zero."""

    def one(seed: jax.Array) -> train.TrainState:
        params = {"kernel": seed + jnp.arange(6.0).reshape(2, 3), "half": jnp.full(2, 0.5, jnp.bfloat16)}
        start = train.init_state(params, optax.adam(1e-3), jax.random.key(seed), ema=True, carry=jnp.ones((1, 2)))
        moments = jax.tree.map(lambda leaf: leaf + jnp.ones((), leaf.dtype), start.opt_state)
        return start._replace(opt_state=moments, step=jnp.array(STEP, jnp.int32))

    return jax.vmap(one)(jnp.arange(2))


def path_of(layout: int) -> Path:
    """Returns the file with a checkpoint of a layout."""
    return Path(__file__).parent / f"checkpoint_{layout}.zip"


def main() -> None:
    """Writes the file."""
    path = path_of(_layout.LAYOUT)
    with tempfile.TemporaryDirectory() as folder:
        with train.Checkpoints(folder, config=CONFIG) as checkpoints:
            checkpoints.save(STEP, state(), PROGRESS, score=0.25)
        shutil.make_archive(str(path.with_suffix("")), "zip", folder, str(STEP))
    print(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
