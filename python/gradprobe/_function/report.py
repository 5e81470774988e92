"""The report of a check of a function."""

from __future__ import annotations

import json
import math
import os
from typing import Any, cast

import numpy as np

from .._html import page
from .._report import Check, Entry, Finding, Report, written
from .diagnose import diagnose, places
from .result import FunctionResult, LeafCheck

SCHEMA = "gradprobe/function/1"
SHOWN = 5


class FunctionReport(Report):
    """A report on the gradients of a function, one for each array of its inputs."""

    def __init__(self, result: FunctionResult) -> None:
        self.result = result
        """The numbers behind the report."""
        super().__init__(result.verdict, map(_check, result.checks), result.notes)

    @property
    def headline(self) -> str:
        if self.verdict != "fail" or any(check.verdict == "fail" for check in self.checks):
            return super().headline
        # A direction through several arrays accuses none of them alone.
        return "FAIL: random directions through all of the gradients show an error."

    @property
    def calls(self) -> int:
        """The number of calls of the function."""
        return self.result.calls

    @property
    def taylor_order(self) -> float | None:
        """The order of the remainder of the first-order Taylor expansion.

        It is about 2 if the gradient is right, 1 if it is wrong, and None if rounding hides it.
        """
        return self.result.taylor_order

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """Returns the report as JSON, schema gradprobe/function/1. Writes it to `path` if given."""
        result = self.result
        document = {
            "schema": SCHEMA,
            "verdict": self.verdict,
            "method": result.method,
            "calls": result.calls,
            "seconds": result.seconds,
            "taylor_order": result.taylor_order,
            "function_noise": _json(result.function_noise),
            "every_entry": result.every_entry,
            "notes": list(self.notes),
            "checks": [check.data for check in self.checks],
        }
        return written(json.dumps(document, indent=2, allow_nan=False) + "\n", path)

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str:
        return written(page(f"gradprobe: {self.verdict}", self._repr_html_()), path)

    def to_markdown(self, path: str | os.PathLike[str] | None = None) -> str:
        blocks = ["## gradprobe\n"]
        for check in self.checks:
            blocks.append(f"**{_markdown(check.headline)}**\n")
            rows = [f"- {name}: {_markdown(text)}" for name, text in _facts(check)]
            blocks.append("\n".join(rows) + "\n")
        return written("\n".join(blocks), path)

    def numeric(self, name: str | None = None) -> memoryview[float]:
        """Returns a numeric gradient in f64, in the shape of its input.

        It is NaN where the budget left no call for an entry. `numpy.asarray` and `torch.asarray`
        take it without a copy. `name` may be left out if there is one gradient.
        """
        leaf = self._leaf(self._chosen(name))
        return cast("memoryview[float]", np.ascontiguousarray(leaf.numeric).data)

    def greatest(self, name: str) -> list[tuple[float, tuple[int, ...]]]:
        leaf = self._leaf(name)
        with np.errstate(divide="ignore", invalid="ignore"):
            errors = np.abs(leaf.analytic - leaf.numeric)
            kinds = (errors, errors / np.abs(leaf.numeric))
        found = []
        for kind in kinds:
            kind = np.where(np.isfinite(kind), kind, -1.0)
            place = int(kind.argmax())
            index = tuple(int(i) for i in np.unravel_index(place, leaf.shape))
            found.append((float(kind.flat[place]), index))
        return found

    def _leaf(self, name: str) -> LeafCheck:
        return next(leaf for leaf in self.result.checks if leaf.name == name)

    def _brief(self) -> str:
        def of_check(check: Check) -> str:
            if check.findings:
                return f"{check.name} ({check.findings[0].code})"
            return (
                f"{check.name} ({check.verdict})" if check.verdict != self.verdict else check.name
            )

        return ", ".join(map(of_check, self.checks))

    def _text(self, is_coloured: bool, width: int | None) -> str:
        lines: list[str] = []
        for check in self.checks:
            lines.append(_coloured(check) if is_coloured else check.headline)
        for check in self.checks:
            lines += ["", f"  {'gradient':<14} {check.name}, {check.dtype}"]
            lines += [f"  {name:<14} {text}" for name, text in _facts(check)]
            lines += _table(check)
        result = self.result
        calls = f"{result.calls} in {result.seconds:.3g} s, by {_method(result)}"
        lines += ["", f"  {'calls':<14} {calls}"]
        if result.taylor_order is not None:
            order = f"order {result.taylor_order:.2f} (2 if right, 1 if wrong)"
            lines.append(f"  {'remainder':<14} {order}")
        lines += [f"  {'note':<14} {note}" for note in self.notes]
        return "\n".join(lines) + "\n"


COLOURS = {"pass": "32", "inconclusive": "33", "fail": "31"}


def _coloured(check: Check) -> str:
    verdict, _, sentence = check.headline.partition(":")
    return f"\x1b[1;{COLOURS[check.verdict]}m{verdict}\x1b[0m:{sentence}"


def _method(result: FunctionResult) -> str:
    if result.method != "difference":
        return result.method
    return "central differences" if result.every_entry else "random directions"


def _markdown(text: str) -> str:
    for character in "\\`*_[]<>|":
        text = text.replace(character, "\\" + character)
    return text


