"""`recur diagnose` from the shell: a model file and inputs to a table and a page."""

from collections.abc import Sequence

import jax.numpy as jnp
from absl import flags

from recur import cells, interop, tasks
from recur.study._command import guarded
from recur.study._diagnosis import diagnose

USAGE = """usage: recur diagnose MODEL --inputs=FILE.npz [--out=DIR] [flags]

Measures how far gradients reach back in every recurrent layer of a model file: .pt, .pth, .bin, .safetensors, .npz,
.keras, .h5, or an Orbax folder. No code of the file is run.

FILE.npz (numpy.savez) holds x [B, T, X], float, and, with --lengths=NAME, the steps that count in each sequence under
that name. Every layer that reads X features is measured on x; the others are named.
Ends with exit code 2 and one line when something cannot be read.
"""


def diagnose_main(argv: Sequence[str], *, program: str = "recur diagnose") -> int:
    """Runs `recur diagnose` with the arguments that follow its name.

    Returns:
        0, or 2 for a wrong argument or file, told in one line on standard error.
    """
    values = flags.FlagValues()
    flags.DEFINE_string("inputs", None, "NumPy archive that holds x [B, T, X].", flag_values=values)
    flags.DEFINE_string("lengths", None, "Name of the lengths [B] in that archive.", flag_values=values)
    flags.DEFINE_list("layers", None, "Layers to measure; by default all that x fits.", flag_values=values)
    flags.DEFINE_float("chrono", None, "Compare with chrono biases up to so many steps.", flag_values=values)
    flags.DEFINE_float("forget_bias", None, "Compare with this bias of the gate that keeps.", flag_values=values)
    flags.DEFINE_string("out", None, "Folder of the page; none by default.", flag_values=values)
    return guarded(program, USAGE, values, argv, _diagnose)


def _diagnose(values: flags.FlagValues, names: Sequence[str]) -> int:
    if len(names) != 1:
        raise ValueError(f"MODEL: expected one model file, got {list(names)}")
    if values.inputs is None:
        raise ValueError("inputs: expected a NumPy archive that holds x [B, T, X], got none; give --inputs=FILE.npz")
    try:
        found = interop.find_recurrent(names[0])
    except ImportError as error:
        raise ValueError(f"MODEL: {error}") from None
    told = ", ".join(f"{name} (reads {layer.input_size} features)" for name, layer in found.items())
    chosen = list(found) if values.layers is None else values.layers
    if unknown := [name for name in chosen if name not in found]:
        raise ValueError(f"layers: expected names among {told}, got {unknown}")
    shapes = {"x": ("B", "T", "X")} | ({values.lengths: ("B",)} if values.lengths else {})
    arrays = tasks.read_arrays(values.inputs, shapes)
    x = jnp.asarray(arrays["x"])
    fitting = {name: found[name] for name in chosen if found[name].input_size == x.shape[-1]}
    if not fitting:
        raise ValueError(f"inputs: expected the features that a layer reads, got {x.shape[-1]}; the model has {told}")
    lengths = jnp.asarray(arrays[values.lengths], jnp.int32) if values.lengths else None
    changes = {}
    if values.chrono is not None:
        changes[f"chrono {values.chrono:g}"] = cells.Chrono(values.chrono)
    if values.forget_bias is not None:
        changes[f"forget bias {values.forget_bias:g}"] = values.forget_bias
    result = diagnose(fitting, x, lengths=lengths, compare=changes or None)
    print(result)
    for name in chosen:
        if name not in fitting:
            print(f"not measured: {name}, which reads {found[name].input_size} features, not {x.shape[-1]}")
    if values.out is not None:
        print(f"page: {result.page(values.out)}")
    return 0
