"""Checks the gradient of any callable by finite differences.

Importing this package loads neither NumPy nor any framework; the first check loads NumPy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from .result import Decision, FunctionResult, LeafCheck, Verdict, WorstEntry

if TYPE_CHECKING:
    Method = Literal["difference", "complex-step"]

__all__ = ["Decision", "FunctionResult", "LeafCheck", "Verdict", "WorstEntry", "check_function"]


def check_function(
    fn: Callable[..., Any],
    inputs: Any,
    grads: Any = None,
    *,
    grad_output: Any = None,
    reference: Callable[..., Any] | None = None,
    method: Method = "difference",
    budget: int | None = None,
    seconds: float | None = None,
    seed: int = 0,
    rtol: float | None = None,
    atol: float | None = None,
    eps: float | None = None,
    names: str | Sequence[str] | None = None,
    nondet_tol: float = 0.0,
) -> FunctionResult:
    """Measures the gradient of a function. The arguments are those of gradprobe.check_function."""
    from .check import check
    from .settings import Settings

    settings = Settings(
        method=method,
        budget=budget,
        seconds=seconds,
        seed=seed,
        rtol=rtol,
        atol=atol,
        eps=eps,
        nondet_tol=nondet_tol,
    )
    return check(fn, inputs, grads, grad_output, reference, names, settings)
