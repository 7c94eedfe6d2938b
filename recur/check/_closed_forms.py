"""The closed forms that `recur.flow` is measured against, in the default dtype of the device."""

import functools
from collections.abc import Collection, Iterator

from recur.check import _linear_forms, _nonlinear_forms, _rest_forms
from recur.check._scorecard import Check


def checks(names: Collection[str], seed: int) -> Iterator[Check]:
    """Yields the closed forms of the cells named."""
    for title, cell, measure in FORMS:
        if cell in names:
            yield Check(title, cell, None, functools.partial(measure, seed))


FORMS = (
    ("O1 scaled orthogonal", "elman_identity", _linear_forms.scaled_orthogonal),
    ("O1b scaled identity", "elman_identity", _linear_forms.scaled_identity),
    ("O2 diagonal", "elman_identity", _linear_forms.diagonal),
    ("O3 scalar", "elman_identity", _linear_forms.scalar),
    ("O4 constant gates", "lstm", _nonlinear_forms.constant_gates),
    ("O5 tanh at rest", "elman", _nonlinear_forms.elman_at_rest),
    ("O6 reset after the product, at rest", "gru", _rest_forms.gru_at_rest),
    (
        "O6 reset before the product, at rest",
        "gru_reset_before",
        functools.partial(_rest_forms.gru_at_rest, reset_after=False),
    ),
    ("O7 carousel at rest", "lstm", _rest_forms.lstm_at_rest),
    ("O8 bound of a step", "elman", _nonlinear_forms.step_bound),
    ("O9 counter-example", "elman_identity", _linear_forms.nilpotent),
    ("O13 sum rule", "elman", _nonlinear_forms.sum_rule),
    ("O14 Euler step at rest", "antisymmetric", _rest_forms.antisymmetric_at_rest),
    ("O15 rectified identity", "elman_relu", _nonlinear_forms.rectified_identity),
    ("O17 chrono", "lstm", _nonlinear_forms.chrono),
    ("O20 orthogonal matrix", "orthogonal", _rest_forms.orthogonal_matrices),
)
"""Number and name of a closed form, the cell it is of, and its measurement."""
