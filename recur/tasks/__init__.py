"""Data: tasks drawn from a key on the device, and readers of files. Knows no model."""

from recur.tasks._adding import adding
from recur.tasks._adding import adding_floor
from recur.tasks._arrays import read_arrays
from recur.tasks._baselines import bigram_perplexity
from recur.tasks._baselines import majority_accuracy
from recur.tasks._baselines import majority_tag_accuracy
from recur.tasks._baselines import naive_forecast
from recur.tasks._baselines import unigram_perplexity
from recur.tasks._batches import Batches
from recur.tasks._conllu import UPOS
from recur.tasks._conllu import Sentence
from recur.tasks._conllu import read_conllu
from recur.tasks._copying import copy_memory
from recur.tasks._copying import copy_memory_floor
from recur.tasks._copying import selective_copy
from recur.tasks._copying import selective_copy_floor
from recur.tasks._digits import DIGIT_NAMES
from recur.tasks._digits import Digits
from recur.tasks._digits import Videos
from recur.tasks._digits import digit_videos
from recur.tasks._digits import load_digits
from recur.tasks._digits import pixel_sequences
from recur.tasks._flip_flop import flip_flop
from recur.tasks._flip_flop import flip_flop_floor
from recur.tasks._labelled import Labelled
from recur.tasks._labelled import read_labelled
from recur.tasks._labels import Labels
from recur.tasks._lines import Lines
from recur.tasks._lines import read_lines
from recur.tasks._metrics import bleu
from recur.tasks._metrics import exact_match
from recur.tasks._metrics import perplexity
from recur.tasks._metrics import token_accuracy
from recur.tasks._multiplication import multiplication
from recur.tasks._multiplication import multiplication_floor
from recur.tasks._numbers import number_pairs
from recur.tasks._numbers import number_words
from recur.tasks._padded import batches
from recur.tasks._pairs import Pairs
from recur.tasks._pairs import read_pairs
from recur.tasks._parity import parity
from recur.tasks._parity import parity_floor
from recur.tasks._ramp import ramp
from recur.tasks._ramp import ramp_floor
from recur.tasks._recall import delayed_recall
from recur.tasks._recall import delayed_recall_floor
from recur.tasks._sample_sentiment import sample_sentiment
from recur.tasks._sample_tagging import sample_tagging
from recur.tasks._sample_translation import sample_paragraph
from recur.tasks._sample_translation import sample_translation
from recur.tasks._seasonal import seasonal_series
from recur.tasks._seasonal import seasonal_series_floor
from recur.tasks._seasonal import sliding_windows
from recur.tasks._series import Table
from recur.tasks._series import read_series
from recur.tasks._series import read_table
from recur.tasks._sine import sine_with_gap
from recur.tasks._sine import sine_with_gap_floor
from recur.tasks._split import hold_out
from recur.tasks._streams import encode_file
from recur.tasks._streams import stream_batches
from recur.tasks._temporal_order import temporal_order
from recur.tasks._temporal_order import temporal_order_floor
from recur.tasks._text import Characters
from recur.tasks._text import characters
from recur.tasks._text import read_text
from recur.tasks._text import standard_library_source
from recur.tasks._text import text_chunks
from recur.tasks._tokenizers import Tokenizer
from recur.tasks._units import join_text
from recur.tasks._units import split_text
from recur.tasks._vocabulary import Encoded
from recur.tasks._vocabulary import Unknown
from recur.tasks._vocabulary import Vocabulary

__all__ = [
    "DIGIT_NAMES",
    "UPOS",
    "Batches",
    "Characters",
    "Digits",
    "Encoded",
    "Labelled",
    "Labels",
    "Lines",
    "Pairs",
    "Sentence",
    "Table",
    "Tokenizer",
    "Unknown",
    "Videos",
    "Vocabulary",
    "adding",
    "adding_floor",
    "batches",
    "bigram_perplexity",
    "bleu",
    "characters",
    "copy_memory",
    "copy_memory_floor",
    "delayed_recall",
    "delayed_recall_floor",
    "digit_videos",
    "encode_file",
    "exact_match",
    "flip_flop",
    "flip_flop_floor",
    "hold_out",
    "join_text",
    "load_digits",
    "majority_accuracy",
    "majority_tag_accuracy",
    "multiplication",
    "multiplication_floor",
    "naive_forecast",
    "number_pairs",
    "number_words",
    "parity",
    "parity_floor",
    "perplexity",
    "pixel_sequences",
    "ramp",
    "ramp_floor",
    "read_arrays",
    "read_conllu",
    "read_labelled",
    "read_lines",
    "read_pairs",
    "read_series",
    "read_table",
    "read_text",
    "sample_paragraph",
    "sample_sentiment",
    "sample_tagging",
    "sample_translation",
    "seasonal_series",
    "seasonal_series_floor",
    "selective_copy",
    "selective_copy_floor",
    "sine_with_gap",
    "sine_with_gap_floor",
    "sliding_windows",
    "split_text",
    "standard_library_source",
    "stream_batches",
    "temporal_order",
    "temporal_order_floor",
    "text_chunks",
    "token_accuracy",
    "unigram_perplexity",
]
