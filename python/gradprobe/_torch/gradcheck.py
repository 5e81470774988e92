"""torch.autograd.gradcheck's arguments, with the check of `check_function`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .._assert import failure, message
from .._check_function import check_function
from .._errors import CaseError
from .._function import tree

SEED = 0
# The defaults of the original, for the tolerance that is not given if the other one is.
ATOL, RTOL = 1e-5, 1e-3


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float | None = None,
    atol: float | None = None,
    rtol: float | None = None,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
) -> bool:
    """Checks the gradients of `func` at `inputs`, as torch.autograd.gradcheck does.

    Multiplies the outputs by random weights, and checks every entry of the gradient of the sum.
    An error in any row of the Jacobian changes that gradient, except for weights of probability
    zero, so that one backward pass covers all rows.

    Differs from the original in the tolerance: it is what the rounding of the gradient's dtype
    explains, so that inputs need not be in double precision. `eps`, `atol` and `rtol` replace
    it if they are given. `check_undefined_grad`, `check_grad_dtypes` and `fast_mode` are accepted
    for the sake of the signature, and change nothing.

    Args:
        func: A function of tensors that returns a tensor or a tuple of tensors.
        inputs: A tensor or a tuple. Those that require grad are checked.
        eps: The absolute step of the differences.
        atol, rtol: The tolerances, relative to the larger one of both gradients.
        raise_exception: False returns False instead of raising.
        nondet_tol: The difference that two runs may have.

    Returns:
        True if every gradient is right.

    Raises:
        GradientError: A gradient is wrong, or (Inconclusive) could not be decided.
        CaseError: The check has no such feature, or the inputs do not fit.
    """
    __tracebackhide__ = True
    for name, is_wanted in (
        ("check_batched_grad", check_batched_grad),
        ("check_batched_forward_grad", check_batched_forward_grad),
        ("check_forward_ad", check_forward_ad),
        ("check_backward_ad=False", not check_backward_ad),
        ("masked", bool(masked)),
    ):
        if is_wanted:
            raise CaseError(f"{name}: only the reverse mode of single gradients can be checked")
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    if atol is not None or rtol is not None:
        atol = ATOL if atol is None else atol
        rtol = RTOL if rtol is None else rtol
    grads, weights = _gradients(func, inputs, nondet_tol)
    report = check_function(
        lambda *values: _differentiable(func(*values), weights),
        tree.rebuild(inputs, (_detached(it) for _, it in tree.leaves(inputs, ""))),
        grads,
        grad_output=[weight for weight in weights if weight is not None],
        names=[f"inputs[{i}]" for i in range(len(inputs))],
        nondet_tol=nondet_tol,
        eps=eps,
        atol=atol,
        rtol=rtol,
    )
    if report.passed:
        return True
    if not raise_exception:
        return False
    raise failure(report, message(report))


def _gradients(
    func: Callable[..., Any], inputs: Any, nondet_tol: float
) -> tuple[Any, list[Tensor | None]]:
    """Returns torch's gradients, and the weight of each output: `None` if it has no gradient."""
    wanted = [it for _, it in tree.leaves(inputs, "") if _requires_grad(it)]
    if not wanted:
        raise CaseError("inputs: no tensor requires grad; set requires_grad=True")
    for tensor in wanted:
        if tensor.is_complex():
            raise CaseError("inputs: complex tensors cannot be checked")
        if tensor.layout is not torch.strided:
            raise CaseError(f"inputs: {tensor.layout} tensors cannot be checked")
    outputs = _real_outputs(func(*inputs))
    _require_function_of_values(func, inputs, outputs)
    generator = torch.Generator().manual_seed(SEED)
    weights = [_weight(it, generator) for it in outputs]
    pairs = [(it, w) for it, w in zip(outputs, weights, strict=True) if w is not None]
    if not pairs:
        raise CaseError("func: no output requires grad")
    found, again = (
        torch.autograd.grad(
            [output for output, _ in pairs],
            wanted,
            [weight for _, weight in pairs],
            retain_graph=True,
            allow_unused=True,
        )
        for _ in range(2)
    )
    grads = [_dense(x, g) for x, g in zip(wanted, found, strict=True)]
    for x, grad, other in zip(wanted, grads, again, strict=True):
        spread = (grad - _dense(x, other)).abs().nan_to_num()
        if (spread > nondet_tol).any():
            raise CaseError(
                f"the backward pass is not deterministic: two runs differ by"
                f" {float(spread.max()):.3g}; raise nondet_tol if this is expected"
            )
    following = iter(grads)
    filled = (next(following) if _requires_grad(it) else None for _, it in tree.leaves(inputs, ""))
    return tree.rebuild(inputs, filled), weights


def _require_function_of_values(func: Callable[..., Any], inputs: Any, outputs: list[Any]) -> None:
    """Raises `CaseError` if copies of the inputs give other outputs, as with as_strided."""
    copies = (
        it.detach().clone(memory_format=torch.contiguous_format) if isinstance(it, Tensor) else it
        for _, it in tree.leaves(inputs, "")
    )
    with torch.no_grad():
        others = _real_outputs(func(*tree.rebuild(inputs, copies)))
    for output, other in zip(outputs, others, strict=False):
        if not _requires_grad(output) or not output.is_floating_point():
            continue
        is_near = output.shape == other.shape and torch.allclose(
            output, other.to(output.dtype), rtol=0.1, atol=1e-3, equal_nan=True
        )
        if not is_near:
            raise CaseError(
                "func: copies of the inputs give another output: it is random, keeps a state, or"
                " reads the memory of its inputs beyond their entries"
            )


def _dense(x: Tensor, gradient: Tensor | None) -> Tensor:
    """Returns a gradient with memory of its own. torch's `None` is a gradient of zero."""
    result = torch.zeros_like(x, requires_grad=False)
    return result if gradient is None else result.copy_(gradient.detach().to_dense())


def _requires_grad(value: Any) -> bool:
    return isinstance(value, Tensor) and value.requires_grad


def _detached(value: Any) -> Any:
    return value.detach() if isinstance(value, Tensor) else value


def _weight(output: Any, generator: torch.Generator) -> Tensor | None:
    if not _requires_grad(output):
        return None
    random = torch.randn(output.shape, generator=generator, dtype=torch.float64)
    return random.to(output)


def _real_outputs(output: Any) -> list[Any]:
    """Returns the outputs, the complex ones as pairs of real numbers."""
    return [
        torch.view_as_real(it.resolve_conj()) if isinstance(it, Tensor) and it.is_complex() else it
        for _, it in tree.leaves(output, "")
    ]


def _differentiable(output: Any, weights: list[Tensor | None]) -> list[Any]:
    return [it for it, w in zip(_real_outputs(output), weights, strict=True) if w is not None]
