"""The check from the arguments to the result."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from .._errors import CaseError
from .array import Array
from .case import Case, input_names
from .complex_step import complex_derivatives, require_analytic
from .decision import UNDECIDED, WRONG, Entries
from .directions import DirectionCheck
from .entries import EntryCheck
from .function import Function, LimitReachedError, prepare, require_determinism
from .gradients import computed_gradients
from .noise import measure_noise
from .probe import Index, Prober
from .result import FunctionResult
from .rounding import Moved, Tolerance, gradient_roundoff, moved_inputs
from .rows import separable
from .settings import DEFAULTS, Settings
from .summary import overall, summarize
from .taylor import remainders

# Entries of each array that are measured one by one even if the budget forbids all of them.
SPOTS = 32


def check(
    fn: Callable[..., Any],
    inputs: Any,
    grads: Any,
    grad_output: Any = None,
    reference: Callable[..., Any] | None = None,
    names: str | Sequence[str] | None = None,
    settings: Settings = DEFAULTS,
) -> FunctionResult:
    """Runs one check. The arguments are those of `check_function`."""
    started = time.monotonic()
    splat = type(inputs) is tuple
    case = Case(inputs, splat, input_names(fn, inputs, splat, names))
    case.attach(computed_gradients(fn, case, grad_output) if grads is None else grads)
    function = prepare(reference or fn, case, grad_output, case.notes)
    terms = require_determinism(function, settings.nondet_tol)
    if reference is not None:
        _compare_values(fn, function, terms)
    function.call_limit = settings.call_limit
    function.deadline = started + settings.second_limit
    session = Session(function, terms, settings)
    try:
        session.run()
    except LimitReachedError:
        case.notes.append("the budget was spent before the first entry was measured")
    return session.result(started)


class Session:
    """One check in progress."""

    def __init__(self, function: Function, terms: Array, settings: Settings) -> None:
        self.function = function
        self.case = function.case
        self.terms = terms
        self.settings = settings
        self.rng = np.random.default_rng(settings.seed)
        self.tolerance = Tolerance(settings.rtol, settings.atol, gradient_roundoff(self.case))
        self.analytic = np.full(self.case.x.size, np.nan)
        for leaf in self.case.checked:
            assert leaf.analytic is not None
            self.analytic[leaf.entries] = leaf.analytic
        self.entries: Entries | None = None
        self.directions: DirectionCheck | None = None
        self.every_entry = False
        self.order: float | None = None
        self.noise = 0.0

    def run(self) -> None:
        """Measures what the budget allows."""
        if self.settings.method == "complex-step" and not self.function.mode.wide:
            raise CaseError("complex-step: the function does not run in complex numbers")
        prober = self._prober()
        moved: list[Moved] = []
        if self.tolerance.draws:
            moved = moved_inputs(self.function, self.tolerance.roundoff, self.settings.seed)
        walker = DirectionCheck(prober, self.analytic, self.tolerance, moved, self.rng)
        entries = np.concatenate([np.arange(leaf.start, leaf.stop) for leaf in self.case.checked])
        exact: Array | None = None
        complex_step = self.settings.method == "complex-step"
        if complex_step:
            require_analytic(prober, self.rng)
        calls = len(prober.lanes(entries)) * (1 if complex_step else 4)
        self.every_entry = self.settings.affords_every_entry(calls, self.function.call_seconds)
        if not self.every_entry:
            self.directions = walker
            entries = self._walk(walker)
        if complex_step:
            exact = complex_derivatives(prober, entries)
        check = EntryCheck(prober, entries, self.analytic, self.tolerance, moved, exact)
        self.entries = check.run()
        with suppress(LimitReachedError):
            if self.tolerance.draws and self.every_entry:
                self.directions = walker
                walker.add_sums(self.entries)
            self._confirm(prober, walker)
            if self.order is None:
                self.order = self._taylor(prober, walker)

    def _prober(self) -> Prober:
        noise = measure_noise(self.function, self.terms, self.rng)
        self.noise = noise.total
        self._warn_of_noise()
        leaves = frozenset(
            leaf.name
            for leaf in self.case.checked
            if separable(self.function, self.terms, leaf, self.rng)
        )
        fraction = self._fraction(noise.total)
        return Prober(self.function, self.terms, noise, fraction, self.settings.eps, leaves)

    def _warn_of_noise(self) -> None:
        size = float(np.sqrt(np.sum(self.terms**2)))
        if self.function.mode.wide and self.noise > 1e-10 * size > 0:
            self.case.notes.append(
                f"the function has a noise of {self.noise / size:.1g} of its value:"
                " it computes in a lower precision inside, or cancels"
            )

    def _fraction(self, noise: float) -> float:
        """Returns the first step as a fraction of the scale of an entry.

        The error of a Richardson difference is about t^4 by truncation and noise / (effect t) by
        rounding, with `effect` the change of the loss per relative change of one entry.
        """
        case, step = self.case, 2.0**-10
        effect = 0.0
        for _ in range(2):
            direction = step * case.scale * self.rng.standard_normal(case.x.size)
            change = self.function.terms(case.x + direction) - self.terms
            effect = max(effect, abs(float(np.sum(change))) / step / case.x.size**0.5)
        largest = 2.0**-4 if self.function.mode.wide else 2.0**-2
        if not effect > 0 or not np.isfinite(effect):
            return 2.0**-11
        return float(np.clip((noise / effect) ** 0.2, 2.0**-11, largest))

    def _walk(self, walker: DirectionCheck) -> Index:
        """Checks directions, and returns the entries to measure one by one."""
        function = self.function
        calls, deadline = function.call_limit, function.deadline
        left = max(deadline - time.monotonic(), 0.0)
        function.call_limit = function.calls + 0.5 * (calls - function.calls)
        function.deadline = time.monotonic() + 0.5 * left
        walker.run()
        function.call_limit = function.calls + 0.6 * (calls - function.calls)
        function.deadline = time.monotonic() + 0.6 * max(deadline - time.monotonic(), 0.0)
        candidates = walker.wrong_entries()
        function.call_limit, function.deadline = calls, deadline
        # An entry costs 4 calls, an anchor of each array up to 40 more. Some are left to confirm.
        left = min(
            calls - function.calls,
            max(deadline - time.monotonic(), 0.0) / max(function.call_seconds, 1e-9),
        )
        leaves = self.case.checked
        count = int(np.clip((0.6 * left / max(len(leaves), 1) - 4 * 40) / 4, 0, SPOTS))
        spots = [
            self.rng.choice(np.arange(leaf.start, leaf.stop), min(count, leaf.size), replace=False)
            for leaf in leaves
        ]
        chosen = np.concatenate([np.array(candidates, dtype=np.intp), *spots])
        return np.unique(chosen).astype(np.intp)

    def _confirm(self, prober: Prober, walker: DirectionCheck) -> None:
        """Acquits entries whose errors leave no trace in the Taylor remainder.

        A function that oscillates within the first step fools the single differences. The
        remainder along all accused entries of an array uses much smaller steps.
        """
        entries = self.entries
        assert entries is not None
        for leaf in self.case.checked:
            part = entries.of(leaf)
            with np.errstate(invalid="ignore"):
                error = entries.analytic[part] - entries.numeric[part]
            wrong = (entries.decision[part] == WRONG) & np.isfinite(error)
            if not wrong.any():
                continue
            chosen = entries.entries[part][wrong]
            vector = np.zeros(self.analytic.size)
            vector[chosen] = np.where(error[wrong] < 0, -1.0, 1.0) * prober.first_steps(chosen)
            tolerance = walker.tolerance_of(chosen, vector, False)
            expected = float(np.sum(error[wrong] * vector[chosen]))
            if not self._believe(prober, vector, tolerance, expected):
                entries.decision[part][wrong] = UNDECIDED
                self.case.notes.append(
                    f"{leaf.name}: the Taylor remainder shows no error where differences do;"
                    " the function may oscillate within the step"
                )
        for direction in walker.directions:
            accused = direction.decision == WRONG and bool(np.isfinite(direction.error))
            if accused and not self._believe(
                prober, direction.vector, direction.tolerance, direction.error
            ):
                direction.decision = UNDECIDED

    def _believe(self, prober: Prober, vector: Array, tolerance: float, error: float) -> bool:
        """Returns `False` if the Taylor remainder shows that there is no such error."""
        every = np.flatnonzero(vector)
        found = remainders(prober, vector, float(np.sum(self.analytic[every] * vector[every])))
        if self.order is None:
            self.order = found.order(tolerance)
        return not found.contradict(error)

    def _taylor(self, prober: Prober, walker: DirectionCheck) -> float | None:
        """Returns the median order along random directions through all arrays."""
        every = np.flatnonzero(np.isfinite(self.analytic))
        orders = []
        for _ in range(3):
            vector = np.zeros(self.analytic.size)
            signs = self.rng.choice([-1.0, 1.0], every.size)
            vector[every] = signs * prober.first_steps(every)
            slope = float(np.sum(self.analytic[every] * vector[every]))
            tolerance = walker.tolerance_of(every, vector, False)
            order = remainders(prober, vector, slope).order(tolerance)
            if order is not None:
                orders.append(order)
        return float(np.median(orders)) if orders else None

    def result(self, started: float) -> FunctionResult:
        """Returns the result of what was measured."""
        checks = tuple(
            summarize(leaf, self.entries, self.directions, self.tolerance, self.every_entry)
            for leaf in self.case.checked
        )
        return FunctionResult(
            verdict=overall(checks, self.directions),
            checks=checks,
            calls=self.function.calls,
            seconds=time.monotonic() - started,
            notes=tuple(self.case.notes),
            taylor_order=self.order,
            function_noise=self.noise,
            method=self.settings.method,
            every_entry=self.every_entry,
        )


def _compare_values(fn: Callable[..., Any], function: Function, terms: Array) -> None:
    """Notes a reference whose value differs from that of the function by more than rounding."""
    case = function.case
    twin = Function(fn, case, function.grad_output)
    try:
        twin = prepare(fn, case, function.grad_output, [])
        value = float(np.sum(twin.evaluate(case.x)))
    except CaseError:
        raise
    except Exception:
        return
    expected, size = float(np.sum(terms)), float(np.sqrt(np.sum(terms**2)))
    limit = 1e-6 if twin.mode.wide else 0.05
    if abs(value - expected) > limit * size:
        case.notes.append(
            f"the reference computes another function: its loss is {expected:.6g},"
            f" that of the function {value:.6g}"
        )
