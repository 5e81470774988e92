"""Checks the gradient along random directions, which see all entries at once."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .array import Array
from .case import Case, Leaf
from .decision import KINK, KINK_REACH, RIGHT, UNDECIDED, WRONG, Entries
from .function import LimitReachedError
from .probe import Index, Prober
from .rounding import RESOLUTION, Moved, Tolerance, direction_spread
from .table import Estimate, Table

# Random directions through each array, beside one along the gradient itself.
ROUNDS = 4
# Independent errors within the tolerance add up like a random walk: six standard deviations.
WALK = 6.0
# The rungs that a suspect must outlive.
SMALLER = (-6, -5, -4, -3)
# Wrong entries that the bisection looks for.
ENTRIES_TO_FIND = 8


@dataclass
class Direction:
    """The derivative along a direction, by the gradient and by differences."""

    entries: Index
    vector: Array
    analytic: float
    numeric: float
    bound: float
    tolerance: float
    # The part of the tolerance that grows with the gradient under test.
    growth: float
    flat: float
    decision: int

    @property
    def error(self) -> float:
        return abs(self.analytic - self.numeric)

    @property
    def limit(self) -> float:
        """Returns the least error that convicts."""
        return max(self.tolerance + self.bound, 2 * self.flat)

    def detectable(self, part: float) -> float:
        """Returns the relative error of a part of the gradient that would have been convicted.

        `part` is what that part adds to the analytic derivative.
        """
        room = abs(part) - self.growth
        return (self.error + self.limit) / room if room > 0 else float("inf")


@dataclass
class DirectionCheck:
    """Examines directions, and bisects those that are wrong."""

    prober: Prober
    analytic: Array
    tolerance: Tolerance
    moved: list[Moved]
    rng: np.random.Generator
    directions: list[Direction] = field(default_factory=list)

    @property
    def case(self) -> Case:
        return self.prober.function.case

    def run(self) -> None:
        """Examines directions through all arrays and each alone, until the budget is spent."""
        leaves = [leaf for leaf in self.case.checked if leaf.size]
        scopes = [np.arange(leaf.start, leaf.stop) for leaf in leaves]
        try:
            self._add(np.concatenate(scopes), aligned=False)
            for number in range(ROUNDS + 1):
                for scope in scopes:
                    self._add(scope, aligned=number == 0)
        except LimitReachedError:
            pass

    def _add(self, entries: Index, aligned: bool) -> None:
        signs = self.rng.choice([-1.0, 1.0], entries.size)
        if aligned:
            # Along the gradient a common factor of all entries shows best.
            signs = np.where(self.analytic[entries] < 0, -1.0, 1.0)
            signs *= self.rng.uniform(0.5, 1.5, entries.size)
        self.directions.append(self.examine(entries, signs, aligned=aligned))

    def add_sums(self, found: Entries) -> None:
        """Examines each array along the signs of its numeric entries.

        Rounding errors of single entries average out in the sum, which shows a common factor that
        a tolerance of one entry would hide in a short dtype.
        """
        for leaf in self.case.checked:
            part = found.of(leaf)
            numeric, entries = found.numeric[part], found.entries[part]
            usable = np.isfinite(numeric) & (np.abs(numeric) > found.bound[part])
            if usable.sum() >= 2:
                signs = np.where(numeric[usable] < 0, -1.0, 1.0)
                steps = self.prober.first_steps(entries[usable])
                tolerance = self._tolerance_of_sum(
                    numeric[usable], found.effect[part][usable], steps
                )
                direction = self.examine(entries[usable], signs, tolerance)
                self.directions.append(direction)

    def _tolerance_of_sum(self, gradient: Array, effect: Array, steps: Array) -> float:
        """Returns the tolerance along the signs of a gradient, where a common error adds up."""
        u, constants = self.tolerance.roundoff, self.tolerance.constants
        whole = (RESOLUTION + constants.total * u) * float(np.sum(np.abs(gradient) * steps))
        return whole + _added(constants.effect * u * effect * steps, 1.0, False)

    def examine(
        self,
        entries: Index,
        signs: Array,
        fixed: float | None = None,
        aligned: bool = False,
        always_draw: bool = True,
    ) -> Direction:
        """Measures the derivative along `signs` times the scale of each entry, and decides it.

        The steps do not depend on the gradient under test. `fixed` replaces the tolerance by one
        that does not either. Unless `always_draw`, the spread is drawn only where it decides.
        """
        vector = np.zeros(self.case.x.size)
        vector[entries] = signs * self.prober.first_steps(entries)
        table = Table(np.array([self.prober.noise.total]))
        self._measure(table, vector, range(-2, 4))
        analytic = float(np.sum(self.analytic[entries] * vector[entries]))
        estimate = self._estimate(table)
        tolerance = growth = self.tolerance_of(entries, vector, aligned)
        if fixed is not None:
            tolerance, growth = fixed, 0.0
        if estimate.bound[0] > max(tolerance, 1e-4 * abs(estimate.numeric[0])):
            more = (4, 5, 6) if estimate.noisy[0] else SMALLER
            self._measure(table, vector, more)
            estimate = self._estimate(table)
        slope, bound, flat = (
            float(value[0]) for value in (estimate.numeric, estimate.bound, estimate.flat)
        )
        suspect = not abs(analytic - slope) <= tolerance + bound
        if suspect and SMALLER[0] not in table.rungs:
            # A conviction must outlive smaller steps.
            self._measure(table, vector, SMALLER)
            estimate = self._estimate(table)
            slope, bound, flat = (
                float(value[0]) for value in (estimate.numeric, estimate.bound, estimate.flat)
            )
        if self.tolerance.draws and (suspect or always_draw):
            spread = direction_spread(self.prober, self.moved, vector, slope)
            constants = self.tolerance.constants
            summed = aligned or fixed is not None
            tolerance += (constants.total_spread if summed else constants.spread) * spread
        error = abs(analytic - slope)
        decision = RIGHT if error <= tolerance + bound else UNDECIDED
        if not np.isfinite(slope) or not np.isfinite(bound):
            decision = UNDECIDED
        elif not np.isfinite(analytic):
            decision = WRONG
        elif decision == UNDECIDED and estimate.jump[0] != 0:
            decision = KINK if abs(estimate.jump[0]) * KINK_REACH >= error else UNDECIDED
        elif decision == UNDECIDED and error >= 2 * flat:
            decision = WRONG
        return Direction(entries, vector, analytic, slope, bound, tolerance, growth, flat, decision)

    def _measure(self, table: Table, vector: Array, ks: range | tuple[int, ...]) -> None:
        for k in ks:
            self.prober.probe_direction(table, vector, k)

    def _estimate(self, table: Table) -> Estimate:
        return table.estimate(np.zeros(1, dtype=np.intp))

    def tolerance_of(self, entries: Index, vector: Array, aligned: bool) -> float:
        """Returns the tolerance along a direction, without the spread.

        The signs of a random direction do not depend on the errors, so the errors add up like a
        random walk. Along the gradient a common error counts, with a tolerance of its own.
        """
        steps = np.abs(vector[entries])
        magnitude = np.abs(self.analytic[entries])
        finite = np.where(np.isfinite(magnitude), magnitude, 0.0)
        if self.tolerance.own:
            allowed = (self.tolerance.rtol or 0.0) * finite + (self.tolerance.atol or 0.0)
            return _added(allowed * steps, WALK, aligned)
        if aligned:
            return self._tolerance_of_sum(
                finite, self._effect() / self.prober.scale[entries], steps
            )
        u, constants = self.tolerance.roundoff, self.tolerance.constants
        rounding = constants.entry * u * finite
        rounding += constants.array * u * self._sizes(entries, finite)
        rounding += constants.effect * u * self._effect() / self.prober.scale[entries]
        # The roundoff constants are already several standard deviations of one entry.
        return _added(rounding * steps, 1.0, False) + _added(
            RESOLUTION * finite * steps, WALK, False
        )

    def _sizes(self, entries: Index, magnitude: Array) -> Array:
        sizes = np.zeros(entries.size)
        for leaf in self.case.checked:
            low, high = np.searchsorted(entries, [leaf.start, leaf.stop])
            if high > low:
                sizes[low:high] = np.sqrt(np.mean(magnitude[low:high] ** 2))
        return sizes

    def _effect(self) -> float:
        """Returns how much the entries of the most effective array move the loss."""
        effects = [0.0]
        for leaf in self.case.checked:
            values = self.analytic[leaf.entries] * self.prober.scale[leaf.entries]
            if values.size and np.isfinite(values).all():
                effects.append(float(np.sqrt(np.mean(values**2))))
        return max(effects)

    def detectable(self, leaf: Leaf) -> float | None:
        """Returns the least uniform relative error of one array that would have been convicted."""
        found = [float("inf")]
        for direction in self.directions:
            entries = direction.entries
            low, high = np.searchsorted(entries, [leaf.start, leaf.stop])
            inside = entries[low:high]
            if not inside.size or direction.decision == KINK:
                continue
            part = float(np.sum(self.analytic[inside] * direction.vector[inside]))
            if np.isfinite(part):
                found.append(direction.detectable(part))
        best = min(found)
        return best if np.isfinite(best) else None

    def wrong_entries(self) -> list[int]:
        """Returns candidates for wrong entries, found by halving wrong directions."""
        found: list[int] = []
        try:
            for direction in self.directions:
                if direction.decision == WRONG and not self._explained(direction, found):
                    self._bisect(direction.entries, found)
                if len(found) >= ENTRIES_TO_FIND:
                    break
        except LimitReachedError:
            pass
        return found

    def _explained(self, direction: Direction, found: list[int]) -> bool:
        return bool(np.isin(found, direction.entries).any())

    def _bisect(self, entries: Index, found: list[int]) -> None:
        """Appends candidates of a block. The worse half comes first; fresh signs in each half."""
        bad = ~np.isfinite(self.analytic[entries])
        if bad.any():
            found += [int(i) for i in entries[bad][:ENTRIES_TO_FIND]]
            return
        stack = [entries]
        while stack and len(found) < ENTRIES_TO_FIND:
            block = stack.pop()
            if block.size == 1:
                found.append(int(block[0]))
                continue
            middle = block.size // 2
            halves = [block[:middle], block[middle:]]
            results = [self._worst_of(half) for half in halves]
            wrong = [
                (result.error / max(result.limit, 1e-300), half)
                for half, result in zip(halves, results, strict=True)
                if result.error > result.tolerance + result.bound
            ]
            stack += [half for _, half in sorted(wrong, key=lambda pair: pair[0])]

    def _worst_of(self, entries: Index) -> Direction:
        """Returns the direction with the larger error of two: errors can cancel in one."""
        tried = []
        for _ in range(2):
            signs = self.rng.choice([-1.0, 1.0], entries.size)
            direction = self.examine(entries, signs, always_draw=False)
            tried.append(direction)
            if direction.decision == WRONG:
                break
        return max(tried, key=lambda one: one.error / max(one.limit, 1e-300))


def _added(errors: Array, walk: float, aligned: bool) -> float:
    """Returns the largest sum of errors of random signs, or of one sign if `aligned`."""
    total = float(np.sum(errors))
    return total if aligned else min(total, walk * float(np.sqrt(np.sum(errors**2))))
