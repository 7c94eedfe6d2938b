"""What happens beside training: checkpoints, callbacks, a probe."""

import dataclasses
from collections.abc import Callable, Sequence

from recur._checks import check_number, check_positive
from recur._types import PyTree
from recur.train._checkpoints import Checkpoints
from recur.train._diagnosis import NonFinite
from recur.train._records import Probed, Record


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hooks:
    """What happens beside training. None of it changes a bit of the run.

    Args:
        checkpoints: Where the run is saved, and goes on from if it is there: `fit` then takes no more from its state
            than the form. The last step is always saved, and so is the one before a stop. Beside the newest that one
            is kept whose newest record has the best `monitor`, by the median over seeds. Where saving fails, the
            exception has what was reached as its attribute ``fit``, a `Fit`.
        checkpoint_every_s: Seconds between saves.
        on_record: Called with every `Record`, before a checkpoint that holds it is saved. A run that is killed and goes
            on makes the records after its last checkpoint again. So what has a method ``rewind(step)``, as `JsonLines`
            has, is called by it before the first step: it forgets what it was told of later steps.
        on_call: Called after every compiled call, of half a second or so, with the steps done and the mean loss of
            those since the last record.
        probe: Looks at the parameters of a seed on the way, ``probe(params) -> pytree of arrays``, compiled and mapped
            over seeds; lag curves and gate statistics, say. Give the same object again to reuse the compiled program.
        probe_every: Steps between two looks: at the steps that are multiples of it, 0 before the first among them.
        on_probe: Called with every `Probed`, and rewound, in the same way.
        on_nonfinite: Called with every `NonFinite`, a seed whose numbers went wrong while it or others go on.
        explain: Says more of the first bad step of a seed, ``explain(params, batch) -> str`` with the parameters before
            it, "" for nothing: which state of the network is the first that is not finite, say.
        stop: Asked after every call; when true, training ends there.

    Raises:
        ValueError: `probe` without `probe_every` or the other way round, or a number out of its range.
    """

    checkpoints: Checkpoints | None = None
    checkpoint_every_s: float = 60.0
    on_record: Sequence[Callable[[Record], None]] = ()
    on_call: Sequence[Callable[[int, float], None]] = ()
    probe: Callable[[PyTree], PyTree] | None = None
    probe_every: int | None = None
    on_probe: Sequence[Callable[[Probed], None]] = ()
    on_nonfinite: Sequence[Callable[[NonFinite], None]] = ()
    explain: Callable[[PyTree, PyTree], str] | None = None
    stop: Callable[[], bool] = lambda: False

    def __post_init__(self) -> None:
        """Checks every value."""
        if not check_number("checkpoint_every_s", self.checkpoint_every_s) >= 0:
            raise ValueError(f"checkpoint_every_s: expected a number of at least 0, got {self.checkpoint_every_s}")
        if (self.probe is None) != (self.probe_every is None):
            raise ValueError(
                "probe_every: expected a number of steps with a probe and None without, "
                f"got {self.probe_every}; give both"
            )
        if self.probe_every is not None:
            check_positive("probe_every", self.probe_every)
