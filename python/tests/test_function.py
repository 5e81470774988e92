"""check_function: names, trees, refusals, kinks, complex steps, budgets, rows."""

from __future__ import annotations

import collections
import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import gradprobe
from gradprobe._errors import CaseError
from gradprobe._function.result import FunctionResult


def check_function(*args: Any, **settings: Any) -> FunctionResult:
    """Returns the numbers behind the report."""
    return gradprobe.check_function(*args, **settings).result


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


class Counted:
    """A function that counts its calls."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        self.fn = fn
        self.calls = 0

    def __call__(self, *inputs: Any) -> Any:
        self.calls += 1
        return self.fn(*inputs)


def test_a_right_and_a_wrong_gradient() -> None:
    x = rng().normal(size=(3, 4))
    grad = np.cos(x)
    right = check_function(lambda x: np.sum(np.sin(x)), x, grad)
    assert right.verdict == "pass"
    assert right.every_entry
    assert right.taylor_order == pytest.approx(2, abs=0.2)
    check = right.checks[0]
    assert (check.name, check.shape, check.entries, check.compared) == ("x", (3, 4), 12, 12)
    assert check.detectable is not None
    assert check.detectable < 1e-6
    grad[2, 1] *= 1.0001
    wrong = check_function(lambda x: np.sum(np.sin(x)), x, grad)
    assert wrong.verdict == "fail"
    assert wrong.checks[0].wrong == 1
    worst = wrong.checks[0].worst[0]
    assert (worst.index, worst.place, worst.decision) == ((2, 1), "x[2,1]", "wrong")
    assert worst.analytic == grad[2, 1]
    assert worst.rel_err == pytest.approx(1e-4, rel=1e-3)
    assert wrong.taylor_order == pytest.approx(1, abs=0.2)


def test_the_result_is_plain_python() -> None:
    x = rng().normal(size=3)
    result = check_function(lambda x: np.sum(x**2), x, 2.1 * x)
    for value in (result.calls, result.seconds, result.taylor_order, result.function_noise):
        assert type(value) in (int, float)
    check = result.checks[0]
    numbers = (check.noise, check.eps, check.detectable, *check.rel_err, check.worst[0].numeric)
    assert all(type(value) is float for value in numbers)
    assert all(type(value) is int for value in (check.wrong, check.kinks, check.undecided))
    assert all(type(i) is int for i in check.worst[0].index)


Layer = collections.namedtuple("Layer", ["w", "b"])


def test_names_of_trees() -> None:
    params: dict[str, Any] = {
        "dense": Layer(rng(1).normal(size=(4, 2)), rng(2).normal(size=2)),
        "gain": 1.5,
    }
    x = rng(3).normal(size=(5, 4))

    def loss(params: Any, x: Any) -> Any:
        layer = params["dense"]
        return params["gain"] * np.sum((x @ layer.w + layer.b) ** 2)

    y = x @ params["dense"].w + params["dense"].b
    grads: dict[str, Any] = {
        "dense": Layer(3 * x.T @ y, 3 * y.sum(0)),
        "gain": float(np.sum(y**2)),
    }
    result = check_function(loss, (params, x), (grads, None))
    assert result.verdict == "pass"
    names = [check.name for check in result.checks]
    assert names == ["params['dense'].w", "params['dense'].b", "params['gain']"]
    grads["dense"].w[3, 1] += 1
    wrong = check_function(loss, (params, x), (grads, None))
    assert wrong.checks[0].worst[0].place == "params['dense'].w[3,1]"
    assert [check.verdict for check in wrong.checks] == ["fail", "pass", "pass"]


def test_names_without_a_signature() -> None:
    x = rng().normal(size=2)
    result = check_function(
        lambda *args: np.sum(args[0] ** 2 * args[1][0]), (x, [x]), (2 * x**2, [x**2])
    )
    assert [check.name for check in result.checks] == ["inputs[0]", "inputs[1][0]"]
    result = check_function(np.linalg.norm, (x,), (x / np.linalg.norm(x),), names="point")
    assert [check.name for check in result.checks] == ["point"]
    assert result.verdict == "pass"


def test_integers_none_and_constants_are_left_alone() -> None:
    x = rng().normal(size=(4, 3))

    def loss(x: Any, index: Any, mode: str, nothing: None) -> Any:
        assert mode == "sum"
        assert nothing is None
        assert index.dtype == np.int64
        return np.sum(x[index] ** 2)

    index = np.array([0, 0, 2])
    grad = np.zeros_like(x)
    np.add.at(grad, index, 2 * x[index])
    result = check_function(loss, (x, index, "sum", None), (grad, None, None, None))
    assert result.verdict == "pass"
    assert len(result.checks) == 1


@pytest.mark.parametrize(
    ("grads", "message"),
    [
        ({"w": np.ones(3)}, r"the keys differ: 'b'"),
        ({"w": np.ones(2), "b": np.ones(1)}, r"expected the shape \(3,\), found \(2,\)"),
        ({"w": [np.ones(3)], "b": np.ones(1)}, r"\['w'\]: expected an array, found a list"),
        ({"w": None, "b": None}, r"no gradient of a floating-point input"),
    ],
)
def test_gradients_that_do_not_fit(grads: Any, message: str) -> None:
    inputs = {"w": np.ones(3), "b": np.ones(1)}
    with pytest.raises(CaseError, match=message):
        check_function(lambda p: np.sum(p["w"]) * np.sum(p["b"]), inputs, grads)


def test_numpy_without_gradients_raises() -> None:
    with pytest.raises(CaseError, match="NumPy computes no gradient"):
        check_function(lambda x: np.sum(x), np.ones(3))


def test_gradients_by_torch_and_jax() -> None:
    x, w = torch.randn(3, 4, dtype=torch.float64), torch.randn(4, dtype=torch.float64)
    assert check_function(lambda x, w: torch.tanh(x @ w).sum(), (x, w)).verdict == "pass"

    def detached(x: Any, w: Any) -> Any:
        return (torch.tanh(x @ w.detach()) * w.sum()).sum()

    wrong = check_function(detached, (x, w))
    assert [check.verdict for check in wrong.checks] == ["pass", "fail"]

    @jax.custom_vjp
    def scaled(x: Any) -> Any:
        return jnp.sin(x)

    scaled.defvjp(lambda x: (jnp.sin(x), x), lambda x, g: (1.01 * g * jnp.cos(x),))
    point = {"x": jnp.linspace(0.1, 1, 5)}
    assert check_function(lambda p: jnp.sum(jnp.sin(p["x"])), point).verdict == "pass"
    assert check_function(lambda p: jnp.sum(scaled(p["x"])), point).verdict == "fail"


def test_a_function_that_differentiates_inside() -> None:
    x = torch.randn(4, dtype=torch.float64, requires_grad=True)

    def penalty(x: Any) -> Any:
        (slope,) = torch.autograd.grad(torch.sin(x).sum(), x, create_graph=True)
        return (slope**2).sum()

    assert check_function(penalty, x).verdict == "pass"


def test_grad_output() -> None:
    x = rng(1).normal(size=(3, 2))
    weights = {"a": rng(2).normal(size=(3, 2)), "b": rng(3).normal(size=2)}

    def fn(x: Any) -> Any:
        return {"a": np.sin(x), "b": x.sum(0) ** 2}

    grad = np.cos(x) * weights["a"] + 2 * x.sum(0) * weights["b"]
    assert check_function(fn, x, grad, grad_output=weights).verdict == "pass"
    assert check_function(fn, x, -grad, grad_output=weights).verdict == "fail"
    with pytest.raises(CaseError, match="not a scalar"):
        check_function(fn, x, grad)
    with pytest.raises(CaseError, match="the keys differ"):
        check_function(fn, x, grad, grad_output={"a": weights["a"]})


def test_an_infinite_output_without_weight() -> None:
    x = rng(1).normal(size=4)
    mask = np.array([1.0, 1.0, 0.0, 1.0])

    def fn(x: Any) -> Any:
        return np.where(mask > 0, x**2, -np.inf)

    assert check_function(fn, x, 2 * x * mask, grad_output=mask).verdict == "pass"


def test_a_function_that_is_not_deterministic() -> None:
    numbers = iter(range(0, 1000, 2))
    with pytest.raises(CaseError, match=r"not deterministic: two calls .* differ by 2 "):
        check_function(lambda x: np.sum(x) + next(numbers), np.ones(3), np.ones(3))
    x = torch.ones(50)
    with pytest.raises(CaseError, match="dropout"):
        check_function(lambda x: torch.nn.functional.dropout(x).sum(), x, torch.ones(50))


def test_nondet_tol() -> None:
    noise = rng(9)
    x = rng().normal(size=5)

    def fn(x: Any) -> Any:
        return np.sum(np.sin(x)) + 1e-9 * noise.normal()

    with pytest.raises(CaseError, match="not deterministic"):
        check_function(fn, x, np.cos(x))
    result = check_function(fn, x, np.cos(x), nondet_tol=1e-7)
    assert result.verdict == "pass"
    assert 1e-10 < result.function_noise < 1e-8


def test_kinks_are_undecided_and_not_wrong() -> None:
    x = rng(4).normal(size=(20, 5))
    x[7, 2] = 0.0
    result = check_function(lambda x: np.sum(np.maximum(x, 0)), x, (x > 0).astype(float))
    assert result.verdict == "pass"
    check = result.checks[0]
    assert (check.kinks, check.wrong, check.undecided) == (1, 0, 0)
    assert check.worst[0].place == "x[7,2]"
    assert check.worst[0].decision == "kink"
    # The maximum of two equal entries.
    ties = np.array([[1.0, 1.0], [3.0, 2.0]])
    result = check_function(lambda t: np.sum(t.max(1)), ties, np.array([[1.0, 0.0], [1.0, 0.0]]))
    assert result.verdict == "inconclusive"
    assert (result.checks[0].kinks, result.checks[0].wrong) == (2, 0)


@pytest.mark.parametrize("distance", [1e-3, 1e-5, 1e-7])
def test_a_kink_beside_the_point(distance: float) -> None:
    x = rng(4).normal(size=20)
    x[3], x[4] = distance, -distance
    result = check_function(lambda x: np.sum(np.maximum(x, 0) ** 1 + x**2), x, (x > 0) + 2 * x)
    assert result.verdict == "pass"
    assert result.checks[0].kinks == 0
    wrong = (x > 0) + 2 * x
    wrong[3] -= 1
    assert check_function(lambda x: np.sum(np.maximum(x, 0) + x**2), x, wrong).verdict == "fail"


def test_zero_and_non_finite_gradients() -> None:
    x, y = rng(1).normal(size=4), rng(2).normal(size=4)
    result = check_function(lambda x, y: np.sum(x**2), (x, y), (2 * x, np.zeros(4)))
    assert result.verdict == "pass"
    assert result.checks[1].detectable is None
    result = check_function(lambda x, y: np.sum(x**2), (x, y), (2 * x, 1e-3 * y))
    assert [check.verdict for check in result.checks] == ["pass", "fail"]
    grad = 2 * x
    grad[1] = np.nan
    result = check_function(lambda x: np.sum(x**2), x, grad)
    assert result.verdict == "fail"
    assert (result.checks[0].wrong, result.checks[0].not_finite) == (1, 1)
    constant = check_function(lambda x: 0 * np.sum(x) + 3.0, x, np.zeros(4))
    assert constant.verdict == "pass"


def test_entries_of_any_size() -> None:
    x = 10.0 ** np.linspace(-9, 6, 16)
    assert check_function(lambda x: np.sum(np.log(x)), x, 1 / x).verdict == "pass"
    grad = 1 / x
    grad[0] *= 1.01
    assert check_function(lambda x: np.sum(np.log(x)), x, grad).checks[0].worst[0].place == "x[0]"


def test_the_edge_of_the_domain() -> None:
    x = np.array([1e-4, 0.3, 2.0])
    result = check_function(lambda x: sum(math.sqrt(v) for v in x), x, 0.5 / np.sqrt(x))
    assert result.verdict == "pass"


def test_tolerances_of_the_user() -> None:
    x = rng(1).normal(size=6)
    x[0] = 0.0
    grad = 1.001 * 2 * x
    assert check_function(lambda x: np.sum(x**2), x, grad, rtol=1e-2).verdict == "pass"
    assert check_function(lambda x: np.sum(x**2), x, grad, rtol=1e-4).verdict == "fail"
    assert check_function(lambda x: np.sum(x**2), x, grad, atol=1.0).verdict == "inconclusive"
    assert check_function(lambda x: np.sum(x**2), x, 2 * x, rtol=1e-5, eps=1e-4).verdict == "pass"
    for name in ("rtol", "atol", "eps", "budget", "seconds"):
        with pytest.raises(CaseError, match=name):
            invalid: dict[str, Any] = {name: -1}
            check_function(lambda x: np.sum(x), x, x, **invalid)


def test_complex_step() -> None:
    x = rng(1).normal(size=(3, 4))

    def fn(x: Any) -> Any:
        return np.sum(np.exp(np.sin(x)) / (1 + x**2))

    inner = np.exp(np.sin(x))
    grad = inner * np.cos(x) / (1 + x**2) - 2 * x * inner / (1 + x**2) ** 2
    counted = Counted(fn)
    result = check_function(counted, x, grad, method="complex-step", names="x")
    assert result.verdict == "pass"
    assert result.method == "complex-step"
    assert result.calls <= counted.calls
    assert result.checks[0].rel_err.norm < 1e-11
    grad[1, 2] *= 1 + 1e-5
    wrong = check_function(fn, x, grad, method="complex-step")
    assert wrong.verdict == "fail"
    assert wrong.checks[0].worst[0].place == "x[1,2]"


@pytest.mark.parametrize(
    ("fn", "message"),
    [
        (lambda x: np.sum(np.abs(x)), "drops the imaginary part"),
        (lambda x: np.sum(x * np.abs(x)), "not analytic"),
        (lambda x: np.sum(x.astype(float) ** 2), "complex input|imaginary"),
        (lambda x: np.sum(np.floor(x) + x), "fails for complex input"),
    ],
)
def test_complex_step_is_refused(fn: Any, message: str) -> None:
    x = rng(1).normal(size=6)
    with pytest.raises(CaseError, match=message):
        check_function(fn, x, np.ones(6), method="complex-step")


def test_complex_step_needs_numpy() -> None:
    with pytest.raises(CaseError, match="only NumPy"):
        check_function(lambda x: (x**2).sum(), torch.ones(3), method="complex-step")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_bisection_finds_one_wrong_entry_of_many(dtype: str) -> None:
    x = rng(1).normal(size=100_000)
    w = rng(2).normal(size=100_000)

    def fn(x: Any) -> Any:
        return np.sum(np.sin(x) * w)

    x = x.astype(dtype)
    grad = (np.cos(x) * w).astype(dtype)
    right = check_function(fn, x, grad, budget=3000)
    assert right.verdict == "pass"
    assert not right.every_entry
    assert right.calls <= 3000
    check = right.checks[0]
    assert check.directions >= 2
    assert check.detectable is not None
    assert check.detectable < 1e-4
    grad[54_321] *= 1.5
    wrong = check_function(fn, x, grad, budget=3000)
    assert wrong.verdict == "fail"
    assert wrong.calls <= 3000
    assert wrong.checks[0].wrong == 1
    assert wrong.checks[0].worst[0].index == (54_321,)
    assert wrong.taylor_order == pytest.approx(1, abs=0.2)


def test_a_factor_within_a_small_budget() -> None:
    x = rng(1).normal(size=5000)
    result = check_function(lambda x: np.sum(np.sin(x)), x, 1.001 * np.cos(x), budget=300)
    assert result.verdict == "fail"
    assert result.calls <= 300
    spent = check_function(lambda x: np.sum(np.sin(x)), x, np.cos(x), budget=20)
    assert spent.verdict == "inconclusive"
    assert spent.calls <= 20


def test_rows_share_calls() -> None:
    x, w = rng(1).normal(size=(200, 5)), rng(2).normal(size=(5, 3))
    weights = rng(3).normal(size=(200, 3))
    inner = weights * (1 - np.tanh(x @ w) ** 2)
    grads = (inner @ w.T, x.T @ inner)
    fn = Counted(lambda x, w: np.tanh(x @ w))
    result = check_function(fn, (x, w), grads, grad_output=weights)
    assert result.verdict == "pass"
    assert [check.compared for check in result.checks] == [1000, 15]
    assert fn.calls == result.calls < 400
    grads[0][123, 4] *= 1.001
    wrong = check_function(fn, (x, w), grads, grad_output=weights)
    assert wrong.checks[0].worst[0].place == "inputs[0][123,4]"
    assert wrong.checks[0].wrong == 1
    # Rows that mix are found out.
    mixed = Counted(lambda x: np.tanh(x - x.mean(0)))
    inner = 1 - np.tanh(x - x.mean(0)) ** 2
    result = check_function(mixed, x, inner - inner.mean(0), grad_output=np.ones((200, 5)))
    assert result.verdict == "pass"
    assert mixed.calls > 4000


class Square(torch.autograd.Function):
    """A square that refuses float64, with an optional fault."""

    factor = 2.0

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        if x.dtype == torch.float64:
            raise TypeError("no kernel for float64")
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        (x,) = ctx.saved_tensors
        return Square.factor * x * grad


@pytest.mark.parametrize(("factor", "verdict"), [(2.0, "pass"), (2.4, "fail")])
def test_a_reference_in_bfloat16(
    monkeypatch: pytest.MonkeyPatch, factor: float, verdict: str
) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr(Square, "factor", factor)
    x = torch.randn(4, 5).bfloat16()
    weights = torch.randn(4, 5).bfloat16()
    result = check_function(Square.apply, (x,), grad_output=weights, reference=lambda x: x**2)
    assert result.verdict == verdict
    assert result.checks[0].dtype == "bfloat16"
    assert result.notes == ()


def test_a_function_in_its_own_dtype() -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 5)
    result = check_function(lambda x: Square.apply(x).sum(), (x,))
    assert result.verdict == "pass"
    assert "no kernel for float64" in result.notes[0]
    assert result.checks[0].detectable is not None
    assert 1e-6 < result.checks[0].detectable < 1e-2
    short = check_function(lambda x: Square.apply(x).sum(), (x.bfloat16(),))
    assert short.verdict == "inconclusive"


def test_a_reference_of_another_function() -> None:
    x = torch.randn(5, dtype=torch.float64)
    result = check_function(lambda x: (x**2).sum(), x, 2 * x, reference=lambda x: (x**3).sum())
    assert "another function" in result.notes[0]
    assert result.verdict == "fail"


def test_inputs_are_not_touched() -> None:
    x = torch.randn(4, requires_grad=True)
    before = x.detach().clone()

    def fn(x: Any) -> Any:
        y = x * 1
        x.data.mul_(2)
        return (y**2).sum()

    assert check_function(fn, x, 2 * before).verdict == "pass"
    assert torch.equal(x, before)
    assert x.grad is None


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys; import gradprobe as f;"
        "assert 'numpy' not in sys.modules; import numpy as np;"
        "f.check_function(lambda x: np.sum(x**2), np.ones(3), 2 * np.ones(3));"
        "assert 'torch' not in sys.modules and 'jax' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
