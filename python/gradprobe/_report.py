"""The report of a check, as Python sees it."""

from __future__ import annotations

import json
import os
import shutil
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from ._errors import CaseError
from ._notebook import fragment

Verdict = Literal["pass", "inconclusive", "fail"]
ORDER: tuple[Verdict, ...] = ("pass", "inconclusive", "fail")


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Returns the worst verdict; "inconclusive" if there is none."""
    return max(verdicts, key=ORDER.index, default="inconclusive")


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
    """"grad", "grad_logits", "grad_weight" or "grad_bias"; "grad.fc1.weight" or "value.fc1" in a
    network; the name of an argument's leaf for check_function."""
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
    layer: str | None = None
    """The layer of a network that computes it."""

    @property
    def passed(self) -> bool:
        return self.verdict == "pass"


class Report(ABC):
    """The result of a check. `print(report)` shows it in full.

    A report has no truth value, because an inconclusive one is neither true nor false: read
    `passed`.
    """

    verdict: Verdict
    """The worst verdict of the checks: "pass", "inconclusive" or "fail"."""
    checks: tuple[Check, ...]
    """A result for each gradient."""
    notes: tuple[str, ...]
    """Sentences on how the arrays or the function were taken."""

    def __init__(
        self, verdict: Verdict, checks: Iterable[Check], notes: Iterable[str] = ()
    ) -> None:
        self.verdict = verdict
        self.checks = tuple(checks)
        self.notes = tuple(notes)

    @property
    def passed(self) -> bool:
        """True if every gradient is right, and an error of 10 % would have been seen."""
        return self.verdict == "pass"

    @property
    def headline(self) -> str:
        """One sentence: that of the first check with the report's verdict."""
        of_verdict = [check for check in self.checks if check.verdict == self.verdict]
        return of_verdict[0].headline if of_verdict else "Nothing was checked."

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
        return f"<Report {self.verdict.upper()}: {self._brief()}>"

    def __str__(self) -> str:
        is_terminal = sys.stdout.isatty()
        width = shutil.get_terminal_size().columns if is_terminal else None
        is_coloured = is_terminal and "NO_COLOR" not in os.environ
        return self._text(is_coloured, width).rstrip("\n")

    def to_text(self) -> str:
        """Returns the report in full, without colours."""
        return self._text(False, None)

    def to_dict(self) -> dict[str, Any]:
        """Returns the report as Python data, as in JSON."""
        return cast(dict[str, Any], json.loads(self.to_json()))

    @abstractmethod
    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """Returns the report as JSON. Writes it to `path` if given."""

    @abstractmethod
    def to_html(self, path: str | os.PathLike[str] | None = None) -> str:
        """Returns the report as a self-contained page. Writes it to `path` if given."""

    @abstractmethod
    def to_markdown(self, path: str | os.PathLike[str] | None = None) -> str:
        """Returns the report as Markdown. Writes it to `path` if given."""

    @abstractmethod
    def numeric(self, name: str | None = None) -> memoryview[float]:
        """Returns a numeric gradient in f64. `name` may be left out if there is one gradient.

        `numpy.asarray` and `torch.asarray` take it without a copy.
        """

    @abstractmethod
    def greatest(self, name: str) -> list[tuple[float, tuple[int, ...]]]:
        """Returns the greatest absolute and relative difference of a gradient, with their index.

        The numeric gradient must have been kept, as for `numeric`.
        """

    @abstractmethod
    def _brief(self) -> str:
        """Returns the names of the gradients, with the causes or verdicts of some."""

    @abstractmethod
    def _text(self, is_coloured: bool, width: int | None) -> str:
        """Returns the report for a terminal."""

    def _chosen(self, name: str | None) -> str:
        """Returns the name of a gradient, or that of the only one."""
        if name is not None:
            return self[name].name
        if len(self.checks) != 1:
            names = ", ".join(check.name for check in self.checks)
            raise CaseError(f"there are several gradients; choose one of {names}")
        return self.checks[0].name

    def _repr_html_(self) -> str:
        return fragment(self)


def written(text: str, path: str | os.PathLike[str] | None) -> str:
    if path is not None:
        Path(path).write_text(text, encoding="utf-8")
    return text
