"""The check of a network by its model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

import gradprobe

EXAMPLES = Path(__file__).parents[2] / "examples"
CHAIN = "linear:fc1 layer_norm:norm gelu linear:fc2 cross_entropy"


def case(dtype: torch.dtype = torch.float32) -> dict[str, Any]:
    """Returns the tensors of a small network, with all gradients by PyTorch."""
    torch.manual_seed(3)
    fc1, norm, fc2 = torch.nn.Linear(6, 9), torch.nn.LayerNorm(9), torch.nn.Linear(9, 4)
    modules = torch.nn.ModuleDict({"fc1": fc1, "norm": norm, "fc2": fc2}).to(dtype)
    x = torch.randn(12, 6, dtype=dtype, requires_grad=True)
    target = torch.randint(0, 4, (12,))
    values = {"fc1": fc1(x)}
    values["norm"] = norm(values["fc1"])
    values["gelu"] = functional.gelu(values["norm"])
    values["fc2"] = fc2(values["gelu"])
    for value in values.values():
        value.retain_grad()
    functional.cross_entropy(values["fc2"], target).backward()
    parameters = dict(modules.named_parameters())
    with_gradients = {"input": x, **values, **parameters}
    return {
        "input": x,
        "target": target,
        **modules.state_dict(),
        **{f"grad.{name}": tensor.grad for name, tensor in with_gradients.items()},
    }


def test_right_gradients_of_all_tensors_pass() -> None:
    for dtype in (torch.float32, torch.float64):
        report = gradprobe.check(model=CHAIN, tensors=case(dtype))
        assert report.passed, str(report)
        assert len(report.checks) == 11
        assert report.checks[0].name == "grad.fc2"
        assert report.checks[0].layer == "cross_entropy"


def test_the_wrong_layer_is_named() -> None:
    tensors = case()
    tensors["grad.gelu"] = 1.01 * tensors["grad.gelu"]
    report = gradprobe.check(model=CHAIN, tensors=tensors)
    wrong = [check for check in report.checks if not check.passed]
    assert [(check.name, check.layer) for check in wrong if check.layer == "fc2"] == [
        ("grad.gelu", "fc2")
    ]
    assert str(report).startswith("Wrong by")
    with pytest.raises(gradprobe.GradientError, match=r"grad\.gelu"):
        gradprobe.assert_gradients(model=CHAIN, tensors=tensors)


def test_a_model_is_a_chain_a_mapping_or_a_file(tmp_path: Path) -> None:
    nodes = [
        {"name": "fc1", "op": "linear"},
        {"name": "norm", "op": "layer_norm"},
        {"name": "gelu", "op": "gelu"},
        {"name": "fc2", "op": "linear"},
        {"name": "loss", "op": "cross_entropy"},
    ]
    model = {"format": "gradprobe.model/1", "nodes": nodes}
    path = tmp_path / "model.json"
    path.write_text(json.dumps(model))
    for given in (model, path, str(path)):
        assert gradprobe.check(model=given, tensors=case()).passed
    # Arguments and tensors are one.
    tensors = case()
    arguments = {name: tensors.pop(name) for name in ("input", "target")}
    assert gradprobe.check(model=CHAIN, tensors=tensors, **arguments).passed


def test_a_case_is_saved_and_checked() -> None:
    report = gradprobe.check_file(EXAMPLES / "mlp-no-mask.safetensors")
    assert report.checks[0].findings[0].code == "layer-term-missing"
    assert report.checks[0].layer == "relu"


def test_a_saved_case_gives_the_same_report(tmp_path: Path) -> None:
    path = tmp_path / "case.safetensors"
    gradprobe.save_case(path, model=CHAIN, tensors=case())
    report = gradprobe.check_file(path)
    same = gradprobe.check(model=CHAIN, tensors=case())
    assert [check.data for check in report.checks] == [check.data for check in same.checks]


def test_wrt_selects_tensors_and_numeric_keeps_them() -> None:
    tensors = case(torch.float64)
    report = gradprobe.check(
        model=CHAIN, tensors=tensors, wrt=["input", "fc1.weight"], numeric=True
    )
    assert [check.name for check in report.checks] == ["grad.input", "grad.fc1.weight"]
    for check in report.checks:
        numeric = np.asarray(report.numeric(check.name))
        np.testing.assert_allclose(numeric, tensors[check.name].numpy(), rtol=1e-9, atol=1e-14)


def test_what_cannot_be_checked_gets_one_sentence() -> None:
    tensors = case()
    for arguments, message in (
        ({"model": "linear:fc1 rellu cross_entropy"}, "did you mean relu"),
        ({"model": CHAIN, "wrt": "fc3"}, "wrt is fc3, but the tensors to check are grad.fc2"),
        ({"model": CHAIN, "reduction": "sum"}, "reduction is sum, but a network takes it in its"),
        ({"model": CHAIN, "sample": 3}, "sample is 3, but a network"),
        ({"model": 3}, "model has type int, but must be a chain"),
        ({}, "pass its model too"),
    ):
        with pytest.raises(gradprobe.CaseError, match=message):
            gradprobe.check(tensors=tensors, **arguments)  # type: ignore[arg-type]
