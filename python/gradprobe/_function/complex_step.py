"""Derivatives by complex steps: f'(x) = Im f(x + ih) / h, without any cancellation.

W. Squire and G. Trapp, "Using complex variables to estimate derivatives of real functions",
SIAM Review 40(1), 110-112 (1998). Valid only where the code is analytic, which is tested.
"""

from __future__ import annotations

import warnings

import numpy as np

from .._errors import CaseError
from . import tree
from .array import Array
from .function import Function
from .probe import Index, Prober
from .table import Table

# So small that its square vanishes beside any value, so large that no product underflows.
STEP = 2.0**-100
# Real differences along this many directions must agree.
DIRECTIONS = 3
ADVICE = 'use method="difference"'


def complex_derivatives(prober: Prober, entries: Index) -> Array:
    """Returns the derivatives of `entries` in a flat vector, NaN elsewhere.

    Raises `CaseError` if the function is not analytic NumPy code.
    """
    function = prober.function
    derivatives = np.full(function.case.x.size, np.nan)
    for lane in prober.lanes(entries):
        chosen = entries[lane.columns]
        direction = np.zeros(derivatives.size)
        direction[chosen] = prober.scale[chosen]
        terms = _imaginary(function, direction)
        if lane.rows is None:
            derivatives[chosen] = np.sum(terms) / prober.scale[chosen]
        else:
            sums = np.bincount(function.term_rows, terms, function.rows)
            derivatives[chosen] = sums[lane.rows] / prober.scale[chosen]
    return derivatives


def require_analytic(prober: Prober, rng: np.random.Generator) -> None:
    """Raises `CaseError` unless complex steps and real differences agree along directions."""
    function = prober.function
    case = function.case
    if not function.mode.wide or any(leaf.kind not in ("numpy", "float") for leaf in case.leaves):
        raise CaseError(f"complex-step: only NumPy code can be checked; {ADVICE}")
    _require_complex_output(function)
    for _ in range(DIRECTIONS):
        signs = rng.choice([-1.0, 1.0], case.x.size) * rng.uniform(0.5, 1.5, case.x.size)
        direction = signs * prober.first_steps(np.arange(case.x.size))
        exact = float(np.sum(_imaginary(function, direction)))
        table = Table(np.array([prober.noise.total]))
        for k in range(-4, 3):
            prober.probe_direction(table, direction, k)
        found = table.estimate(np.zeros(1, dtype=np.intp))
        size = max(abs(exact), abs(float(found.numeric[0])))
        if not abs(exact - found.numeric[0]) <= 2 * found.bound[0] + 1e-6 * size:
            raise CaseError(
                "complex-step: the function is not analytic: along a random direction the complex"
                f" step is {exact:.6g}, the real difference {found.numeric[0]:.6g}; {ADVICE}"
            )


def _imaginary(function: Function, direction: Array) -> Array:
    """Returns the directional derivative of each term."""
    x = function.case.x + 1j * STEP * direction
    with warnings.catch_warnings():
        warnings.simplefilter("error", np.exceptions.ComplexWarning)
        try:
            return np.asarray(function.terms(x).imag / STEP)
        except (TypeError, np.exceptions.ComplexWarning) as error:
            raise _refusal(error) from error


def _require_complex_output(function: Function) -> None:
    x = function.case.x + 0j
    with warnings.catch_warnings():
        warnings.simplefilter("error", np.exceptions.ComplexWarning)
        try:
            with np.errstate(all="ignore"):
                output = function.call(x)
        except Exception as error:
            raise _refusal(error) from error
    if not any(np.iscomplexobj(value) for _, value in tree.leaves(output, "output")):
        raise CaseError(
            "complex-step: the function drops the imaginary part of its input;"
            f" it is not analytic; {ADVICE}"
        )


def _refusal(error: BaseException) -> CaseError:
    line = (str(error).splitlines() or [""])[0]
    return CaseError(
        f"complex-step: the function fails for complex input ({type(error).__name__}: {line});"
        f" {ADVICE}"
    )
