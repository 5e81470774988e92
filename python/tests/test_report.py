"""The report in all its forms."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradprobe


@pytest.fixture
def wrong(case: dict[str, Any]) -> gradprobe.Report:
    case["grad"] = case["grad"] * np.float32(12)
    return gradprobe.check(**case)


def test_a_report_has_no_truth_value(wrong: gradprobe.Report) -> None:
    with pytest.raises(TypeError, match=r"report\.passed"):
        bool(wrong)
    assert not wrong.passed


def test_checks_have_typed_fields(wrong: gradprobe.Report) -> None:
    check = wrong["grad"]
    assert (check.entries, check.wrong, check.undecided) == (60, 60, 0)
    assert check.findings[0].factor == pytest.approx(12)
    assert check.findings[0].confidence > 0.5
    assert check.worst[0].rel_err == pytest.approx(11 / 12, rel=1e-3)
    assert check.worst[0].error > check.worst[0].tolerance
    assert check.rel_err["max"] == pytest.approx(11 / 12, rel=1e-3)
    assert wrong["grad_logits"].passed
    assert 0 < wrong["grad_logits"].detectable < 1e-4
    assert wrong.headline == check.headline
    with pytest.raises(KeyError, match="grad_bias was not checked; grad, grad_logits"):
        wrong["grad_bias"]


def test_a_report_is_written_in_every_format(tmp_path: Path, wrong: gradprobe.Report) -> None:
    assert json.loads(wrong.to_json())["schema"] == "gradprobe/report/1"
    assert wrong.to_dict()["verdict"] == "fail"
    assert wrong.to_markdown().startswith("## gradprobe\n")
    path = tmp_path / "report.html"
    assert wrong.to_html(path) == path.read_text(encoding="utf-8")
    # A small gradient has its pictures.
    assert wrong.to_html().count("<svg") >= 3
    assert str(wrong) == wrong.to_text().rstrip("\n")


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.names: set[str] = set()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.names.add(tag)
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_fragment_for_notebooks_is_closed_and_keeps_to_itself(wrong: gradprobe.Report) -> None:
    fragment = wrong._repr_html_()
    tags = Tags()
    tags.feed(fragment)
    assert tags.open == []
    assert not tags.names & {"html", "body", "script", "link", "img"}
    style = fragment[fragment.index("<style>") + 7 : fragment.index("</style>")]
    selectors = [rule.split("{")[0] for rule in style.split("}") if rule.strip()]
    assert selectors
    for selector in selectors:
        for part in selector.split(","):
            assert part.strip().startswith(".gradprobe-report"), part


def test_text_from_arrays_is_escaped(case: dict[str, Any]) -> None:
    case["weight"] = case["weight"].T.copy().T
    report = gradprobe.check(**case)
    assert report.notes
    assert "<p>weight was copied" in report._repr_html_()
