"""Reports on functions: causes, sentences and formats."""

from __future__ import annotations

import dataclasses
import json
import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

import gradprobe
from gradprobe._assert import message
from gradprobe._function.diagnose import diagnose
from gradprobe._function.report import FunctionReport

RANDOM = np.random.default_rng(5)
W, X = RANDOM.standard_normal((6, 6)), RANDOM.standard_normal((6, 9))
SLOPE = (1 - np.tanh(W @ X) ** 2) @ X.T


def loss(w: Any) -> Any:
    return np.tanh(w @ X).sum()


def masked(rows: Any, columns: Any, value: Any) -> np.ndarray:
    grad = SLOPE.copy()
    grad[rows, columns] = value(grad[rows, columns])
    return grad


CAUSES = {
    "accumulated": 10 * SLOPE,
    "sign-flipped": -SLOPE,
    "scaled": 1.37 * SLOPE,
    "averaged-over-workers": SLOPE / 9,
    "loss-scaled": 65536 * SLOPE,
    "norm-clipped": SLOPE / np.linalg.norm(SLOPE),
    "all-zero": 0 * SLOPE,
    "not-finite": masked(2, 3, lambda g: g * np.nan),
    "half-precision": SLOPE.astype(np.float16).astype(np.float64),
    "value-clipped": np.clip(SLOPE, -2, 2),
    "transposed": SLOPE.T.copy(),
    "rows-permuted": SLOPE[[1, 0, 2, 3, 5, 4]],
    "columns-permuted": SLOPE[:, [5, 1, 2, 3, 4, 0]],
    "rows-zero": masked(slice(2, 4), slice(None), lambda g: 0 * g),
    "columns-zero": masked(slice(None), 1, lambda g: 0 * g),
    "rows-scaled": masked(4, slice(None), lambda g: 3 * g),
    "noisy": SLOPE * (1 + 0.05 * np.random.default_rng(6).standard_normal(SLOPE.shape)),
    "unknown": SLOPE + 0.3 * np.abs(W),
}


@pytest.mark.parametrize("code", CAUSES)
def test_a_wrong_gradient_has_a_cause(code: str) -> None:
    report = gradprobe.check_function(loss, W, CAUSES[code])
    finding = report["w"].findings[0]
    assert finding.code == code
    assert finding.code in report.headline
    assert finding.fix
    assert report.headline.startswith("FAIL: ")


def test_a_right_gradient_has_none() -> None:
    report = gradprobe.check_function(loss, W, SLOPE)
    assert report.passed
    assert report["w"].findings == ()
    assert repr(report) == "<Report PASS: w>"
    assert report.taylor_order == pytest.approx(2, abs=0.2)


def test_places_are_told_in_words() -> None:
    rows = gradprobe.check_function(loss, W, CAUSES["rows-zero"])
    assert rows["w"].where == "in rows 2, 3"
    one = gradprobe.check_function(loss, W, masked(2, 3, lambda g: g + 1))
    assert one["w"].where == "only in entry [2,3]"
    assert one["w"].worst[0].index == (2, 3)


def test_an_error_that_only_directions_show_has_words() -> None:
    """No entry that was measured is wrong, as where the budget leaves few entries."""
    numeric = np.full((4, 5), np.nan)
    (finding,) = diagnose("w", "float64", np.ones((4, 5)), numeric, np.full((4, 5), np.nan))
    assert finding.code == "unknown"
    assert "along random directions" in finding.message


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_a_rounded_output_is_noise(dtype: torch.dtype) -> None:
    x = torch.linspace(-2, 2, 30, dtype=torch.float64).reshape(6, 5).requires_grad_()

    def rounded(x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x).to(dtype)

    weights = torch.ones(6, 5, dtype=dtype)
    (grad,) = torch.autograd.grad(rounded(x), x, weights)
    right = gradprobe.check_function(rounded, (x,), (grad,), grad_output=weights)
    assert right.verdict != "fail"
    wrong = gradprobe.check_function(rounded, (x,), (3 * grad,), grad_output=weights)
    assert wrong.verdict == "fail"


def biased(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.conv2d(x.to(bias), weight.to(bias), bias, padding=1)


def test_a_bias_before_a_batch_norm_has_no_gradient() -> None:
    """Its terms cancel, so that only their rounding errors are left."""
    torch.manual_seed(0)
    for _ in range(5):
        conv, norm = torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.BatchNorm2d(4)
        x, target = torch.randn(4, 1, 8, 8), torch.randn(4, 4, 8, 8)
        out = conv(x)
        (arriving,) = torch.autograd.grad((norm(out) * target).sum(), out)
        (grad,) = torch.autograd.grad(conv(x), conv.bias, arriving)

        weight = conv.weight.detach()
        fixed = partial(biased, x, weight)
        bias = conv.bias.detach().requires_grad_()
        right = gradprobe.check_function(fixed, (bias,), (grad,), grad_output=arriving)
        assert right.passed, right
        wrong = gradprobe.check_function(fixed, (bias,), (grad + 1e-3,), grad_output=arriving)
        assert wrong.verdict == "fail"


def test_every_format_has_the_report(tmp_path: Any) -> None:
    report = gradprobe.check_function(loss, W, CAUSES["not-finite"])
    data = json.loads(report.to_json(), parse_constant=lambda _: pytest.fail("not JSON"))
    assert data["schema"] == "gradprobe/function/1"
    assert data["checks"][0]["findings"][0]["code"] == "not-finite"
    path = tmp_path / "report.html"
    assert report.to_html(path) == path.read_text(encoding="utf-8")
    assert "NaN" in report.to_markdown()
    assert "worst entries" in str(report)
    numeric = np.asarray(report.numeric())
    np.testing.assert_allclose(numeric, SLOPE, rtol=1e-8)
    (error, _), _ = report.greatest("w")
    assert math.isfinite(error)


def test_assert_gradients_takes_a_function() -> None:
    assert gradprobe.assert_gradients(loss, W, SLOPE).passed
    with pytest.raises(gradprobe.GradientError) as raised:
        gradprobe.assert_gradients(loss, W, -SLOPE)
    lines = str(raised.value).splitlines()
    assert "Mismatched elements: 36 / 36 (100.0%)" in lines
    assert any(line.startswith("Greatest relative difference: 2 at index") for line in lines)


def test_a_direction_through_several_arrays_has_words() -> None:
    """It may accuse them together and none of them alone."""
    report = gradprobe.check_function(lambda a, b: loss(a) + loss(b), (W, W), (SLOPE, SLOPE))
    together = FunctionReport(dataclasses.replace(report.result, verdict="fail"))
    assert together.headline.startswith("FAIL: random directions")
    assert message(together).startswith("FAIL: random directions")
    assert message(report).startswith("PASS: ")
