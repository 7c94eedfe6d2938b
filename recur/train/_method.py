"""How a run is trained and judged, whatever its batches come from."""

import dataclasses
import difflib
from typing import Any, TypedDict

import jax
from jax.sharding import Mesh

from recur._checks import brief, check_bool, check_positive
from recur.train._mesh import check_mesh
from recur.train._nonfinite import check_policy
from recur.train._state import TrainState
from recur.train._step import check_clipping

NO_EPOCH = 100
"""Steps between two evaluations, where there is no epoch to go by."""


class MethodOptions(TypedDict, total=False):
    """The options of `Method`, as `fit` and `fit_batches` take them by name."""

    eval_every: int | None
    monitor: str | None
    maximize: bool
    patience: int | None
    clip_norm: float | None
    ema_decay: float | None
    seeds_at_once: int | None
    mesh: Mesh | None
    on_nonfinite: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Method:
    """How a run is trained and judged: what `fit` and `fit_batches` have in common.

    Both take these options by name, too, which then replace those of a `method` that is given.

    Args:
        eval_every: Steps between two evaluations, each of which makes a `Record`; by default those of an epoch, and 100
            where there are no epochs. The last step always makes one.
        monitor: Metric of the records that says which parameters are best, by default ``val_loss``, or ``train_loss``
            without validation.
        maximize: Whether a higher value of it is better.
        patience: Training ends when this many evaluations in a row improved no seed; None for never.
        clip_norm: As in `make_step`.
        ema_decay: As in `make_step`; evaluations, and so the best parameters, are then those of the moving average.
        seeds_at_once: How many seeds go side by side on a device, by `jax.vmap`; groups of so many go one after the
            other. By default 1 on a CPU, where XLA multiplies batches of small matrices slowly, and all of them
            elsewhere.
        mesh: Devices, from `make_mesh`; by default one. Its batch axis must divide the batch of `fit`.
        on_nonfinite: What is done about a step whose loss, gradient, new parameters or carry are infinite or not a
            number. No such step is taken: the state stays, or goes back to, one that is finite.
            "stop": the seed stops there, for good, and the others go on.
            "skip": the seed goes on with the next batch; a hundred bad steps in a row stop it.
            "halve": parameters, optimiser and carry go back to where they were at the last record, before a step known
            to be sound, and all updates are halved from there on; data and count of steps go on. A validation loss that
            is not finite does so too. Twenty halvings stop the seed. Takes memory for one more state.

    Raises:
        TypeError: A number that is none or not whole, or a metric that is no name.
        ValueError: A number out of its range, an unknown word, a mesh with other axes.
    """

    eval_every: int | None = None
    monitor: str | None = None
    maximize: bool = False
    patience: int | None = None
    clip_norm: float | None = 1.0
    ema_decay: float | None = None
    seeds_at_once: int | None = None
    mesh: Mesh | None = None
    on_nonfinite: str = "stop"

    def __post_init__(self) -> None:
        """Checks every value."""
        for name in ("eval_every", "patience", "seeds_at_once"):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, check_positive(name, value))
        if self.monitor is not None and not isinstance(self.monitor, str):
            raise TypeError(f"monitor: expected the name of a metric, such as 'val_loss', got {brief(self.monitor)}")
        check_bool("maximize", self.maximize)
        object.__setattr__(self, "clip_norm", check_clipping(self.clip_norm, self.ema_decay))
        check_policy(self.on_nonfinite)

    def with_options(self, options: MethodOptions) -> "Method":
        """Returns it with these options in the place of its own.

        Raises:
            TypeError: There is no such option; the nearest is named.
        """
        for name in options:
            if name not in MethodOptions.__annotations__:
                near = difflib.get_close_matches(name, MethodOptions.__annotations__, 1)
                meant = f"; did you mean {near[0]}?" if near else ""
                raise TypeError(f"{name}: expected an option of train.Method or of this function{meant}")
        return dataclasses.replace(self, **options)

    def resolved(
        self, state: TrainState, *, batch_size: int | None, has_validation: bool, per_epoch: int = NO_EPOCH
    ) -> "Method":
        """Returns it with every default filled in, for the seeds of a state; and without patience, for the host's use.

        Raises:
            ValueError: The mesh does not divide the seeds or the batch.
        """
        seeds = state.step.size if state.step.ndim else None
        on_cpu = jax.default_backend() == "cpu"
        return dataclasses.replace(
            self,
            eval_every=self.eval_every or per_epoch,
            monitor=self.monitor or ("val_loss" if has_validation else "train_loss"),
            patience=None,
            seeds_at_once=self.seeds_at_once or (1 if on_cpu else state.step.size),
            mesh=check_mesh(self.mesh, seeds, batch_size),
        )


def as_method(method: Any, options: MethodOptions) -> Method:
    """Returns a method, by default the usual one, with these options, or raises TypeError where it is none."""
    if method is not None and not isinstance(method, Method):
        raise TypeError(f"method: expected a train.Method, got {brief(method)}")
    return (method or Method()).with_options(options)
