"""The check of the gradient of any function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from ._errors import GradprobeError

if TYPE_CHECKING:
    from ._function.report import FunctionReport


def check_function(
    fn: Callable[..., Any],
    inputs: Any,
    grads: Any = None,
    *,
    grad_output: Any = None,
    reference: Callable[..., Any] | None = None,
    method: Literal["difference", "complex-step"] = "difference",
    budget: int | None = None,
    seconds: float | None = None,
    seed: int = 0,
    rtol: float | None = None,
    atol: float | None = None,
    eps: float | None = None,
    names: str | Sequence[str] | None = None,
    nondet_tol: float = 0.0,
) -> FunctionReport:
    """Checks the gradient of a function against finite differences, entry by entry.

    Args:
        fn: Any function of arrays of NumPy, PyTorch or JAX. It is called as `fn(*inputs)` if
            `inputs` is a plain tuple, else as `fn(inputs)`.
        inputs: An array, or dicts, lists and tuples of arrays and floats.
        grads: The gradients that your code computed, in the structure of `inputs`; None for a part
            that is not to be checked. Left out, PyTorch or JAX computes them. NumPy cannot.
        grad_output: The gradient that arrives at the output, in its structure. A function of one
            number needs none. The loss is then the sum of output times grad_output.
        reference: An implementation to differentiate in place of `fn`, at the same numbers,
            widened to f64.
        method: "complex-step" has no cancellation, but needs analytic NumPy code.
        budget: The most calls of the function. Where it does not suffice for all entries, random
            directions see them all at once.
        seconds: The most time.
        seed: Of the random directions.
        rtol, atol: Tolerances in place of what the rounding of the gradient's dtype explains.
        eps: The step, in place of one for each entry.
        names: The names of the inputs in the report, in place of those of the parameters of `fn`.
        nondet_tol: The largest difference of two calls.

    Raises:
        CaseError: The arrays do not fit, or the function is not deterministic.

    Example:
        >>> import gradprobe, numpy as np
        >>> x = np.array([1.0, 2.0, 3.0])
        >>> report = gradprobe.check_function(lambda x: (x**2).sum(), x, -2 * x)
        >>> report.verdict, report.checks[0].findings[0].code
        ('fail', 'sign-flipped')
    """
    try:
        from ._function.check import check
        from ._function.report import FunctionReport
        from ._function.settings import Settings
    except ModuleNotFoundError as error:
        if error.name != "numpy":
            raise
        raise GradprobeError("check_function needs NumPy: pip install numpy") from None

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
    return FunctionReport(check(fn, inputs, grads, grad_output, reference, names, settings))