def _check(leaf: LeafCheck) -> Check:
    findings: tuple[Finding, ...] = ()
    where = None
    if leaf.verdict == "fail":
        allowed = leaf.tolerance_array + leaf.noise_array
        wrong = _wrong(leaf)
        if wrong.any():
            where = places(wrong)
        findings = diagnose(leaf.name, leaf.dtype, leaf.analytic, leaf.numeric, allowed)
    rel_err = {"max": leaf.rel_err.max, "mean": leaf.rel_err.mean, "norm": leaf.rel_err.norm}
    detectable = math.inf if leaf.detectable is None else leaf.detectable
    data: dict[str, Any] = {
        "name": leaf.name,
        "shape": list(leaf.shape),
        "dtype": leaf.dtype,
        "verdict": leaf.verdict,
        "entries": leaf.entries,
        "compared": leaf.compared,
        "wrong": leaf.wrong,
        "undecided": leaf.undecided,
        "kinks": leaf.kinks,
        "not_finite": leaf.not_finite,
        "directions": leaf.directions,
        "tolerance": leaf.tolerance,
        "eps": _json(leaf.eps),
        "noise": _json(leaf.noise),
        "detectable": _json(detectable),
        "rel_err": {name: _json(value) for name, value in rel_err.items()},
        "where": where,
        "findings": [
            {
                "code": finding.code,
                "message": finding.message,
                "fix": finding.fix,
                "confidence": finding.confidence,
                "factor": None if finding.factor is None else _json(finding.factor),
            }
            for finding in findings
        ],
        "worst": [
            {
                "index": list(entry.index),
                "place": entry.place,
                "analytic": _json(entry.analytic),
                "numeric": _json(entry.numeric),
                "tolerance": _json(entry.tolerance),
                "noise": _json(entry.noise),
                "rel_err": _json(entry.rel_err),
                "decision": entry.decision,
            }
            for entry in leaf.worst
        ],
    }
    return Check(
        name=leaf.name,
        verdict=leaf.verdict,
        headline=_headline(leaf, findings),
        dtype=leaf.dtype,
        entries=leaf.entries,
        wrong=leaf.wrong,
        undecided=leaf.undecided + leaf.kinks,
        detectable=detectable,
        rel_err=rel_err,
        findings=findings,
        worst=tuple(
            Entry(it.index, it.analytic, it.numeric, it.rel_err, it.tolerance, it.noise)
            for it in leaf.worst
        ),
        where=where,
        data=data,
    )


def _wrong(leaf: LeafCheck) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Returns the entries that are off by more than is allowed, as far as they were measured."""
    allowed = leaf.tolerance_array + leaf.noise_array
    with np.errstate(invalid="ignore"):
        wrong = np.abs(leaf.analytic - leaf.numeric) > allowed
    return np.asarray(wrong | (~np.isfinite(leaf.analytic) & np.isfinite(leaf.numeric)))


def _headline(leaf: LeafCheck, findings: tuple[Finding, ...]) -> str:
    name = f"the gradient of {leaf.name}"
    if leaf.verdict == "fail":
        first = findings[0]
        if leaf.wrong == 0:
            counted = f"{leaf.wrong_directions} of {leaf.directions} directions show it"
        elif leaf.compared == leaf.entries == leaf.wrong:
            counted = f"All {leaf.entries:,} entries are wrong"
        else:
            counted = f"{leaf.wrong:,} of {leaf.compared:,} compared entries are wrong"
        return f"FAIL: {first.message} ({first.code}). {counted}."
    if leaf.verdict == "inconclusive":
        # Entries for which no call was left are undecided too.
        decided = leaf.entries - leaf.undecided - leaf.kinks
        return (
            f"INCONCLUSIVE: no error was found in {name}, but only {max(decided, 0):,} of "
            f"{leaf.entries:,} entries could be decided."
            if leaf.undecided + leaf.kinks
            else f"INCONCLUSIVE: no error was found in {name}, but the check is too weak: "
            f"{_would_detect(leaf)}."
        )
    if leaf.compared < leaf.entries:
        return (
            f"PASS: no error was found in {name}: {leaf.directions} random directions through all "
            f"{leaf.entries:,} entries agree, and so do {leaf.compared:,} single entries."
        )
    if leaf.detectable is None:
        return f"PASS: {name} is right: it is zero, and all {leaf.entries:,} entries are."
    return f"PASS: {name} is right: all {leaf.entries:,} entries agree with the finite difference."


def _would_detect(leaf: LeafCheck) -> str:
    if leaf.detectable is None or not math.isfinite(leaf.detectable):
        return "no relative error in all entries would have been seen"
    return f"a relative error of less than {leaf.detectable:.2g} in all entries would pass"


def _facts(check: Check) -> list[tuple[str, str]]:
    data = check.data
    facts = []
    if check.where:
        facts.append(("where", check.where))
    for finding in check.findings:
        facts += [("cause", finding.code), ("fix", finding.fix)]
    if data["kinks"]:
        facts.append(("kinks", f"{data['kinks']} entries lie at a kink: the slopes differ"))
    if data["undecided"]:
        facts.append(("undecided", f"{data['undecided']} entries are hidden by noise"))
    facts.append(("tolerance", data["tolerance"]))
    if math.isfinite(check.detectable):
        detected = f"a relative error of {check.detectable:.2g} or more in all entries"
        facts.append(("would detect", detected))
    norm, most = check.rel_err["norm"], check.rel_err["max"]
    facts.append(("relative error", f"max {most:.2e}; whole array {norm:.2e}"))
    return facts


def _table(check: Check) -> list[str]:
    if check.verdict != "fail":
        return []
    head = f"  {'worst entries':<24} {'analytic':>14} {'numeric':>14} {'rel. error':>11}"
    lines = ["", head]
    for entry in check.data["worst"][:SHOWN]:
        numbers = (float(entry[name]) for name in ("analytic", "numeric", "rel_err"))
        analytic, numeric, rel_err = numbers
        lines.append(f"  {entry['place']:<24} {analytic:>14.6g} {numeric:>14.6g} {rel_err:>11.2e}")
    return lines


def _json(value: float) -> float | str:
    """Returns a number as JSON has it: those that are not finite are strings."""
    return value if math.isfinite(value) else str(value)
