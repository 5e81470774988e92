"""gradprobe.torch: every layer of a module, and gradcheck."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from modules import BUGS, MODELS, Square, loss_of, problem, put
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

import gradprobe
import gradprobe.torch
from gradprobe import CaseError, GradientError
from gradprobe.torch import ModuleReport, gradcheck, record


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Keeps torch from waiting for threads that the other processes of the machine delay."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def check(model: nn.Module, x: Any, target: Tensor, **settings: Any) -> ModuleReport:
    with record(model) as rec:
        loss = loss_of(model, x, target)
    return rec.check(loss, **settings)


def accused(report: ModuleReport) -> set[str]:
    """Returns the layers that fail; all calls of one are one."""
    failed = (name for name, layer in report.layers.items() if layer.verdict == "fail")
    return {name.partition("#")[0] for name in failed}


MODES = pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])


@MODES
@pytest.mark.parametrize("name", MODELS)
def test_right_modules_are_not_accused(name: str, train: bool) -> None:
    dtype = torch.float32 if train else torch.float64
    report = check(*problem(name, train, dtype), budget=20_000)
    assert report.verdict != "fail", report
    assert report.suspect is None
    assert all(layer.checks for layer in report.layers.values()), report


@MODES
@pytest.mark.parametrize("name", MODELS)
def test_the_wrong_layer_is_named_and_no_other(name: str, train: bool) -> None:
    model, x, target = problem(name, train, torch.float32 if train else torch.float64)
    bug = (list(MODELS).index(name) + train) % 3
    layer = MODELS[name].layers[bug]
    put(BUGS[bug], model.get_submodule(layer))
    report = check(model, x, target, budget=20_000)
    wanted = layer or type(model).__name__
    assert accused(report) == {wanted}, report
    assert report.suspect is not None
    assert report.headline.startswith(f"FAIL: {report.suspect}: the gradient of ")


class Gelu(nn.Module):
    """Operations of its own between two layers, of which one may be wrong."""

    def __init__(self, slope: float = 1.0) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.last = nn.Linear(4, 3)
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        h = functional.gelu(self.first(x))
        # The value is that of h; the gradient is off by the slope.
        h = self.slope * h + ((1 - self.slope) * h).detach()
        return self.last(h)


def test_an_operation_outside_of_the_layers_accuses_the_module_that_has_it() -> None:
    torch.manual_seed(0)
    x, target = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    model = nn.Sequential(nn.Linear(3, 3), Gelu(), nn.Linear(3, 3))
    assert check(model, x, target).passed
    model[1].slope = 1.1
    report = check(model, x, target)
    assert accused(report) == {"1"}
    assert report.suspect == "1"
    assert report["1.first.output"].findings[0].code == "scaled"


def test_the_report() -> None:
    model, x, target = problem("mlp", True)
    put("scaled", model[2])
    report = check(model, x, target)
    assert list(report.layers) == ["4", "3", "2", "1", "0"]
    assert isinstance(report, gradprobe.Report)
    lines = str(report).splitlines()
    assert lines[0].startswith("FAIL: 2: the gradient of 2.input is 1.01 times the right one")
    assert [line.split()[:3] for line in lines[2:7]] == [
        ["PASS", "4", "Linear:"],
        ["PASS", "3", "Tanh:"],
        ["FAIL", "2", "WrongLinear:"],
        ["PASS", "1", "ReLU:"],
        ["PASS", "0", "Linear:"],
    ]
    assert repr(report).startswith("<Report FAIL: 2: 2.input (scaled)")
    data = json.loads(report.to_json())
    assert (data["schema"], data["suspect"]) == ("gradprobe/module/1", "2")
    assert [layer["name"] for layer in data["layers"]] == list(report.layers)
    assert "<h1>gradprobe: fail</h1>" in report.to_html()
    assert "| 2 | WrongLinear | fail |" in report.to_markdown()
    assert np.asarray(report.numeric("2.weight")).shape == (4, 5)
    assert report.greatest("2.weight")[1][0] == pytest.approx(0.01, rel=1e-3)
    assert "the loss is not checked" in report.notes[0]
    with pytest.raises(TypeError, match=r"read report\.passed"):
        bool(report)


def test_the_loss_is_checked_if_its_function_is_given() -> None:
    model, x, target = problem("mlp", True)

    def criterion(output: Tensor) -> Tensor:
        return functional.cross_entropy(output, target)

    with record(model) as rec:
        loss = criterion(model(x))
    report = rec.check(loss, loss_fn=criterion)
    assert report.passed
    assert next(iter(report.layers)) == "loss"
    assert not report.notes
    with record(model) as rec:
        loss = 2 * criterion(model(x))
    report = rec.check(loss, loss_fn=criterion)
    assert accused(report) == {"loss"}
    assert report.layers["loss"].checks[0].findings[0].code == "accumulated"


def test_nothing_of_the_user_changes() -> None:
    model, x, target = problem("cnn", True)
    with record(model) as rec:
        loss = loss_of(model, x, target)
    state = copy.deepcopy(model.state_dict())
    draws = torch.get_rng_state()
    report = rec.check(loss)
    assert report.passed
    assert torch.equal(torch.get_rng_state(), draws)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert x.grad is None
    assert all(it.grad is None and it.requires_grad for it in model.parameters())
    assert not any(it._forward_hooks or it._forward_pre_hooks for it in model.modules())
    # The graph is still there.
    loss.backward()
    assert x.grad is not None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_dtypes(dtype: torch.dtype) -> None:
    model, x, target = problem("mlp-norm", False, dtype)
    assert check(model, x, target).verdict != "fail"
    put("sign of a row", model[1])
    assert accused(check(model, x, target)) == {"1"}


def test_autocast() -> None:
    model, x, target = problem("mlp", True)
    with record(model) as rec, torch.autocast("cpu", torch.bfloat16):
        loss = loss_of(model, x, target)
    report = rec.check(loss)
    assert report.verdict != "fail", report
    assert report["2.weight"].dtype == "bfloat16"


def test_shared_layers_have_a_report_for_each_call() -> None:
    report = check(*problem("loop", True))
    assert list(report.layers) == ["Loop", "head", "step#3", "step#2", "step", "enter"]


def test_in_place_layers() -> None:
    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.relu, self.last = nn.Linear(3, 4), nn.ReLU(True), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            h = self.first(x)
            self.relu(h)  # The result is in h.
            return self.last(2 * h)

    torch.manual_seed(0)
    x, target = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    report = check(InPlace(), x, target)
    assert report.passed, report
    assert list(report.layers) == ["InPlace", "last", "relu", "first"]


def test_in_place_layers_on_a_view_are_refused() -> None:
    class OnView(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.relu, self.last = nn.Linear(3, 4), nn.ReLU(True), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.relu(self.first(x).view(-1, 4)))

    torch.manual_seed(0)
    report = check(OnView(), torch.randn(4, 3), torch.tensor([0, 1, 2, 0]))
    assert report.verdict == "inconclusive"
    assert report.layers["relu"].notes[0].startswith("relu changes its input in place, and the")
    assert "INCONCLUSIVE: relu: relu changes its input" in report.headline


def test_checkpoints() -> None:
    class Segments(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(3, 4), nn.Linear(4, 3)
            self.inside = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.3), nn.Tanh())
            self.reentrant = False

        def forward(self, x: Tensor) -> Tensor:
            h = checkpoint(self.inside, self.first(x), use_reentrant=self.reentrant)
            return self.last(h)

    torch.manual_seed(0)
    model = Segments()
    x, target = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    report = check(model, x, target)
    assert report.passed, report
    assert {"inside.0", "inside.1", "inside.2"} <= set(report.layers)
    put("scaled", model.inside[0])
    # The hooks see the recomputation too, and must not record it.
    with record(model) as rec:
        loss = loss_of(model, x, target)
        loss.backward(retain_graph=True)
    assert accused(rec.check(loss)) == {"inside.0"}
    model.reentrant = True
    with pytest.raises(CaseError, match="use_reentrant=False"):
        check(model, x, target)


def test_layers_under_no_grad_are_left_alone() -> None:
    class Frozen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Linear(3, 4), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                h = self.body(x)
            return self.head(h)

    torch.manual_seed(0)
    report = check(Frozen(), torch.randn(4, 3), torch.tensor([0, 1, 2, 0]))
    assert report.passed, report
    assert list(report.layers) == ["head"]
    assert "no gradient arrives at body" in report.notes


def test_a_detached_parameter_is_found() -> None:
    class Detached(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return functional.linear(x, self.weight.detach(), self.bias)

    torch.manual_seed(0)
    model = nn.Sequential(Detached(3, 4), nn.Tanh(), nn.Linear(4, 3))
    report = check(model, torch.randn(4, 3), torch.tensor([0, 1, 2, 0]))
    assert accused(report) == {"0"}
    assert report["0.weight"].findings[0].code == "all-zero"


def test_tied_weights() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.body = nn.Embedding(5, 3), nn.Linear(3, 3)

        def forward(self, tokens: Tensor) -> Tensor:
            h = self.body(self.embedding(tokens).mean(1))
            return functional.linear(h, self.embedding.weight)

    torch.manual_seed(0)
    report = check(Tied(), torch.randint(0, 5, (4, 3)), torch.tensor([0, 1, 2, 0]))
    assert report.passed, report
    assert {"Tied.embedding.weight", "embedding.weight"} <= {it.name for it in report.checks}


def test_keywords_and_dicts() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Bilinear(3, 3, 4)

        def forward(self, *, left: Tensor, batch: dict[str, Tensor]) -> dict[str, Any]:
            scores = self.inner(left, batch["right"])
            return {"scores": scores, "size": 4, "both": (scores * 2, None)}

    torch.manual_seed(0)
    model = Named()
    left, right = torch.randn(4, 3, requires_grad=True), torch.randn(4, 3, requires_grad=True)
    with record(model) as rec:
        out = model(left=left, batch={"right": right})
        loss = (out["scores"].sin() + out["both"][0]).sum()
    report = rec.check(loss)
    assert report.passed, report
    names = [check.name for check in report.layers["inner"].checks]
    assert names == ["inner.input.0", "inner.input.1", "inner.weight", "inner.bias"]


def test_deliberate_gradients_are_refused() -> None:
    for settings in ({"scale_grad_by_freq": True}, {"max_norm": 1.0}):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Embedding(5, 3, **settings), nn.Flatten(), nn.Linear(6, 3))
        report = check(model, torch.randint(0, 5, (3, 2)), torch.tensor([0, 1, 2]))
        assert report.verdict == "inconclusive"
        assert not report.layers["0"].checks


def test_tensors_that_a_layer_keeps_accuse_nobody() -> None:
    class Penalized(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            out = super().forward(x)
            self.penalty = out.square().mean()
            return out

    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = Penalized(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.body(x) + self.body.penalty

    torch.manual_seed(0)
    x = torch.randn(4, 3)
    with record(Sum()) as rec:
        loss = rec.model(x).square().sum()
    report = rec.check(loss)
    assert report.verdict == "inconclusive", report
    assert report.layers["Sum"].notes[0].startswith("as a whole it is right")
    put("scaled", rec.model.body)
    with record(rec.model) as rec:
        loss = rec.model(x).square().sum()
    assert "body" in accused(rec.check(loss))


def test_what_cannot_be_repeated_is_inconclusive() -> None:
    class Noisy(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * torch.rand_like(x)

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 3), Noisy())
    report = check(model, torch.randn(3, 3), torch.tensor([0, 1, 2]))
    assert report.verdict == "inconclusive"
    assert "does not repeat what was recorded" in report.layers["1"].notes[0]


def test_cases_that_are_refused() -> None:
    model, x, target = problem("mlp", True)
    with record(model) as rec:
        pass
    with pytest.raises(CaseError, match="no layer was recorded"):
        rec.check(loss_of(model, x, target))
    with record(model) as rec, torch.no_grad():
        loss = loss_of(model, x, target)
    with pytest.raises(CaseError, match="no_grad"):
        rec.check(loss)
    with record(model) as rec:
        loss = loss_of(model, x, target)
        output = model(x)
    with pytest.raises(CaseError, match="must be a scalar"):
        rec.check(output)
    with pytest.raises(CaseError, match="called 2 times"):
        rec.check(loss, loss_fn=lambda output: output.sum())
    with pytest.raises(CaseError, match="does not depend on any"):
        rec.check(torch.ones(1, requires_grad=True).sum())
    loss.backward()
    with pytest.raises(CaseError, match=r"before loss\.backward\(\)"):
        rec.check(loss)


def test_compiled_models_are_refused() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].compile(backend="eager")
    with pytest.raises(CaseError, match="the layer 1 is compiled"):
        record(model)
    with pytest.raises(CaseError, match="the model is compiled"):
        record(torch.compile(nn.Linear(3, 3), backend="eager"))


def test_a_budget_uses_directions() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(40, 60), nn.Tanh(), nn.Linear(60, 3))
    x, target = torch.randn(8, 40), torch.randint(0, 3, (8,))
    report = check(model, x, target, budget=2000)
    assert report.verdict != "fail", report
    assert report.layers["0"].calls <= 2000
    put("scaled", model[0])
    assert accused(check(model, x, target, budget=2000)) == {"0"}


def parameters(*shapes: tuple[int, ...], dtype: torch.dtype = torch.float64) -> tuple[Tensor, ...]:
    torch.manual_seed(0)
    return tuple(torch.randn(shape, dtype=dtype, requires_grad=True) for shape in shapes)


RIGHT = {
    "square": (Square.apply, [(3, 4)]),
    "softmax": (lambda x: torch.softmax(x, -1), [(3, 4)]),
    "matmul": (torch.matmul, [(3, 4), (4, 2)]),
    "solve": (torch.linalg.solve, [(3, 3), (3, 2)]),
    "several outputs": (lambda x: (x.sin(), x.argmax(), x.sum(0)), [(3, 4)]),
    "complex output": (lambda x: torch.fft.fft(x), [(3, 4)]),
    "unused": (lambda x, y: x.exp(), [(3,), (2,)]),
}


@pytest.mark.parametrize("name", RIGHT)
def test_gradcheck_of_right_functions(name: str) -> None:
    func, shapes = RIGHT[name]
    inputs = parameters(*shapes)
    assert gradcheck(func, inputs)
    # The original cannot take an integer among the outputs.
    if name != "several outputs":
        assert torch.autograd.gradcheck(func, inputs)


def test_gradcheck_takes_single_precision() -> None:
    inputs = parameters((3, 4), (4, 2), dtype=torch.float32)
    assert gradcheck(torch.matmul, inputs)
    assert gradcheck(lambda x: x.tanh().sum(), inputs[0])


class Power(torch.autograd.Function):
    """x^2 with a gradient that is off by a factor."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.factor = factor
        return x * x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return ctx.factor * 2 * x * grad, None


