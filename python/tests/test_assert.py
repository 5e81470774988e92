"""Checks that raise, and the pytest plugin."""

from __future__ import annotations

import json
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradprobe


def test_a_right_gradient_returns_its_report(case: dict[str, Any]) -> None:
    assert gradprobe.assert_gradients(**case).passed


def test_the_message_names_cause_fix_and_entries(tmp_path: Path, case: dict[str, Any]) -> None:
    case["grad"] = case["grad"].copy()
    case["grad"][3, 1] += 0.5
    with pytest.raises(gradprobe.GradientError) as raised:
        gradprobe.assert_gradients(**case, save_failures=tmp_path, name="a test[1/2]")
    error = raised.value
    assert isinstance(error, AssertionError)
    assert isinstance(error, gradprobe.GradprobeError)
    assert error.report.verdict == "fail"
    lines = str(error).splitlines()
    assert lines[0].startswith("FAIL: grad is wrong only in row 3, column 1")
    assert "Mismatched elements: 1 / 60 (1.7%)" in lines
    assert any(
        line.startswith("Greatest absolute difference: 0.5 at index (3, 1)") for line in lines
    )
    assert any(line.startswith("  grad[3, 1]: ") for line in lines)
    saved = tmp_path / "a-test-1-2.safetensors"
    assert lines[-1] == f"repeat: gradprobe check {saved}"
    assert gradprobe.check_file(saved)["grad"].wrong == 1


def test_own_frames_are_hidden(case: dict[str, Any]) -> None:
    case["grad"] = -case["grad"]
    with pytest.raises(gradprobe.GradientError) as raised:
        gradprobe.assert_gradients(**case)
    frames = [frame for frame, _ in traceback.walk_tb(raised.value.__traceback__)]
    assert all(
        frame.f_locals.get("__tracebackhide__")
        for frame in frames
        if "gradprobe" in frame.f_globals["__name__"]
    )


def test_the_message_can_be_replaced(case: dict[str, Any]) -> None:
    case["grad"] = -case["grad"]
    with pytest.raises(gradprobe.GradientError, match=r"^mine$"):
        gradprobe.assert_gradients(**case, msg="mine")
    with pytest.raises(gradprobe.GradientError, match=r"^mine: FAIL"):
        gradprobe.assert_gradients(**case, msg=lambda text: f"mine: {text}")


def test_an_inconclusive_check_raises_unless_it_is_allowed(case: dict[str, Any]) -> None:
    case = {name: it for name, it in case.items() if not name.startswith("grad_")}
    case["atol"] = 1e3
    with pytest.raises(gradprobe.Inconclusive):
        gradprobe.assert_gradients(**case)
    report = gradprobe.assert_gradients(**case, allow_inconclusive=True)
    assert report.verdict == "inconclusive"


def test_the_self_test_passes() -> None:
    gradprobe.self_test()


TESTS = """
    import numpy as np

    X = np.array([[1.0, 2.0], [-1.0, 0.5]])
    W = np.array([[0.5, -0.5], [0.0, 1.0], [0.25, 0.0]])
    T = np.array([1, 0])

    def grad(factor):
        z = X @ W.T
        p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
        p[[0, 1], T] -= 1
        return factor * p @ W / 2

    def test_right(gradprobe):
        assert gradprobe(input=X, weight=W, target=T, grad=grad(1.0)).passed

    def test_wrong(gradprobe):
        gradprobe(input=X, weight=W, target=T, grad=grad(-1.0))
"""


def test_the_plugin_reports_failures(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(TESTS)
    run = pytester.runpytest_subprocess(
        "--gradprobe-device=cpu",
        "--gradprobe-save-failures=failures",
        "--gradprobe-html=report.html",
        "--junit-xml=junit.xml",
    )
    run.assert_outcomes(passed=1, failed=1)
    run.stdout.fnmatch_lines(
        [
            "E*FAIL: grad is minus the correct gradient*",
            "*= gradients =*",
            "*::test_wrong: FAIL: grad is minus the correct gradient*",
        ]
    )
    # The traceback ends in the test, not in gradprobe.
    assert "_assert.py" not in run.stdout.str()
    assert (pytester.path / "failures" / "test_wrong.safetensors").is_file()
    page = (pytester.path / "report.html").read_text()
    assert page.count("<iframe") == 1
    junit = (pytester.path / "junit.xml").read_text()
    assert '<property name="gradprobe" value="fail"' in junit
    assert '<property name="gradprobe" value="pass"' in junit


def test_the_plugin_imports_no_array_library(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_nothing(request):
            imported = set(sys.modules)
            assert "gradprobe.pytest_plugin" in imported
            assert not imported & {"torch", "jax", "numpy"}
        """
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=1)


def test_json_has_no_surprise(case: dict[str, Any]) -> None:
    case["grad"] = np.full_like(case["grad"], np.nan)
    report = gradprobe.check(**case)
    assert report["grad"].findings[0].code == "not-finite"
    json.loads(report.to_json(), parse_constant=lambda _: pytest.fail("NaN is not JSON"))
