"""The function under test, as a map from one flat float64 vector to the terms of its loss."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._errors import CaseError
from . import tree
from .array import (
    ROUNDOFF,
    Array,
    complex_values,
    dtype_of,
    kind_of,
    like,
    loaded,
    shape_of,
    widened,
)
from .case import Case, Leaf


class LimitReachedError(Exception):
    """The budget of calls or seconds is spent."""


@dataclass(frozen=True)
class Mode:
    """The dtype of the inputs: float64, or their own; and whether torch records the operations."""

    wide: bool
    graph: bool = False


class Function:
    """Evaluates a function at copies of the inputs. The loss is the sum of its terms.

    The terms stay apart because their differences are small: summed after the subtraction, they
    lose nothing to a large loss.
    """

    def __init__(self, fn: Callable[..., Any], case: Case, grad_output: Any) -> None:
        self.fn = fn
        self.case = case
        self.grad_output = grad_output
        self.mode = Mode(wide=True)
        self.calls = 0
        self.started = time.monotonic()
        self.call_seconds = 0.0
        self.call_limit: float = float("inf")
        self.deadline = float("inf")
        self.output_dtype = "float64"
        self.rows = 0  # The leading size of the only output; 0 if there are several, or no axis.
        self.term_rows: NDArray[np.intp] = np.zeros(0, dtype=np.intp)
        self._torch = any(leaf.kind == "torch" for leaf in case.leaves)
        self._jax = any(leaf.kind == "jax" for leaf in case.leaves)
        self._settled = False

    def terms(self, x: NDArray[Any]) -> NDArray[Any]:
        """Returns the terms of the loss at `x`; NaN where the function cannot be evaluated.

        Raises `LimitReachedError` if the budget is spent.
        """
        if self.calls >= self.call_limit or time.monotonic() > self.deadline:
            raise LimitReachedError
        try:
            return self.evaluate(x)
        except Exception as error:
            # A step can leave the domain of the function. The inputs themselves are in it.
            if isinstance(error, CaseError) or not _is_of_domain(error):
                raise
            return np.full(self.term_rows.size, np.nan)

    def evaluate(self, x: NDArray[Any]) -> NDArray[Any]:
        """Returns the terms of the loss at `x`, or raises what the function raises."""
        self.calls += 1
        with self._context():
            output = self.call(x)
            return self._weighted(output, np.iscomplexobj(x))

    def call(self, x: NDArray[Any]) -> Any:
        """Returns the output of the function at `x`."""
        case, mode = self.case, self.mode
        values = (
            like(x[slot.entries].reshape(slot.shape), slot.original, mode.wide, mode.graph)
            if isinstance(slot, Leaf)
            else slot
            for slot in case.slots
        )
        inputs = tree.rebuild(case.inputs, iter(values))
        return self.fn(*inputs) if case.splat else self.fn(inputs)

    def realised(self, x: Array) -> Array:
        """Returns the values that the function gets: rounded to its dtype if that is narrower."""
        if self.mode.wide:
            return x
        parts = [
            widened(like(x[leaf.entries].reshape(leaf.shape), leaf.original, False)).ravel()
            for leaf in self.case.leaves
        ]
        return np.concatenate(parts)

    def _context(self) -> ExitStack:
        stack = ExitStack()
        # A step may overflow or leave the domain; the result is then not finite, and not used.
        stack.enter_context(np.errstate(all="ignore"))
        if self._torch and not self.mode.graph:
            stack.enter_context(loaded("torch").no_grad())
        if self._jax and self.mode.wide:
            stack.enter_context(_jax_in_float64())
        return stack

    def _weighted(self, output: Any, is_complex: bool) -> NDArray[Any]:
        found = [value for _, value in tree.leaves(output, "output")]
        if not self._settled:
            self._settle(output, found)
        convert = complex_values if is_complex else widened
        flat = [np.ravel(convert(value)) for value in found]
        terms = flat[0] if len(flat) == 1 else np.concatenate(flat)
        # A masked output may be infinite. Without a weight it is no term of the loss.
        return np.asarray(terms[self._used] * self._weights)

    def _settle(self, output: Any, found: list[Any]) -> None:
        """Fixes the weights of the output, from the first call. Raises `CaseError`."""
        if not found:
            raise CaseError("the function returned no array")
        for value in found:
            if kind_of(value) == "other" and not isinstance(value, int):
                raise CaseError(f"the function returned a {type(value).__name__}, not an array")
        sizes = [int(np.prod(shape_of(value))) for value in found]
        if self.grad_output is None:
            if sizes != [1]:
                shapes = ", ".join(str(shape_of(value)) for value in found)
                raise CaseError(
                    f"the output is not a scalar (shape {shapes});"
                    " pass grad_output, the gradient of the loss with respect to it"
                )
            weights = np.ones(1)
        else:
            given = list(tree.align(output, self.grad_output, "the output", "grad_output"))
            pairs = zip(found, given, strict=True)
            weights = np.concatenate([_weights_of(value, weight) for value, weight in pairs])
        self._used = weights != 0
        self._weights = weights[self._used]
        shape = shape_of(found[0])
        if len(found) == 1 and len(shape) >= 1 and shape[0] > 1:
            self.rows = shape[0]
            rows = np.repeat(np.arange(shape[0]), sizes[0] // shape[0])
            self.term_rows = rows[self._used]
        else:
            self.term_rows = np.zeros(int(self._used.sum()), dtype=np.intp)
        dtypes = [dtype_of(value) for value in found]
        if any(name.startswith("complex") for name in dtypes) and self.mode.wide:
            raise CaseError("the function returned complex numbers; return its real part")
        floats = [name for name in dtypes if name in ROUNDOFF]
        self.output_dtype = max(floats, key=ROUNDOFF.__getitem__, default="float64")
        self._settled = True

    def restart(self, mode: Mode) -> None:
        """Changes the mode. The next call settles the output anew."""
        self.mode = mode
        self._settled = False


def _is_of_domain(error: Exception) -> bool:
    # torch has a LinAlgError of its own, which is a RuntimeError.
    return isinstance(error, ArithmeticError | ValueError) or type(error).__name__.endswith(
        "LinAlgError"
    )


def _jax_in_float64() -> AbstractContextManager[Any]:
    enable = getattr(loaded("jax"), "enable_x64", None)
    if enable is None:  # Before JAX 0.8.
        enable = import_module("jax.experimental").enable_x64
    manager: AbstractContextManager[Any] = enable(True)
    return manager


def _weights_of(value: Any, weight: Any) -> Array:
    if weight is None:
        return np.zeros(int(np.prod(shape_of(value))))
    if shape_of(weight) != shape_of(value):
        raise CaseError(
            f"grad_output: expected the shape {shape_of(value)} of the output,"
            f" found {shape_of(weight)}"
        )
    return np.ravel(widened(weight))


def prepare(fn: Callable[..., Any], case: Case, grad_output: Any, notes: list[str]) -> Function:
    """Returns the function in the widest dtype that it runs in.

    Tries float64 copies first, then the dtype of the inputs; and for torch with and without
    recording, because some functions differentiate inside. Raises what the function raises if
    nothing works.
    """
    function = Function(fn, case, grad_output)
    graphs = (False, True) if any(leaf.kind == "torch" for leaf in case.leaves) else (False,)
    modes = [Mode(True, graph) for graph in graphs]
    if any(leaf.dtype != "float64" for leaf in case.leaves):
        modes += [Mode(False, graph) for graph in graphs]
    reason = ""
    failure: Exception | None = None
    for mode in modes:
        function.restart(mode)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                function.evaluate(case.x)
        except CaseError:
            raise
        except Exception as error:
            failure = error
            reason = reason or f"it raised {type(error).__name__}: {_first_line(error)}"
            continue
        if mode.wide and len(modes) > len(graphs) and function.output_dtype != "float64":
            reason = f"it returned {function.output_dtype}"
            modes_left = [Mode(False, mode.graph)]
            function.restart(modes_left[0])
            function.evaluate(case.x)
        if not function.mode.wide:
            notes.append(
                f"the function does not run in float64 ({reason}); its own rounding limits"
                " the differences; pass reference= to differentiate another implementation"
            )
        return function
    assert failure is not None
    raise failure


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:120]


def require_determinism(function: Function, tolerance: float) -> Array:
    """Returns the terms at the inputs. Raises `CaseError` if two calls differ."""
    x = function.case.x
    first = function.evaluate(x)
    start = time.monotonic()
    second = function.evaluate(x)
    function.call_seconds = time.monotonic() - start
    if not np.isfinite(first).all():
        raise CaseError("the output is not finite at the inputs")
    if first.shape != second.shape:
        raise CaseError("the function is not deterministic: two calls return different shapes")
    spread = float(np.max(np.abs(first - second), initial=0.0))
    if not spread <= tolerance:
        loss = abs(float(np.sum(first)))
        raise CaseError(
            "the function is not deterministic: two calls at the same inputs differ by"
            f" {spread:.3g} (loss {loss:.6g}); fix its random state, disable dropout,"
            " or raise nondet_tol"
        )
    return np.asarray(first)
