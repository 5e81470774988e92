"""The report of a check, as Python sees it."""

from __future__ import annotations

import html
import json
import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from . import _native
from ._errors import CaseError

Verdict = Literal["pass", "inconclusive", "fail"]


@dataclass(frozen=True)
class Entry:
    """One entry of a gradient, as it was judged."""

    index: tuple[int, ...]
    """The place in the gradient, in your own shape."""
    analytic: float
    """The value of the gradient under test."""
    numeric: float
    """The finite difference."""
    rel_err: float
    """|analytic - numeric| / max(|analytic|, |numeric|), and 0 where both are 0."""
    tolerance: float
    """The largest error that the rounding of a right gradient explains."""
    noise: float
    """The bound on the error of the finite difference."""

    @property
    def error(self) -> float:
        """|analytic - numeric|."""
        return abs(self.analytic - self.numeric)


@dataclass(frozen=True)
class Finding:
    """A cause of the errors."""

    code: str
    """The name of the cause, such as "accumulated": see docs/diagnoses.md."""
    message: str
    """One sentence, without its full stop."""
    fix: str
    """The change that repairs the gradient."""
    confidence: float
    """From 0 to 1."""
    factor: float | None
    """The factor by which the gradient is off, if the cause is one."""
    test: str | None
    """The one run that would tell this cause from its alternatives."""
    evidence: Mapping[str, float]
    """The numbers behind the cause."""
    data: Mapping[str, Any] = field(repr=False, compare=False, hash=False)
    """The finding as in JSON."""


@dataclass(frozen=True)
class Check:
    """The result for one gradient."""

    name: str
    """"grad", "grad_logits", "grad_weight" or "grad_bias"; the name of an argument's leaf for
    check_function."""
    verdict: Verdict
    headline: str
    """One sentence with the verdict and the first cause."""
    dtype: str
    entries: int
    """Entries that were compared."""
    wrong: int
    """Entries that are wrong."""
    undecided: int
    """Entries that could not be decided."""
    detectable: float
    """The smallest relative error, in all entries, that would have failed."""
    rel_err: Mapping[str, float]
    """The relative errors: max, mean, median, p99, and norm, that of the whole gradient."""
    findings: tuple[Finding, ...]
    """The causes, the first one first; empty unless the check failed."""
    worst: tuple[Entry, ...]
    """The entries with the greatest errors, in units of what is allowed."""
    where: str | None
    """The places of the wrong entries, in words."""
    data: Mapping[str, Any] = field(repr=False, compare=False, hash=False)
    """The check as in JSON."""

    @property
    def passed(self) -> bool:
        return self.verdict == "pass"


