"""The report that the native part makes: of a linear layer with cross-entropy, or a network."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from typing import Any

from . import _native
from ._errors import CaseError
from ._report import Check, Entry, Finding, Report, written


class LayerReport(Report):
    """A report that the native part made."""

    def __init__(self, native: _native.Report) -> None:
        self._native = native
        data = json.loads(native.json())
        pairs = zip(data["checks"], native.sentences(), strict=True)
        super().__init__(
            data["verdict"],
            (_check(check, sentence, native) for check, sentence in pairs),
            map(native.translate, data.get("notes", ())),
        )
        self.device: str = data["device"]["name"]
        """The name of the device that computed."""

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """Returns the report as JSON, schema gradprobe/report/1. Writes it to `path` if given."""
        return written(self._native.json(), path)

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str:
        """Returns the report as a self-contained page. Writes it to `path` if given.

        The page has pictures of the errors if the check was made with `picture=True`, or the
        gradients are small.
        """
        return written(self._native.html(), path)

    def to_markdown(self, path: str | os.PathLike[str] | None = None) -> str:
        return written(self._native.markdown(), path)

    def numeric(self, name: str | None = None) -> memoryview[float]:
        """Returns a numeric gradient in f64, in the shape [rows, columns] of the gradient.

        `numpy.asarray` and `torch.asarray` take it without a copy. The check must have been made
        with `numeric=True`. `name` may be left out if there is one gradient.
        """
        name = self._chosen(name)
        try:
            shape, values = self._native.numeric(name)
        except KeyError:
            raise CaseError(
                f"the numeric gradient of {name} was not kept; check with numeric=True"
            ) from None
        return memoryview(values).cast("d", shape)

    def greatest(self, name: str) -> list[tuple[float, tuple[int, ...]]]:
        shape = self.numeric(name).shape or ()
        return [(error, _index(place, shape)) for error, place in self._native.greatest(name)]

    def merge(self, *others: LayerReport) -> LayerReport:
        """Returns the report on the rows of all these reports, which are parts of one check.

        The parts are those of `check(..., rows=(start, stop))`. They must not overlap.
        """
        merged = self._native
        for other in others:
            merged = merged.merge(other._native)
        return LayerReport(merged)

    def _brief(self) -> str:
        return self._native.brief()

    def _text(self, is_coloured: bool, width: int | None) -> str:
        return self._native.text(is_coloured, width)


def _index(place: int, shape: Sequence[int]) -> tuple[int, ...]:
    """Returns the index of the entry at this place in row-major order."""
    index: tuple[int, ...] = ()
    for extent in reversed(shape):
        place, rest = divmod(place, extent)
        index = (rest, *index)
    return index


def _number(value: Any) -> float:
    """Returns a number of JSON, in which those that are not finite are strings."""
    return float(value)


def _check(data: dict[str, Any], sentence: str, native: _native.Report) -> Check:
    wrt = data["wrt"]
    name = "grad" if wrt == "input" else f"grad_{wrt}"
    return Check(
        name=data.get("tensor", name),
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
        layer=data.get("layer"),
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
