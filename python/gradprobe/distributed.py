"""Checks a case whose samples lie in many files: on one machine, on Dask or on Ray.

`check` does everything. Below it, `plan` cuts a case into parts, `run` checks one of them, on any
machine that sees the files, and `Merge` joins their results, in any order. A part is a path and a
range of rows, never an array, and all three know nothing of Dask and Ray.
"""

from __future__ import annotations

import itertools
import os
import sys
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass
from typing import Any, Protocol

from . import _native
from ._check import GIB, _settings, quiet_software_driver
from ._errors import CaseError, GradprobeError
from ._layer_report import LayerReport

__all__ = ["Merge", "Part", "Plan", "check", "plan", "run"]

Source = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


@dataclass(frozen=True)
class Part:
    """Some rows of a case: what a worker needs to know."""

    number: int
    """Its place among the parts."""
    index: str
    """The files of the part, as JSON."""
    units: tuple[int, int]
    """The first unit of rows, and the one behind the last."""
    settings: tuple[tuple[str, str], ...]
    device: str
    memory: int


@dataclass(frozen=True)
class Plan:
    """A case in parts."""

    parts: tuple[Part, ...]
    rows: int
    """The number of rows in all files."""
    index: str
    """All files and the divisor of the loss, as JSON: the content of gradprobe.index.json."""
    _case: _native.Parts


