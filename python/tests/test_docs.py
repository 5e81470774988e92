"""The examples of the documentation run, and print what they say."""

from __future__ import annotations

import contextlib
import doctest
import io
import re
from pathlib import Path
from typing import Any

import pytest

import gradprobe._check
import gradprobe._check_function

ROOT = Path(__file__).parents[2]
PYTHON = re.compile(r"```python\n(.*?)```(?:\n\n```text\n(.*?)```)?", re.DOTALL)


def examples(name: str) -> list[tuple[str, str]]:
    text = (ROOT / name).read_text(encoding="utf-8")
    return [(code, output) for code, output in PYTHON.findall(text) if "def test_" not in code]


def words(text: str) -> list[str]:
    return text.split()


def test_the_examples_of_the_readme_print_what_it_says() -> None:
    names: dict[str, Any] = {}
    found = examples("README.md")
    assert len(found) == 2
    for code, expected in found:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, names)
        assert words(printed.getvalue()) == words(expected)


@pytest.mark.parametrize("code", [code for code, _ in examples("docs/python.md")])
def test_the_examples_of_the_guide_run(code: str) -> None:
    exec(code, {"__name__": "example"})


def test_the_guide_has_all_its_users() -> None:
    assert len(examples("docs/python.md")) >= 4


def test_docstrings_print_what_they_say() -> None:
    for module in (gradprobe._check, gradprobe._check_function):
        tried = doctest.testmod(module)
        assert tried.failed == 0
        assert tried.attempted > 2
