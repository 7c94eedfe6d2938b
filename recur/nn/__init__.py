"""Flax NNX modules: they own parameters and axes, and hold no equations. Batch-major, ``x [*B, T, X]``."""

from recur.nn._attention import Attention
from recur.nn._beam import Beams
from recur.nn._beam import beam_search
from recur.nn._bidirectional import Bidirectional
from recur.nn._captioner import Captioner
from recur.nn._embed import Embedding
from recur.nn._encoder_decoder import DecoderState
from recur.nn._encoder_decoder import EncoderDecoder
from recur.nn._encoder_decoder import Memory
from recur.nn._frames import FrameClassifier
from recur.nn._frames import FrameEncoder
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
from recur.nn._recurrences import Recurrence
from recur.nn._recurrences import recurrences
from recur.nn._recurrent_dropout import RecurrentDropout
from recur.nn._recurrent_dropout import VariationalDropout
from recur.nn._recurrent_dropout import WeightDrop
from recur.nn._recurrent_dropout import Zoneout
from recur.nn._rnn import RNN
from recur.nn._stack import Stack
from recur.nn._tagger import SequenceTagger

__all__ = [
    "RNN",
    "Attention",
    "Beams",
    "Bidirectional",
    "Captioner",
    "DecoderState",
    "Embedding",
    "EncoderDecoder",
    "FrameClassifier",
    "FrameEncoder",
    "Generated",
    "LanguageModel",
    "Memory",
    "Recurrence",
    "RecurrentDropout",
    "SequenceClassifier",
    "SequenceRegressor",
    "SequenceTagger",
    "Stack",
    "VariationalDropout",
    "WeightDrop",
    "Zoneout",
    "accuracy",
    "beam_search",
    "cross_entropy",
    "greedy",
    "readout_cross_entropy",
    "recurrences",
    "sample",
    "stream",
]
