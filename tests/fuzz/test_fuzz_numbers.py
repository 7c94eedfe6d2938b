"""Junk and odd numbers in all that takes numbers: factories of cells, engines, drawn tasks, optimisers, mean fields."""

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
from fuzz_cases import answer, cases
from fuzz_strategies import hostile, numbers, sizes, spoiled

from recur import cells, engines, flow, tasks, train

KEY = jax.random.key(0)
inits = st.one_of(
    st.sampled_from([*cells.INITIALIZERS, 0.5, cells.Orthogonal(2.0), cells.Chrono(9), {"h": "zeros"}, {"f": 1.0}]),
    hostile,
)
dtypes = st.sampled_from([jnp.float32, jnp.bfloat16, "float32", "int32", "U3", "no dtype", bool, object, None, 3])
floats = st.floats(0, 2)


def row(call, own=None, **arguments):
    return call, arguments, own or {}


FACTORIES = {
    name: row(
        factory,
        {"hidden_size": sizes, "kernel_init": inits, "recurrent_init": inits, "bias_init": inits},
        hidden_size=3,
    )
    for name, factory in cells.CELLS.items()
    if name not in ("lru", "orthogonal", "antisymmetric", "min_gru")
}
FACTORIES |= {
    "min_gru": row(cells.min_gru, {"kernel_init": inits, "bias_init": inits}, hidden_size=3),
    "lru": row(
        cells.lru, dict.fromkeys(("r_min", "r_max", "max_phase"), floats) | {"state_size": sizes}, hidden_size=3
    ),
    "antisymmetric": row(
        cells.antisymmetric, dict.fromkeys(("step_size", "diffusion"), floats) | {"gated": st.booleans()}, hidden_size=3
    ),
    "orthogonal": row(
        cells.orthogonal,
        {
            "activation": hostile,
            "parametrization": hostile,
            "negative": sizes,
            "kernel_init": inits,
            "bias_init": inits,
        },
        hidden_size=3,
    ),
    "lstm": row(cells.lstm, {"forget_bias": numbers, "bias_init": inits}, hidden_size=3),
    "elman": row(cells.elman, {"activation": hostile}, hidden_size=3),
    "gru": row(cells.gru, {"reset_after": st.booleans()}, hidden_size=3),
    "Chrono": row(cells.Chrono, {}, max_steps=9),
    "output_size": row(cells.output_size, {}, cell=cells.lstm(3)),
    "parameter_shapes": row(cells.parameter_shapes, {"input_size": sizes}, cell=cells.lstm(3), input_size=2),
    "init": row(cells.lstm(3).init, {"input_size": sizes, "dtype": dtypes}, key=KEY, input_size=2),
    "init of lru": row(cells.lru(3).init, {"input_size": sizes, "dtype": dtypes}, key=KEY, input_size=2),
    "init of orthogonal": row(cells.orthogonal(3).init, {"input_size": sizes, "dtype": dtypes}, key=KEY, input_size=2),
    "init of stacked": row(
        cells.stacked(cells.lstm(3), cells.gru(3)).init, {"input_size": sizes, "dtype": dtypes}, key=KEY, input_size=2
    ),
    "state": row(
        cells.lstm(3).initial_state,
        {"batch_shape": st.lists(sizes, max_size=2).map(tuple), "dtype": dtypes},
        batch_shape=(),
    ),
    "pointwise": row(
        lambda **given: cells.pointwise(**given)(lambda gate, state: {"h": gate.g})(3),
        {
            "state": st.sampled_from([("h",), ("c", "h"), ("h", "h"), "h", ("class",), ()]),
            "split": st.sampled_from([("g",), ("x",), "g"]),
            "keep": hostile,
            "write": hostile,
            "recurrence": hostile,
            "cudnn_name": hostile,
            "name": hostile,
            "weights": st.sampled_from([{"w": cells.Constant(1.0)}, {"w": 3}, {"1w": len}]),
        },
        state=("h",),
        gates={"g": jnp.tanh},
    ),
    "stacked": row(
        lambda first, second, residual: cells.stacked(first, second, residual=residual),
        {"residual": st.booleans()},
        first=cells.lstm(3),
        second=cells.gru(4),
        residual=False,
    ),
}
ENGINES = {
    "Scan": row(engines.Scan, {"unroll": sizes, "remat": sizes, "truncate": sizes, "chunk": sizes}),
    "Fused": row(engines.Fused, {"chunk": sizes}),
    "Newton": row(engines.Newton, {"max_iters": sizes, "tol": numbers, "jacobian": hostile, "damping": numbers}),
}
counts = dict.fromkeys(("count", "length", "lag", "delay", "gap", "items", "symbols", "relevant"), sizes)


