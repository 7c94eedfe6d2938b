"""Jobs on any executor: what is done is handed over as it comes, what fails is kept as failed."""

import concurrent.futures
import contextlib
import multiprocessing
import queue
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import Any, NamedTuple

# A job whose process died is tried so many times in all.
ATTEMPTS = 2
_POLL_S = 0.02


class Failure(NamedTuple):
    """What is kept of a job that raised.

    Args:
        error: Kind and message in one line.
        traceback: The whole traceback.
    """

    error: str
    traceback: str


def failure_of(error: BaseException) -> Failure:
    """Returns what is kept of an exception."""
    told = " ".join(str(error).split())
    return Failure(f"{type(error).__name__}: {told}", "".join(traceback.format_exception(error)))


def run_all(executor: Any, function: Callable[..., Any], calls: Sequence[tuple[Any, ...]]) -> Iterator[tuple[int, Any]]:
    """Runs ``function(*call)`` for every call and yields ``(index, result or Failure)`` as each one ends.

    Args:
        executor: A `concurrent.futures.Executor`, or anything whose ``submit(f, *args)`` gives something with
            ``done()`` and ``result()``; None runs one call after the other here.
        function: What pickles, for executors of other processes.
        calls: Arguments.
    """
    if executor is None:
        for index, call in enumerate(calls):
            try:
                result = function(*call)
            except Exception as error:  # whatever a job raises is kept, the others go on
                result = failure_of(error)
            yield index, result
        return
    waiting = {index: executor.submit(function, *call) for index, call in enumerate(calls)}
    try:
        while waiting:
            ended = [index for index, future in waiting.items() if future.done()]
            for index in ended:
                yield index, _result(waiting.pop(index))
            if not ended:
                time.sleep(_POLL_S)
    finally:
        for future in waiting.values():
            if hasattr(future, "cancel"):
                future.cancel()


def _result(future: Any) -> Any:
    try:
        return future.result()
    except Exception as error:  # as above
        return failure_of(error)


class Workers(concurrent.futures.Executor):
    """So many processes, spawned and never forked, for JAX is not safe to fork.

    Each has a pool of its own, so that a process that dies is known by its job: the job is tried once more in a fresh
    process, and then it has failed.
    """

    def __init__(self, count: int) -> None:
        """Starts no process before the first job."""
        self._jobs: queue.SimpleQueue = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> concurrent.futures.Future:
        """Hands a job to the next process that is free."""
        future: concurrent.futures.Future = concurrent.futures.Future()
        self._jobs.put((future, function, args, kwargs))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Ends the processes once what was submitted is done; with `cancel_futures` what has not begun is dropped."""
        if cancel_futures:
            with contextlib.suppress(queue.Empty):
                while True:
                    self._jobs.get_nowait()[0].cancel()
        for _ in self._threads:
            self._jobs.put(None)
        if wait:
            for thread in self._threads:
                thread.join()

    def _work(self) -> None:
        pool = _spawned()
        while (job := self._jobs.get()) is not None:
            future, function, args, kwargs = job
            if not future.set_running_or_notify_cancel():
                continue
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    future.set_result(pool.submit(function, *args, **kwargs).result())
                except BrokenProcessPool:
                    pool.shutdown(wait=False)
                    pool = _spawned()
                    if attempt == ATTEMPTS:
                        future.set_exception(RuntimeError(f"its process died {ATTEMPTS} times; it is not tried again"))
                    continue
                except Exception as error:  # belongs to whoever asks for the result
                    future.set_exception(error)
                break
        pool.shutdown()


def _spawned() -> concurrent.futures.ProcessPoolExecutor:
    return concurrent.futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