def plan(
    source: Source,
    *,
    shared: str | os.PathLike[str] | None = None,
    parts: int | None = None,
    device: str = "auto",
    memory: int = GIB,
    **settings: Any,
) -> Plan:
    """Cuts a case into parts, after a first pass over the targets of all files.

    Args:
        source: An index (gradprobe.index.json), a folder, a pattern, a file, or a list of these.
        shared: The file of the tensors that all files share: weight and bias, and their gradients.
            By default the only file without a target.
        parts: The number of parts; by default one for each unit of rows, of about 64 MiB.
        device, memory: For each part, as in `gradprobe.check`.
        settings: The settings of `gradprobe.check`, such as reduction or rtol.
    """
    spelled = tuple(_settings(**settings))
    files = [source] if isinstance(source, str | os.PathLike) else list(source)
    case = _native.Parts(list(spelled), memory, files=files, shared=shared)
    count = case.units if parts is None else min(parts, case.units)
    if count < 1:
        raise CaseError(f"parts is {parts}, but must be at least 1")
    ends = [case.units * part // count for part in range(count + 1)]
    made = (
        Part(number, case.extract(first, end), (first, end), spelled, device, memory)
        for number, (first, end) in enumerate(itertools.pairwise(ends))
    )
    return Plan(tuple(made), case.rows, case.index(), case)


def run(part: Part) -> str:
    """Checks a part. Returns its result as JSON, for `Merge.add`."""
    if part.device != "cpu":
        quiet_software_driver()
    case = _native.Parts(list(part.settings), part.memory, index=part.index)
    return case.run(*part.units, part.device, part.memory)


class Merge:
    """Joins the results of parts. Their order does not matter, to the last bit."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._merged = _native.Merged()

    def add(self, result: str) -> None:
        self._merged.add(result)

    def report(self) -> LayerReport:
        """Returns the report. Without all parts it says which rows are missing, and cannot pass."""
        return LayerReport(self._plan._case.finish(self._merged))


def check(
    source: Source,
    *,
    client: Any = None,
    shared: str | os.PathLike[str] | None = None,
    parts: int | None = None,
    in_flight: int | None = None,
    retries: int = 4,
    progress: bool | None = None,
    device: str = "auto",
    memory: int = GIB,
    **settings: Any,
) -> LayerReport:
    """Checks a case in many files, part by part. The loss is taken over the samples of all files.

    Args:
        source, shared, parts, device, memory, settings: As for `plan`.
        client: A `dask.distributed.Client`, "ray", a `concurrent.futures.Executor`, or None for
            this process.
        in_flight: Parts that are given to the client at a time; by default 64.
        retries: The number of times that a part which raises is tried again.
        progress: True shows a line on stderr; by default if that is a terminal.

    Ctrl-C ends the check with a report on the parts that are done. A part that fails for good
    leaves a report that says which rows are missing, and a warning with the error.

    Raises:
        CaseError: The files or settings cannot be checked, or no part was.

    Example:
        >>> import gradprobe.distributed
        >>> report = gradprobe.distributed.check("run7/", client=client)  # doctest: +SKIP
    """
    planned = plan(source, shared=shared, parts=parts, device=device, memory=memory, **settings)
    merge = Merge(planned)
    line = _Line(len(planned.parts), sys.stderr.isatty() if progress is None else progress)
    failed: dict[int, BaseException] = {}
    done = _results(planned.parts, _engine(client), in_flight or 64, retries, failed)
    try:
        for result in done:
            merge.add(result)
            line.advance()
    except KeyboardInterrupt:
        warnings.warn("interrupted: the report has the parts that are done", stacklevel=2)
    finally:
        done.close()
        line.close()
    for number, error in failed.items():
        text = f"part {number} failed: {type(error).__name__}: {error}"
        warnings.warn(text, stacklevel=2)
    if merge._merged.is_empty and failed:
        error = next(iter(failed.values()))
        raise error if isinstance(error, GradprobeError) else CaseError(str(error)) from error
    return merge.report()


class _Engine(Protocol):
    """What a cluster must do. Each adapter is as long as the calls that it wraps."""

    def submit(self, part: Part) -> Any:
        """Starts a part. Returns a handle."""

    def finished(self, handles: list[Any]) -> Iterable[Any]:
        """Waits for one or more of the handles, and returns those that are done."""

    def result(self, handle: Any) -> str:
        """Returns the result of a handle that is done, or raises."""

    def cancel(self, handles: list[Any]) -> None:
        """Gives up parts."""


def _results(
    parts: Sequence[Part],
    engine: _Engine,
    in_flight: int,
    retries: int,
    failed: dict[int, BaseException],
) -> Generator[str]:
    """Yields the results of parts as they come, with a bound on those that are under way."""
    waiting = [(part, 0) for part in reversed(parts)]
    running: dict[Any, tuple[Part, int]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < in_flight:
                part, tries = waiting.pop()
                try:
                    running[engine.submit(part)] = (part, tries)
                except Exception as error:  # the engine itself is broken
                    failed[part.number] = error
            for handle in engine.finished(list(running)) if running else ():
                part, tries = running.pop(handle)
                try:
                    result = engine.result(handle)
                except Exception as error:
                    # A case that cannot be checked is the same the next time.
                    if tries < retries and not isinstance(error, CaseError):
                        waiting.append((part, tries + 1))
                    else:
                        failed[part.number] = error
                else:
                    yield result
    finally:
        engine.cancel(list(running))


def _engine(client: Any) -> _Engine:
    if client is None:
        return _Here()
    if isinstance(client, Executor):
        return _Executor(client)
    if isinstance(client, str) and client == "ray":
        return _Ray()
    if hasattr(client, "scheduler") and hasattr(client, "submit"):
        return _Dask(client)
    raise CaseError(
        f"client is {client!r}, but must be a dask.distributed.Client, 'ray', "
        "a concurrent.futures.Executor or None"
    )


class _Here:
    """Runs each part when its result is asked for."""

    def submit(self, part: Part) -> Part:
        return part

    def finished(self, handles: list[Part]) -> list[Part]:
        return handles[:1]

    def result(self, handle: Part) -> str:
        return run(handle)

    def cancel(self, handles: list[Part]) -> None:
        pass


class _Executor:
    """Runs parts on the threads or processes of an executor."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def submit(self, part: Part) -> Future[str]:
        return self._executor.submit(run, part)

    def finished(self, handles: list[Future[str]]) -> Iterable[Future[str]]:
        return wait(handles, return_when=FIRST_COMPLETED).done

    def result(self, handle: Future[str]) -> str:
        return handle.result()

    def cancel(self, handles: list[Future[str]]) -> None:
        for handle in handles:
            handle.cancel()


class _Dask:
    """Runs parts on the workers of a Dask cluster, which repeats those of a lost worker."""

    def __init__(self, client: Any) -> None:
        from dask import distributed

        self._client = client
        self._wait: Callable[..., Any] = distributed.wait

    def submit(self, part: Part) -> Any:
        return self._client.submit(run, part, pure=False)

    def finished(self, handles: list[Any]) -> Iterable[Any]:
        done: Iterable[Any] = self._wait(handles, return_when="FIRST_COMPLETED").done
        return done

    def result(self, handle: Any) -> str:
        result: str = handle.result()
        return result

    def cancel(self, handles: list[Any]) -> None:
        self._client.cancel(handles)


class _Ray:
    """Runs parts as Ray tasks, which Ray repeats if their worker is lost."""

    def __init__(self) -> None:
        import ray

        self._ray = ray
        if not ray.is_initialized():
            ray.init()
        self._run = ray.remote(num_cpus=1, max_retries=4)(run)

    def submit(self, part: Part) -> Any:
        return self._run.remote(part)

    def finished(self, handles: list[Any]) -> Iterable[Any]:
        done, _ = self._ray.wait(handles, num_returns=1)
        return list(done)

    def result(self, handle: Any) -> str:
        result: str = self._ray.get(handle)
        return result

    def cancel(self, handles: list[Any]) -> None:
        for handle in handles:
            self._ray.cancel(handle, force=False)


class _Line:
    """A line on stderr: the parts that are done, and the time that is left."""

    def __init__(self, parts: int, is_shown: bool) -> None:
        self._parts, self._is_shown = parts, is_shown
        self._done, self._started = 0, time.monotonic()

    def advance(self) -> None:
        self._done += 1
        if self._is_shown:
            per_part = (time.monotonic() - self._started) / self._done
            left = per_part * (self._parts - self._done)
            text = f"\r{self._done} of {self._parts} parts, {left:.0f} s left "
            print(text, end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        if self._is_shown and self._done:
            print(file=sys.stderr)