def drawn(call, names, **arguments):
    own = {name: counts[name] for name in names.split()} | {"dtype": dtypes}
    return row(call, own, key=KEY, count=2, **arguments)


DRAWN = {
    "adding": drawn(tasks.adding, "count length", length=8, marks="any"),
    "copy_memory": drawn(tasks.copy_memory, "count delay items symbols", delay=3, items=2, symbols=2),
    "selective_copy": drawn(tasks.selective_copy, "count length items symbols", length=8, items=2, symbols=2),
    "delayed_recall": drawn(tasks.delayed_recall, "count length lag", length=8, lag=2),
    "multiplication": drawn(tasks.multiplication, "count length", length=8),
    "parity": drawn(tasks.parity, "count length", length=8),
    "sine_with_gap": drawn(tasks.sine_with_gap, "count length gap", length=60, gap=3),
    "temporal_order": drawn(tasks.temporal_order, "count length relevant", length=30, relevant=2),
    "seasonal_series": row(
        tasks.seasonal_series,
        {"count": sizes, "period_steps": sizes, "correlation": numbers, "noise": numbers},
        key=KEY,
        count=5,
    ),
    "number_words": row(tasks.number_words, {"number": numbers, "language": hostile}, number=3, language="ko"),
    "number_pairs": row(tasks.number_pairs, {"numbers": st.lists(numbers, max_size=3)}, numbers=[1, 20], language="de"),
    "adding_floor": row(tasks.adding_floor, marks="any"),
    "copy_memory_floor": row(tasks.copy_memory_floor, {k: counts[k] for k in ("delay", "items", "symbols")}, delay=3),
    "selective_copy_floor": row(tasks.selective_copy_floor, {"symbols": sizes}),
    "ramp": row(
        tasks.ramp, {"count": sizes, "length": sizes, "start": numbers, "step": numbers, "dtype": dtypes}, count=4
    ),
    "ramp_floor": row(tasks.ramp_floor, {"count": sizes, "step": numbers}, count=4),
    "temporal_order_floor": row(tasks.temporal_order_floor, {"relevant": sizes}),
    "seasonal_series_floor": row(tasks.seasonal_series_floor, {"noise": numbers}),
}
TRAINING = {
    "make_optimizer": row(
        train.make_optimizer,
        {
            "name": st.sampled_from(train.OPTIMIZERS),
            "learning_rate": numbers,
            "momentum": numbers,
            "weight_decay": numbers,
        },
        name="sgd",
        learning_rate=0.1,
    ),
    "make_schedule": row(
        train.make_schedule,
        {
            "name": st.sampled_from(train.SCHEDULES),
            "learning_rate": numbers,
            "steps": numbers,
            "warmup_steps": numbers,
            "decay_to": numbers,
        },
        name="cosine",
        learning_rate=0.1,
        steps=5,
    ),
    "make_mesh": row(train.make_mesh, {"seeds": sizes, "batch_size": sizes, "least_part": sizes}, seeds=2),
    "Hooks": row(train.Hooks, {"checkpoint_every_s": numbers, "probe_every": sizes}, probe=len, probe_every=2),
    "make_step": row(
        train.make_step,
        {"clip_norm": numbers, "ema_decay": numbers},
        loss=len,
        optimizer=train.make_optimizer("adam", 0.1),
    ),
    "make_epoch": row(
        train.make_epoch,
        {"clip_norm": numbers, "batch_size": sizes},
        loss=len,
        optimizer=train.make_optimizer("adam", 0.1),
        batch_size=2,
    ),
}
FLOW = {
    "mean_field_tanh": row(flow.mean_field_tanh, {"gain": numbers}, gain=1.5),
    "memory_depth_steps": row(flow.memory_depth_steps, {"gain": numbers}, gain=0.9),
    "newman_exponents": row(flow.newman_exponents, {"n": sizes, "scale": numbers}, n=4),
}


def names_of(arguments):
    return {*arguments, "cells", "gates", "batches", "initialiser", "declaration"}


@cases(63, call=spoiled(FACTORIES))
def test_cells(call):
    name, function, arguments = call
    answer(names_of(arguments), function, **arguments)


@cases(17, call=spoiled(ENGINES))
def test_engines(call):
    _, function, arguments = call
    answer(arguments, function, **arguments)


@cases(63, call=spoiled(DRAWN))
def test_drawn_tasks(call):
    name, function, arguments = call
    answer(arguments, function, **arguments)


@cases(34, call=spoiled(TRAINING))
def test_training(call):
    _, function, arguments = call
    answer({*arguments, "optimizer", "schedule"}, function, **arguments)


@cases(25, call=spoiled(FLOW))
def test_flow_numbers(call):
    _, function, arguments = call
    answer(arguments, function, **arguments)
