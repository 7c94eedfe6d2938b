"""How well does a recurrent network forecast a series, a step ahead, and from its own forecasts?

    python -m experiments.forecast --data=daily-min-temperatures.csv --workdir=runs/forecast

By default a drawn series, a sine of period 24 with noise that lasts, or the number columns of a CSV file (``--data``),
or of several (a pattern, ``'--data=series/*.csv'``), which one network learns together. Every series is parted in time:
8 tenths to train on, one to choose the best parameters by, and the last one, the test part, to forecast. The network
reads a window and says by how much the next value differs from the last one.

Forecasts are compared with persistence (what was a step ago) and with the season (what was a period ago). One step
ahead all values before are known; free-running, nothing of the test part is, and the network reads its own forecasts.

Metrics, one value a seed: ``train_loss`` and ``val_loss`` (mean squared errors of the scaled series, whose training
part has deviation 1), ``best_val_loss``, ``best_epoch``; of the test part, by the best network, root mean squared
errors in the unit of the series: ``one_step_rmse``, ``free_running_rmse``, ``persistence_rmse``, ``seasonal_rmse``, and
both free-running, ``free_persistence_rmse``, ``free_seasonal_rmse``; with several series each as ``SERIES.NAME``. With
``--eval_data`` the same of those files, ``eval_NAME``, from the first step that has a window and a period before it.
"""

import dataclasses
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from experiments import _forecaster, _language, _series
from recur import report, tasks
from recur.runs import _config, _main, _problem, _run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Of the built-in series, the same one for all seeds.
COUNT, PERIOD = 2400, 24
LOOKED_AT, SHOWN_STEPS = 16, 400
HEADERS = {"auto": None, "yes": True, "no": False}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(_config.RunConfig):
    """Options of the experiment."""

    workdir: str = _config.option("runs/forecast", "Folder of the run; several cells get a folder each in it.")
    cell: str = _config.option("gru", _config.CELL_HELP)
    layers: int = _config.option(1, "Layers.", least=1)
    window: int = _config.option(48, "Values that the network reads before it forecasts.", least=1)
    period_steps: int = _config.option(0, "Steps of a season; 0 to find them in the training part.", least=0)
    epochs: int = _config.option(30, "Passes over the training windows.", least=1)
    learning_rate: float = _config.option(3e-3, "Step size of the optimiser, the greatest of a schedule.", least=0.0)
    schedule: str = _config.option("cosine", "Step size over the run.")
    data: str = _config.option("", "CSV file to train on, or a pattern of several.")
    eval_data: str = _config.option("", "Such a file or pattern to evaluate on at the end.")
    columns: str = _config.option("", "Columns to read, names with commas between; empty for all but the time.")
    delimiter: str = _config.option("", "What parts the cells of a row; empty to find it.")
    decimal: str = _config.option(".", "Decimal sign: . or ,")
    header: str = _config.option("auto", "Whether the first row has names: yes, no, auto (it must, and no numbers).")
    time: str = _config.option("", "Column of times; empty for the first one if it holds no numbers.")
    time_format: str = _config.option("", "Format of dates, such as %d.%m.%Y; empty to find it.")
    unsorted: str = _config.option("refuse", "What to do with rows out of order: refuse, sort.")
    missing: str = _config.option("refuse", "What to do where a value is missing: refuse, forward, interpolate.")

    @property
    def reading(self) -> dict[str, Any]:
        """Options of `tasks.read_series`."""
        if self.header not in HEADERS:
            raise ValueError(f"header: expected one of {list(HEADERS)}, got {self.header!r}")
        if self.missing == "mask":
            raise ValueError("missing: expected refuse, forward or interpolate, got 'mask': each column is forecast")
        return {
            "columns": [name.strip() for name in self.columns.split(",")] if self.columns else None,
            "delimiter": self.delimiter or None,
            "decimal": self.decimal,
            "header": HEADERS[self.header],
            "time": self.time or None,
            "time_format": self.time_format or None,
            "unsorted": self.unsorted,
            "missing": self.missing,
        }


def train(config: Config) -> dict[str, Any]:
    """Runs the experiment, as the command does, and returns the summary that it also writes."""
    return _run.run("forecast", config, _pose)


def _pose(config: Config) -> _problem.Problem:
    model = _forecaster.forecaster(config.cell, config.hidden_size, config.layers)
    reading = config.reading
    if config.data:
        series = _series.read(config.data, config.window, config.period_steps, **reading)
    else:
        series = _built_in(config)
    for name, one in series.items():
        print(
            f"{name}: {len(one.values)} steps, the last {len(one.values) - one.test} to forecast, "
            f"a season of {one.period_steps} steps",
            flush=True,
        )
    # By the prefix of their metrics: a series, and the first step that is forecast.
    tested = {f"{name}." if len(series) > 1 else "": (one, one.test) for name, one in series.items()}
    if config.eval_data:
        tested |= _series.read_other(config.eval_data, series, config.window, **reading)
    samples, validation = _series.samples(series.values(), config.window)

    def measure(params):
        found = {}
        for prefix, (one, start) in tested.items():
            errors = _series.errors(one, start, *_forecaster.forecasts(params, one, start, config.window, model=model))
            found |= {f"{prefix}{name}": value for name, value in errors.items()}
        return found

    def show(params):
        return {f"forecast_{name}": _draw(params, name, one, config, model) for name, one in series.items()}

    look = np.moveaxis(validation[0][:LOOKED_AT], 1, 0)
    return _problem.Problem(
        init=model.pure.init,
        loss=model.loss,
        data=samples,
        validation=validation,
        measured="best",
        measure=_problem.each_seed(measure),
        show=show,
        recurrence=lambda params: (*model.pure.merge(params).stack.as_cell(), look),
        reads=lambda params, batch: (*model.pure.merge(params).stack.as_cell(), jnp.moveaxis(batch[0], 0, 1)),
        loss_name="mean squared error of the scaled series",
    )


def _built_in(config: Config) -> dict[str, _series.Series]:
    values = tasks.seasonal_series(jax.random.key(0), COUNT, period_steps=PERIOD)[:, 0]
    return {"seasonal": _series.part("seasonal", values, config.window, config.period_steps)}


def _draw(params: PyTree, name: str, one: _series.Series, config: Config, model: _forecaster.Model) -> "Figure":
    seeds = [
        _forecaster.forecasts(seed, one, one.test, config.window, model=model) for seed in _language.seeds_of(params)
    ]
    ahead, free = (np.stack(values)[:, :SHOWN_STEPS] for values in zip(*seeds, strict=True))
    steps = range(one.test, one.test + ahead.shape[1])
    curves = {"series": one.values[one.test :][:SHOWN_STEPS], "one step ahead": ahead, "free-running": free}
    return report.loss_curves(
        {label: (steps, values) for label, values in curves.items()},
        title=f"{name}: the test part, and forecasts of it",
        subtitle=f"{config.cell}, {config.hidden_size} units, window of {config.window}, seeds: {config.seeds}",
        y_label="value",
        y_scale="linear",
    )


if __name__ == "__main__":
    _config.define_flags(Config)
    _main.run(lambda argv: train(_config.from_flags(Config)))
