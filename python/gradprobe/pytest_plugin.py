"""The pytest plugin: a fixture and three options. It needs no configuration.

It imports no array library.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ._assert import assert_gradients, self_test
from ._errors import GradientError
from ._html import framed
from ._report import Report

REPORTS: pytest.StashKey[list[tuple[str, Report]]] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("gradprobe", "checks of gradients")
    group.addoption(
        "--gradprobe-device", metavar="D", help="device that computes, such as cpu [default: auto]"
    )
    group.addoption(
        "--gradprobe-save-failures",
        metavar="DIR",
        type=Path,
        help="save the arrays of each check that does not pass in DIR",
    )
    group.addoption(
        "--gradprobe-html",
        metavar="FILE",
        type=Path,
        help="write the reports of the checks that did not pass to FILE",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[REPORTS] = []


class Gradprobe:
    """The fixture `gradprobe`: call it as `gradprobe.assert_gradients`."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._request = request

    def __call__(self, *arrays: Any, **arguments: Any) -> Report:
        """Checks gradients, and fails the test if one is wrong. See assert_gradients."""
        __tracebackhide__ = True
        option = self._request.config.getoption
        if option("--gradprobe-device") and not arrays:
            arguments.setdefault("device", option("--gradprobe-device"))
        arguments.setdefault("save_failures", option("--gradprobe-save-failures"))
        arguments.setdefault("name", self._request.node.name)
        if option("--gradprobe-html") and not arrays:
            arguments.setdefault("picture", True)
        try:
            report = assert_gradients(*arrays, **arguments)
        except GradientError as error:
            self._record(error.report)
            raise
        self._record(report)
        return report

    def _record(self, report: Report) -> None:
        node = self._request.node
        node.user_properties.append(("gradprobe", report.verdict))
        for check in report.checks:
            node.user_properties.append((f"gradprobe.{check.name}", check.headline))
        if not report.passed:
            self._request.config.stash[REPORTS].append((node.nodeid, report))


@pytest.fixture(scope="session")
def _gradprobe_works() -> None:
    """Checks once that a corrupted gradient fails: a checker that passes everything is no use."""
    self_test()


@pytest.fixture
def gradprobe(request: pytest.FixtureRequest, _gradprobe_works: None) -> Iterator[Gradprobe]:
    """Checks gradients: call it with the arguments of gradprobe.assert_gradients."""
    yield Gradprobe(request)


def pytest_sessionfinish(session: pytest.Session) -> None:
    path: Path | None = session.config.getoption("--gradprobe-html")
    if path is None:
        return
    reports = session.config.stash[REPORTS]
    pages = ((nodeid, report.headline, report.to_html()) for nodeid, report in reports)
    path.write_text(framed(pages), encoding="utf-8")


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    reports = config.stash[REPORTS]
    if not reports:
        return
    terminalreporter.section("gradients")
    for nodeid, report in reports:
        for check in report.checks:
            if not check.passed:
                terminalreporter.line(f"{nodeid}: {check.headline}")
