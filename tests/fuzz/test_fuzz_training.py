"""Training told wrong things: states, data, batches; weights of other libraries; stored records of a run."""

import functools

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from fuzz_cases import answer, cases
from fuzz_strategies import arrays, hostile, numbers, sizes, spoiled

from recur import cells, interop, nn, train

OPTIMIZER = train.make_optimizer("sgd", 0.1)
PARAMS = {"w": jnp.ones(2)}
KEY = jax.random.key(0)
STATE = train.init_state(PARAMS, OPTIMIZER, KEY)
DATA = {"x": np.ones((4, 2), np.float32)}


def loss(params, batch, key):
    """The same for all data, whatever they are."""
    return jnp.sum(params["w"] ** 2), {}


def row(call, own=None, **arguments):
    return call, arguments, own or {}


data = st.one_of(
    st.dictionaries(st.just("x"), arrays(), min_size=1),
    st.sampled_from([DATA, {}, {"x": np.ones((0, 2))}, {"x": np.ones((3, 2)), "y": np.ones(2)}, [], {"x": "abc"}]),
)
TRAIN = {
    "init_state": row(
        train.init_state,
        {"params": st.sampled_from([PARAMS, {}, {"w": 3}, {"w": jnp.ones(2, int)}, [None]]), "ema": st.booleans()},
        params=PARAMS,
        optimizer=OPTIMIZER,
        key=KEY,
    ),
    "fit": row(
        train.fit,
        {
            "data": data,
            "batch_size": sizes,
            "steps": st.just(0),
            "data_axis": sizes,
            "eval_every": sizes,
            "patience": sizes,
        }
        | {"clip_norm": numbers, "ema_decay": numbers, "seeds_at_once": sizes, "monitor": hostile, "epochs": sizes},
        state=STATE,
        loss=loss,
        optimizer=OPTIMIZER,
        data=DATA,
        steps=1,
        batch_size=2,
    ),
    "evaluate": row(
        functools.partial(train.evaluate, params=PARAMS),
        {"data": data, "batch_size": sizes, "loss": st.just("loss")},
        loss=loss,
        data=DATA,
        batch_size=2,
    ),
}
NETWORK = nn.RNN(cells.lstm(3), 2, rngs=nnx.Rngs(0))
TORCH = {
    "weight_ih_l0": np.ones((12, 2), np.float32),
    "weight_hh_l0": np.ones((12, 3), np.float32),
    "bias_ih_l0": np.ones(12, np.float32),
    "bias_hh_l0": np.ones(12, np.float32),
}
names = st.sampled_from(
    [*TORCH, "weight_ih_l1", "weight_hh_l0_reverse", "weight_hr_l0", "other", "weight_ih", "weight_ih_l99999"]
)
INTEROP = {
    "from_torch": row(
        interop.from_torch,
        {
            "source": st.dictionaries(names, st.one_of(arrays(), st.sampled_from([*TORCH.values()])), max_size=2).map(
                lambda wrong: TORCH | wrong
            ),
            "nonlinearity": hostile,
            "dropout": numbers,
            "prefix": hostile,
        },
        source=TORCH,
    ),
    "from_keras": row(interop.from_keras, {}, layer=NETWORK),
    "from_flax": row(interop.from_flax, {"params": st.dictionaries(hostile, arrays(), max_size=2)}, module=NETWORK),
    "to_flax": row(interop.to_flax, {"api": hostile}, module=NETWORK),
}


@cases(17, call=spoiled(TRAIN))
def test_training(call):
    _, function, arguments = call
    answer({*arguments, "batch_size", "monitor", "shuffle"}, function, **arguments)


@cases(17, call=spoiled(INTEROP))
def test_weights_of_other_libraries(call):
    _, function, arguments = call
    answer({*arguments, "source", "layers"}, function, **arguments)
