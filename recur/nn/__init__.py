"""Flax NNX modules: they own parameters and axes, and hold no equations. Batch-major, ``x [*B, T, X]``."""

from recur.nn._beam import Beams
from recur.nn._beam import beam_search
from recur.nn._bidirectional import Bidirectional
from recur.nn._embed import Embedding
from recur.nn._generate import Generated
from recur.nn._generate import greedy
from recur.nn._generate import sample
from recur.nn._generate import stream
from recur.nn._language_model import LanguageModel
from recur.nn._losses import accuracy
from recur.nn._losses import cross_entropy
from recur.nn._losses import readout_cross_entropy
from recur.nn._many_to_one import SequenceClassifier
from recur.nn._many_to_one import SequenceRegressor
from recur.nn._rnn import RNN
from recur.nn._stack import Stack

__all__ = [
    "RNN",
    "Beams",
    "Bidirectional",
    "Embedding",
    "Generated",
    "LanguageModel",
    "SequenceClassifier",
    "SequenceRegressor",
    "Stack",
    "accuracy",
    "beam_search",
    "cross_entropy",
    "greedy",
    "readout_cross_entropy",
    "sample",
    "stream",
]
