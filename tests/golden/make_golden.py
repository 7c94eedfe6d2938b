"""Makes torch.json and keras.json beside this file: what torch and Keras compute, for machines that have neither.

    KERAS_BACKEND=jax python -m tests.golden.make_golden

Weights and inputs are random with two decimals, biases not zero, in float32. The gradient ``d_x`` is that of
``sum(d_outputs * outputs) + sum of all states``. Outputs at masked steps are those of the library, and not asked for.
"""

import importlib.metadata
import json
import platform
from pathlib import Path

import jax
import numpy as np

B, T, X, H = 2, 5, 2, 3
LENGTHS = [3, 5]
MASK = [[1, 1, 1, 0, 0], [0, 1, 0, 1, 1]]

TORCH_CASES = {
    # name: (class, options, lengths)
    "rnn_tanh": ("RNN", {"nonlinearity": "tanh"}, None),
    "rnn_relu": ("RNN", {"nonlinearity": "relu"}, None),
    "lstm": ("LSTM", {}, None),
    "gru": ("GRU", {}, None),
    "lstm_deep_bidirectional": ("LSTM", {"num_layers": 2, "bidirectional": True}, LENGTHS),
    "gru_deep_bidirectional": ("GRU", {"num_layers": 2, "bidirectional": True}, LENGTHS),
}
KERAS_CASES = {
    # name: (class, options, merge mode of Bidirectional, mask)
    "elman": ("SimpleRNN", {}, None, None),
    "elman_relu": ("SimpleRNN", {"activation": "relu"}, None, MASK),
    "lstm": ("LSTM", {}, None, MASK),
    "gru": ("GRU", {}, None, MASK),
    "gru_reset_before": ("GRU", {"reset_after": False}, None, MASK),
    "lstm_bidirectional": ("LSTM", {}, "concat", MASK),
    "gru_bidirectional": ("GRU", {}, "ave", None),
}


def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Draws numbers with two decimals, which stay short in a file."""
    return np.round(rng.normal(scale=0.7, size=shape), 2).astype(np.float32)


def numbers(array) -> list:
    """Returns nested lists of the shortest decimals that read back as the same float32."""
    array = np.asarray(array)
    return [numbers(row) for row in array] if array.ndim else float(f"{array:.9g}")


def torch_case(name: str, seed: int) -> dict:
    """Runs one layer of torch."""
    import torch

    cls, options, lengths = TORCH_CASES[name]
    rng = np.random.default_rng(seed)
    layer = getattr(torch.nn, cls)(X, H, batch_first=True, **options)
    weights = {key: draw(rng, tuple(weight.shape)) for key, weight in layer.state_dict().items()}
    layer.load_state_dict({key: torch.tensor(weight) for key, weight in weights.items()})
    x = torch.tensor(draw(rng, (B, T, X)), requires_grad=True)
    sequences = x
    if lengths is not None:
        pack = torch.nn.utils.rnn.pack_padded_sequence
        sequences = pack(x, torch.tensor(lengths), batch_first=True, enforce_sorted=False)
    outputs, states = layer(sequences)
    if lengths is not None:
        outputs, _ = torch.nn.utils.rnn.pad_packed_sequence(outputs, batch_first=True, total_length=T)
    states = states if isinstance(states, tuple) else (states,)
    states = [leaf for group in zip(*states, strict=True) for leaf in group]  # layer by layer, h before c
    d_outputs = draw(rng, tuple(outputs.shape))
    ((outputs * torch.tensor(d_outputs)).sum() + sum(state.sum() for state in states)).backward()
    return {
        "nonlinearity": options.get("nonlinearity"),
        "lengths": lengths,
        "weights": {key: numbers(weight) for key, weight in weights.items()},
        "x": numbers(x.detach()),
        "d_outputs": numbers(d_outputs),
        "outputs": numbers(outputs.detach()),
        "states": [numbers(state.detach()) for state in states],
        "d_x": numbers(x.grad),
    }


def keras_case(name: str, seed: int) -> dict:
    """Runs one layer of Keras, on its JAX backend."""
    import keras

    cls, options, merge_mode, mask = KERAS_CASES[name]
    rng = np.random.default_rng(seed)
    layer = getattr(keras.layers, cls)(H, return_sequences=True, return_state=True, **options)
    if merge_mode is not None:
        layer = keras.layers.Bidirectional(layer, merge_mode=merge_mode)
    layer.build((None, None, X))
    parts = [layer] if merge_mode is None else [layer.forward_layer, layer.backward_layer]
    weights = [[draw(rng, weight.shape) for weight in part.weights] for part in parts]
    for part, arrays in zip(parts, weights, strict=True):
        part.set_weights(arrays)
    x = draw(rng, (B, T, X))
    call = {} if mask is None else {"mask": np.array(mask, bool)}

    def results(x):
        outputs, *states = layer(x, **call)
        return outputs, states

    (outputs, states), pull_back = jax.vjp(results, x)
    d_outputs = draw(rng, outputs.shape)
    if mask is not None:  # Keras repeats an earlier output at a masked step
        d_outputs = d_outputs * np.array(mask, np.float32)[..., None]
    (d_x,) = pull_back((d_outputs, [np.ones_like(state) for state in states]))
    return {
        "merge_mode": merge_mode,
        "mask": mask,
        "weights": [[numbers(array) for array in arrays] for arrays in weights],
        "x": numbers(x),
        "d_outputs": numbers(d_outputs),
        "outputs": numbers(outputs),
        "states": [numbers(state) for state in states],
        "d_x": numbers(d_x),
    }


def main() -> None:
    """Writes both files."""
    folder = Path(__file__).parent
    for library, cases, run in (("torch", TORCH_CASES, torch_case), ("keras", KERAS_CASES, keras_case)):
        versions = {name: importlib.metadata.version(name) for name in {library, "jax", "numpy"}}
        document = {
            "made_by": "python -m tests.golden.make_golden",
            "versions": {"python": platform.python_version(), **dict(sorted(versions.items()))},
            "dtype": "float32",
            "cases": {name: run(name, seed) for seed, name in enumerate(cases)},
        }
        file = folder / f"{library}.json"
        file.write_text(json.dumps(document, separators=(",", ":")) + "\n")
        print(f"{file.name}: {len(cases)} layers, {file.stat().st_size} bytes")


if __name__ == "__main__":
    main()
