"""One way to run many tasks: in this process, in worker processes, or on an existing Dask cluster.

``outcomes(function, tasks, workers=...)`` yields one Outcome per task as they finish. All three ways
submit to a ``concurrent.futures`` executor, a bounded number of tasks at a time, so memory does not grow with
their number. A task that raises is an Outcome with its error; a worker that dies takes nothing with it but
its own task, which is tried once more, alone.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import wait as wait_for
from typing import Any, Generic, TypeVar

from fnbench import __version__
from fnbench.errors import InvalidSettingError, MissingDependencyError, OutputError

Task = TypeVar("Task")
Value = TypeVar("Value")

_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "LP_NUM_THREADS")
_CLUSTER_RETRIES = 3
_PATIENCE = 10
"""Seconds to wait for a scheduler's answer."""
_AHEAD = 1
"""Tasks submitted beyond the number of workers, so that none waits for the next."""


@dataclass(frozen=True, slots=True)
class Outcome(Generic[Task, Value]):
    """What became of a task: its value, or the error it raised (``value`` is then None)."""

    task: Task
    value: Value | None
    error: BaseException | None = None


class WorkerLost(Exception):  # noqa: N818  # it is told as an outcome, not raised
    """The process that ran a task ended in the middle of it, twice: killed, or out of memory."""


def outcomes(
    function: Callable[[Task], Value],
    tasks: Iterable[Task],
    *,
    workers: int = 1,
    scheduler: str | None = None,
    shared: str | None = None,
) -> Generator[Outcome[Task, Value], None, None]:
    """Run a function over tasks and yield the outcomes as they finish.

    function, tasks: picklable, unless they run in this process (one worker, no scheduler).
    workers: processes on this machine.  scheduler: address of a Dask scheduler, instead of them.
    shared: a folder that every worker of a cluster must see; checked before work starts.
    Closing the generator (or Ctrl-C) starts no further task and waits for those that run; a second Ctrl-C
    ends the worker processes at once.
    """
    if workers < 1:
        raise InvalidSettingError(f"workers is {workers}, expected at least 1.")
    if scheduler is not None:
        with _cluster(scheduler, shared) as (executor, slots):
            yield from _finished(executor, function, iter(tasks), 2 * slots)
    elif workers == 1:
        yield from (_attempt(function, task) for task in tasks)
    else:
        yield from _in_processes(function, tasks, workers)


def _attempt(function: Callable[[Task], Value], task: Task) -> Outcome[Task, Value]:
    try:
        return Outcome(task, function(task))
    except Exception as error:
        return Outcome(task, None, error)


def _finished(
    executor: Executor, function: Callable[[Task], Value], tasks: Iterator[Task], window: int
) -> Iterator[Outcome[Task, Value]]:
    running: dict[Future[Value], Task] = {}
    while True:
        while len(running) < window and (task := next(tasks, None)) is not None:
            try:
                running[executor.submit(function, task)] = task
            except BrokenExecutor as error:
                yield Outcome(task, None, error)
        if not running:
            return
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            found = CancelledError("the cluster took it back") if future.cancelled() else future.exception()
            yield Outcome(running.pop(future), None if found else future.result(), found)


class _Gate(Iterator[Task]):
    """Hands out tasks until it is shut; what was not handed out stays in the iterator behind it."""

    def __init__(self, tasks: Iterator[Task]) -> None:
        self._tasks = tasks
        self.is_open = True

    def __next__(self) -> Task:
        if not self.is_open:
            raise StopIteration
        return next(self._tasks)


def _in_processes(
    function: Callable[[Task], Value], tasks: Iterable[Task], workers: int
) -> Iterator[Outcome[Task, Value]]:
    """A dead process breaks the whole pool; the tasks that ran then are repeated one by one, each in a new one."""
    waiting, suspects = iter(tasks), deque[Task]()
    while True:
        alone = bool(suspects)
        gate = _Gate(iter((suspects.popleft(),)) if alone else waiting)
        with _pool(1 if alone else workers) as pool:
            for outcome in _finished(pool, function, gate, 1 if alone else workers + _AHEAD):
                if not isinstance(outcome.error, BrokenExecutor):
                    yield outcome
                    continue
                gate.is_open = False
                if alone:
                    yield Outcome(outcome.task, None, WorkerLost("its process ended in the middle of it, twice"))
                else:
                    suspects.append(outcome.task)
        if gate.is_open and not alone:
            return


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Spawned processes: nothing open in this one (files, OpenGL contexts, threads) leaks into them."""
    with _one_thread_each():
        pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _begin_worker)
        try:
            yield pool
        finally:
            try:
                pool.shutdown(wait=True, cancel_futures=True)
            except KeyboardInterrupt:
                for process in multiprocessing.active_children():
                    process.kill()
                raise


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Numeric libraries of the workers use one thread; the processes are the parallelism."""
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _begin_worker() -> None:
    """Leave interrupts to the main process, and end when it is gone, however it went."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait_for([sentinel])
    os._exit(1)


@contextmanager
def _cluster(address: str, shared: str | None) -> Iterator[tuple[Executor, int]]:
    """The executor of a running Dask cluster and the number of its threads."""
    try:
        connect: Any = import_module("distributed").Client
    except ImportError as error:
        raise MissingDependencyError(
            "--scheduler needs the Dask client: pip install 'fnbench[cluster]' here and on the workers."
        ) from error
    try:
        client = connect(address, timeout=_PATIENCE, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise InvalidSettingError(
            f"scheduler {address}: no Dask scheduler answers ({error}); expected an address like tcp://host:8786."
        ) from error
    with client:
        threads = client.nthreads()
        if not threads:
            raise InvalidSettingError(f"scheduler {address}: it has no workers; start some and run this again.")
        _check_workers(client, shared)
        executor = client.get_executor(pure=False, retries=_CLUSTER_RETRIES)
        try:
            yield executor, sum(threads.values())
        except BaseException:
            executor.shutdown(wait=False)  # cancels what has not begun
            raise
        executor.shutdown(wait=True)


def _check_workers(client: Any, shared: str | None) -> None:
    found = client.run(_worker_facts, shared)
    other = [f"{worker} ({version})" for worker, (version, _) in found.items() if version != __version__]
    if other:
        raise InvalidSettingError(
            f"fnbench {__version__} here, but another version on {', '.join(other[:10])}; install the same everywhere."
        )
    blind = [worker for worker, (_, sees) in found.items() if not sees]
    if blind:
        raise OutputError(
            f"{shared}: not visible from {', '.join(blind[:10])}; a cluster needs an output folder that all "
            f"workers share under the same path."
        )


def _worker_facts(shared: str | None) -> tuple[str, bool]:
    return __version__, shared is None or os.path.exists(shared)
