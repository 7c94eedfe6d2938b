"""How far a run is: a bar in a terminal, now and then a line elsewhere."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

LINE_EVERY_S = 30.0


@contextlib.contextmanager
def progress(label: str, done: int, total: int) -> Iterator[Callable[[int, float], None]]:
    """Yields ``show(step, loss)``, which tells loss, speed and time left.

    Args:
        label: What is trained.
        done: Steps that were taken before.
        total: Steps of the whole run.
    """
    if sys.stderr.isatty():
        import tqdm

        with tqdm.tqdm(total=total, initial=done, desc=label, unit="step") as bar:

            def show(step: int, loss: float) -> None:
                bar.set_postfix({"loss": f"{loss:.3g}"}, refresh=False)
                bar.update(step - bar.n)

            yield show
        return
    began = told = time.perf_counter()

    def tell(step: int, loss: float) -> None:
        nonlocal told
        now = time.perf_counter()
        if now - told >= LINE_EVERY_S:
            told = now
            speed = (step - done) / (now - began)
            left = f"{speed:.3g} steps/s, {(total - step) / speed:,.0f} s left"
            print(f"{label}: step {step:,} of {total:,}, loss {loss:.4g}, {left}", flush=True)

    yield tell
