"""The report of a check of a module: a result for each call of each layer."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass

from .._errors import CaseError
from .._function.report import FunctionReport
from .._function.result import FunctionResult
from .._html import escaped, page
from .._notebook import fragment
from .._report import Report, worst, written

SCHEMA = "gradprobe/module/1"


@dataclass(frozen=True)
class Layer:
    """The check of one call of a module."""

    name: str
    kind: str
    result: FunctionResult


class ModuleReport(Report):
    """A report on the gradients of a module, with a report for each call of a layer.

    A layer's report covers the gradients that the layer's own operations hand to their inputs
    and parameters. The gradient that arrives at the layer is taken as it is.
    """

    layers: dict[str, FunctionReport]
    """The reports, from the loss backwards. The second call of `fc` is `fc#2`."""

    def __init__(self, layers: Iterable[Layer], notes: Iterable[str]) -> None:
        found = list(layers)
        self.layers = {layer.name: FunctionReport(layer.result) for layer in found}
        self._kinds = {layer.name: layer.kind for layer in found}
        super().__init__(
            worst(report.verdict for report in self.layers.values()),
            (check for report in self.layers.values() for check in report.checks),
            notes,
        )

    @property
    def suspect(self) -> str | None:
        """The first layer whose own backward pass is wrong, seen from the loss; else None."""
        return next((n for n, report in self.layers.items() if report.verdict == "fail"), None)

    @property
    def headline(self) -> str:
        name = self._leading
        if name is None:
            return "Nothing was checked."
        if self.verdict == "pass":
            gradients = f"{len(self.checks)} gradients of {len(self.layers)} layers"
            return f"PASS: no error was found in the {gradients}."
        return f"{self.verdict.upper()}: {name}: {_sentence(self.layers[name])}"

    @property
    def _leading(self) -> str | None:
        """Returns the first layer with the verdict of the report."""
        of_verdict = (n for n, it in self.layers.items() if it.verdict == self.verdict)
        return next(of_verdict, None)

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """Returns the report as JSON, schema gradprobe/module/1. Writes it to `path` if given."""
        document = {
            "schema": SCHEMA,
            "verdict": self.verdict,
            "headline": self.headline,
            "suspect": self.suspect,
            "notes": list(self.notes),
            "layers": [
                {"name": name, "kind": self._kinds[name], **json.loads(report.to_json())}
                for name, report in self.layers.items()
            ],
        }
        return written(json.dumps(document, indent=2, allow_nan=False) + "\n", path)

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str:
        return written(page(f"gradprobe: {self.verdict}", self._repr_html_()), path)

    def to_markdown(self, path: str | os.PathLike[str] | None = None) -> str:
        rows = ["| layer | kind | verdict | result |", "|---|---|---|---|"]
        for name, report in self.layers.items():
            cells = (name, self._kinds[name], report.verdict, _sentence(report))
            rows.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
        notes = [f"- {note}" for note in self.notes]
        parts = ["## gradprobe", f"**{self.headline}**", "\n".join(rows), "\n".join(notes)]
        return written("\n\n".join(part for part in parts if part) + "\n", path)

    def numeric(self, name: str | None = None) -> memoryview[float]:
        """Returns a numeric gradient in f64, such as that of `fc.weight` or `fc.input`."""
        name = self._chosen(name)
        return self._owner(name).numeric(name)

    def greatest(self, name: str) -> list[tuple[float, tuple[int, ...]]]:
        return self._owner(name).greatest(name)

    def _owner(self, name: str) -> FunctionReport:
        for report in self.layers.values():
            if any(check.name == name for check in report.checks):
                return report
        raise CaseError(f"{name} was not checked")

    def _brief(self) -> str:
        if self.verdict == "pass":
            return f"{len(self.layers)} layers, {len(self.checks)} gradients"
        return f"{self._leading}: {self.layers[self._leading or '']._brief()}"

    def _text(self, is_coloured: bool, width: int | None) -> str:
        lines = [self.headline, ""]
        longest = max(map(len, self.layers), default=0)
        for name, report in self.layers.items():
            verdict = report.verdict.upper()
            lines.append(f"  {verdict:<12} {name:<{longest}}  {_result(report, self._kinds[name])}")
        suspect = self.suspect
        if suspect is not None:
            lines += ["", self.layers[suspect]._text(is_coloured, width).rstrip("\n")]
        if self.notes:
            lines += ["", *(f"  {'note':<14} {note}" for note in self.notes)]
        return "\n".join(lines) + "\n"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{escaped(report.verdict)}</td><td>{escaped(name)}</td>"
            f"<td>{escaped(_result(report, self._kinds[name]))}</td></tr>"
            for name, report in self.layers.items()
        )
        head = f"<p><strong>{escaped(self.headline)}</strong></p>"
        table = f'<table style="text-align:left">{rows}</table>'
        notes = "".join(f"<p>{escaped(note)}.</p>" for note in self.notes)
        suspect = self.suspect
        details = "" if suspect is None else fragment(self.layers[suspect])
        return f"{head}{table}{notes}{details}"


def _result(report: FunctionReport, kind: str) -> str:
    """Returns the cause or the extent of one layer's check."""
    if report.verdict != "pass":
        return f"{kind}: {_sentence(report)}"
    entries = sum(check.entries for check in report.checks)
    count = len(report.checks)
    return f"{kind}: {count} gradient{'s' if count != 1 else ''}, {entries:,} entries"


def _sentence(report: FunctionReport) -> str:
    """Returns the headline without its verdict; the note, if nothing could be checked."""
    if report.checks:
        return report.headline.partition(": ")[2]
    return report.notes[0] if report.notes else "nothing was checked."
