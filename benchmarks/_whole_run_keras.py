"""The multiplication experiment in Keras 3 on JAX, as one writes it there, for `benchmarks.whole_run` to time.

    python -m benchmarks._whole_run_keras SETTINGS.json RESULT.json

It imports nothing of recur, so that its process is what a user of Keras waits for.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any


def train(settings: dict[str, Any]) -> dict[str, float]:
    """Trains, validates after every epoch, tests, and returns losses and the seconds of training."""
    os.environ["KERAS_BACKEND"] = "jax"
    import keras
    import numpy as np

    keras.utils.set_random_seed(settings["seed"])
    with np.load(settings["data"], allow_pickle=False) as data:
        x, y = data["x"], data["y"]
    first, end = settings["training"], settings["training"] + settings["validation"]
    model = keras.Sequential([keras.layers.Input(x.shape[1:])])
    for layer in range(settings["layers"]):
        last = layer == settings["layers"] - 1
        model.add(keras.layers.LSTM(settings["hidden_size"], return_sequences=not last))
    model.add(keras.layers.Dense(1))
    optimizer = keras.optimizers.Adam(settings["learning_rate"], global_clipnorm=settings["clip_norm"] or None)
    model.compile(optimizer, loss="mse")
    started = time.perf_counter()
    history = model.fit(
        x[:first],
        y[:first],
        batch_size=settings["batch_size"],
        epochs=settings["epochs"],
        shuffle=True,
        validation_data=(x[first:end], y[first:end]),
        validation_batch_size=settings["validation"],
        verbose=0,
    ).history
    train_s = time.perf_counter() - started
    test_loss = model.evaluate(x[end:], y[end:], batch_size=len(x) - end, verbose=0)
    return {"train_s": train_s, "val_loss": history["val_loss"][-1], "test_loss": test_loss}


if __name__ == "__main__":
    found = train(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    Path(sys.argv[2]).write_text(json.dumps(found), encoding="utf-8")