@pytest.mark.parametrize(("factor", "torch_passes"), [(1.0001, True), (1.01, False), (-1, False)])
def test_gradcheck_of_wrong_functions(factor: float, torch_passes: bool) -> None:
    def func(x: Tensor) -> Tensor:
        return Power.apply(x, factor)

    inputs = parameters((3, 4))
    assert torch.autograd.gradcheck(func, inputs, raise_exception=False) is torch_passes
    assert gradcheck(func, inputs, raise_exception=False) is False
    with pytest.raises(GradientError, match=r"the gradient of inputs\[0\] is") as caught:
        gradcheck(func, inputs)
    assert caught.value.report["inputs[0]"].wrong == 12
    assert gradcheck(func, inputs, rtol=2e-2, raise_exception=False) is (factor > 0)


def test_gradcheck_refuses() -> None:
    (x,) = parameters((3,))
    for name in ("check_batched_grad", "check_batched_forward_grad", "check_forward_ad"):
        with pytest.raises(CaseError, match=name):
            gradcheck(torch.sin, x, **{name: True})
    with pytest.raises(CaseError, match="check_backward_ad=False"):
        gradcheck(torch.sin, x, check_backward_ad=False)
    with pytest.raises(CaseError, match="no tensor requires grad"):
        gradcheck(torch.sin, x.detach())
    with pytest.raises(CaseError, match="no output requires grad"):
        gradcheck(torch.argmax, x)
    with pytest.raises(CaseError, match="complex"):
        gradcheck(torch.abs, torch.ones(2, dtype=torch.complex128, requires_grad=True))
    with pytest.raises(CaseError, match="it is random"):
        gradcheck(lambda x: functional.dropout(x, 0.5), x)