class Report:
    """The result of a check. `print(report)` shows it in full.

    A report has no truth value, because an inconclusive one is neither true nor false: read
    `passed`.
    """

    __slots__ = ("_data", "_native", "checks")

    checks: tuple[Check, ...]
    """A result for each gradient."""

    def __init__(self, native: _native.Report) -> None:
        self._native = native
        self._data: dict[str, Any] = json.loads(native.json())
        sentences = native.sentences()
        checks = zip(self._data["checks"], sentences, strict=True)
        self.checks = tuple(_check(data, sentence, native) for data, sentence in checks)

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of the checks: "pass", "inconclusive" or "fail"."""
        return cast(Verdict, self._data["verdict"])

    @property
    def passed(self) -> bool:
        """True if every gradient is right, and an error of 10 % would have been seen."""
        return self.verdict == "pass"

    @property
    def headline(self) -> str:
        """One sentence: that of the first check with the report's verdict."""
        of_verdict = [check for check in self.checks if check.verdict == self.verdict]
        return of_verdict[0].headline if of_verdict else "Nothing was checked."

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on arrays that were copied, or read in another form than PyTorch's."""
        return tuple(self._native.translate(note) for note in self._data.get("notes", ()))

    @property
    def device(self) -> str:
        """The name of the device that computed."""
        return str(self._data["device"]["name"])

    def __getitem__(self, name: str) -> Check:
        """Returns the check of the gradient with this name."""
        for check in self.checks:
            if check.name == name:
                return check
        names = ", ".join(check.name for check in self.checks)
        raise KeyError(f"{name} was not checked; {names} were")

    def __bool__(self) -> bool:
        raise TypeError("a report has no truth value: it may be inconclusive; read report.passed")

    def __repr__(self) -> str:
        return f"<Report {self.verdict.upper()}: {self._native.brief()}>"

    def __str__(self) -> str:
        is_terminal = sys.stdout.isatty()
        width = shutil.get_terminal_size().columns if is_terminal else None
        is_coloured = is_terminal and "NO_COLOR" not in os.environ
        return self._native.text(is_coloured, width).rstrip("\n")

    def to_text(self) -> str:
        """Returns the report in full, without colours."""
        return self._native.text(False, None)

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """Returns the report as JSON, schema gradprobe/report/1. Writes it to `path` if given."""
        return _written(self._native.json(), path)

    def to_dict(self) -> dict[str, Any]:
        """Returns the report as Python data, as in JSON."""
        return cast(dict[str, Any], json.loads(self._native.json()))

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str:
        """Returns the report as a self-contained page. Writes it to `path` if given.

        The page has pictures of the errors if the check was made with `picture=True`, or the
        gradients are small.
        """
        return _written(self._native.html(), path)

    def to_markdown(self, path: str | os.PathLike[str] | None = None) -> str:
        """Returns the report as Markdown. Writes it to `path` if given."""
        return _written(self._native.markdown(), path)

    def numeric(self, name: str | None = None) -> memoryview[float]:
        """Returns a numeric gradient in f64, in the shape [rows, columns] of the gradient.

        `numpy.asarray` and `torch.asarray` take it without a copy. The check must have been made
        with `numeric=True`. `name` may be left out if there is one gradient.
        """
        if name is None:
            if len(self.checks) != 1:
                names = ", ".join(check.name for check in self.checks)
                raise CaseError(f"there are several gradients; choose one of {names}")
            name = self.checks[0].name
        try:
            shape, values = self._native.numeric(name)
        except KeyError:
            raise CaseError(
                f"the numeric gradient of {name} was not kept; check with numeric=True"
            ) from None
        return memoryview(values).cast("d", shape)

    def merge(self, *others: Report) -> Report:
        """Returns the report on the rows of all these reports, which are parts of one check.

        The parts are those of `check(..., rows=(start, stop))`. They must not overlap.
        """
        merged = self._native
        for other in others:
            merged = merged.merge(other._native)
        return Report(merged)

    def _repr_html_(self) -> str:
        from ._notebook import fragment

        return fragment(self)


def _written(text: str, path: str | os.PathLike[str] | None) -> str:
    if path is not None:
        Path(path).write_text(text, encoding="utf-8")
    return text


def _number(value: Any) -> float:
    """Returns a number of JSON, in which those that are not finite are strings."""
    return float(value)


def _check(data: dict[str, Any], sentence: str, native: _native.Report) -> Check:
    names = {"input": "grad", "logits": "grad_logits"}
    wrt = data["wrt"]
    return Check(
        name=names.get(wrt, f"grad_{wrt}"),
        verdict=data["verdict"],
        headline=sentence,
        dtype=data["dtype"],
        entries=data["entries"],
        wrong=data["wrong"],
        undecided=data["undecided"],
        detectable=_number(data["detectable"]),
        rel_err={name: _number(value) for name, value in data["rel_err"].items()},
        findings=tuple(_findings(data["findings"], native)),
        worst=tuple(_entries(data["worst"])),
        where=_where(data),
        data=data,
    )


def _findings(findings: list[dict[str, Any]], native: _native.Report) -> Iterable[Finding]:
    for data in findings:
        factor = data.get("factor")
        test = data.get("test")
        yield Finding(
            code=data["code"],
            message=native.translate(data["message"]),
            fix=native.translate(data["fix"]),
            confidence=_number(data["confidence"]),
            factor=None if factor is None else _number(factor),
            test=None if test is None else native.translate(test),
            evidence={name: _number(value) for name, value in dict(data["evidence"]).items()},
            data=data,
        )


def _entries(worst: list[dict[str, Any]]) -> Iterable[Entry]:
    for data in worst:
        numbers = ("analytic", "numeric", "rel_err", "tolerance", "noise")
        values = {name: _number(data[name]) for name in numbers}
        yield Entry(index=tuple(data["index"]), **values)


def _where(data: dict[str, Any]) -> str | None:
    where = data.get("where")
    return None if where is None else str(where["text"])


def escaped(text: str) -> str:
    """Returns text for HTML."""
    return html.escape(text, quote=True)
