"""Measures entries one by one, and decides each."""

from __future__ import annotations

from contextlib import suppress

import numpy as np

from .._errors import CaseError
from .array import Array
from .case import Leaf
from .decision import KINK, KINK_REACH, RIGHT, UNDECIDED, UNSEEN, WRONG, Anchor, Entries
from .function import LimitReachedError
from .probe import Index, Lane, Prober
from .rounding import Moved, Tolerance, entry_spread
from .settings import MIN_POWER
from .table import SIGMAS, Estimate, Table, quick_estimate

# Entries of each array that are always examined in full. They carry its promise: which error
# would have been detected.
ANCHORS = 4
# An anchor is good if its derivative varies by this little over the steps and the sides.
FLAT = 0.01
# Suspects of each array that are examined; the rest follow them if nearly all are wrong.
SUSPECTS = 128
# Suspects of each array whose spread is drawn. The rest take the largest ratio found.
SPREADS = 48
# The blocks of rungs below the first ones that are tried near a kink or a singularity.
DEEPER = ((-6, -5, -4, -3), (-12, -11, -10, -9), (-20, -19, -18, -17), (-28, -27, -26, -25))


class EntryCheck:
    """Examines entries: a first pass over all of them, then the suspects."""

    def __init__(
        self,
        prober: Prober,
        entries: Index,
        analytic: Array,
        tolerance: Tolerance,
        moved: list[Moved],
        exact: Array | None = None,
    ) -> None:
        self.prober = prober
        self.tolerance = tolerance
        self.moved = moved
        # Derivatives by complex steps, which replace the first pass of differences.
        self.exact = exact
        self.table: Table = prober.table(entries)
        self.lanes: list[Lane] = prober.lanes(entries)
        self.lane_of = np.zeros(entries.size, dtype=np.intp)
        for i, lane in enumerate(self.lanes):
            self.lane_of[lane.columns] = i
        nan, inf = np.full(entries.size, np.nan), np.full(entries.size, np.inf)
        decision = np.full(entries.size, UNSEEN, dtype=np.int8)
        self.found = Entries(
            entries,
            analytic[entries],
            nan.copy(),
            inf.copy(),
            nan.copy(),
            inf.copy(),
            np.zeros(entries.size),
            nan.copy(),
            decision,
            np.zeros(entries.size),
        )
        self.size = np.zeros(entries.size)
        self.typical = np.zeros(entries.size)
        self.spread = np.full(entries.size, np.nan)

    def run(self) -> Entries:
        """Returns what is known when all suspects are settled, or the budget is spent."""
        with suppress(LimitReachedError):
            self._first_pass()
        self._take_first_pass()
        with suppress(LimitReachedError):
            for leaf in self.prober.function.case.checked:
                self._examine_anchors(leaf)
            for leaf in self.prober.function.case.checked:
                self._examine_suspects(leaf)
        self._decide(np.arange(self.found.entries.size))
        for leaf in self.prober.function.case.checked:
            self._decide_unexamined(leaf)
        return self.found

    def _first_pass(self) -> None:
        if self.exact is not None:
            return
        for lane in self.lanes:
            for k in (0, 1):
                self.prober.probe(self.table, self.found.entries, lane, k)

    def _take_first_pass(self) -> None:
        found = self.found
        columns = np.arange(found.entries.size)
        if self.exact is not None:
            found.numeric = self.exact[found.entries]
            self._measure_sizes()
            found.bound = 1e-12 * (np.abs(found.numeric) + self.typical)
            found.step = self.prober.first_steps(found.entries)
        elif 1 in self.table.rungs:
            self._take(columns, quick_estimate(self.table, columns, np.zeros(columns.size)))
            self._measure_sizes()
            self._take(columns, quick_estimate(self.table, columns, self.typical))
        found.flat[:] = np.inf
        self._set_tolerance(columns)
        self._decide(columns)

    def _take(self, columns: Index, estimate: Estimate) -> None:
        found = self.found
        found.numeric[columns] = estimate.numeric
        found.bound[columns] = estimate.bound
        found.flat[columns] = estimate.flat
        found.jump[columns] = estimate.jump
        found.step[columns] = estimate.step

    def _measure_sizes(self) -> None:
        """Sets the root mean square and the median of the nonzero numeric entries, by array."""
        found = self.found
        scale = self.prober.scale[found.entries]
        seen = np.isfinite(found.numeric)
        # The change of the loss per relative change of an entry compares arrays of any unit.
        effect = 0.0
        for leaf in self.prober.function.case.checked:
            part = found.of(leaf)
            values = np.abs(found.numeric[part][seen[part]])
            if not values.size:
                continue
            nonzero = values[values > found.bound[part][seen[part]]]
            self.size[part] = np.sqrt(np.mean(values**2))
            self.typical[part] = np.median(nonzero) if nonzero.size else 0.0
            if nonzero.size:
                weighted = values * scale[part][seen[part]]
                effect = max(effect, float(np.sqrt(np.mean(weighted**2))))
        if effect == 0:
            # All gradients are zero, up to the noise. A thousandth of the loss sets the scale.
            effect = 1e-3 * float(np.sqrt(np.sum(self.prober.terms**2)))
        found.effect = effect / scale
        self.typical = np.where(self.typical > 0, self.typical, found.effect)

    def _set_tolerance(self, columns: Index) -> None:
        found = self.found
        numeric = found.numeric[columns]
        floor = self.tolerance.floor(
            found.analytic[columns],
            numeric,
            self.size[columns],
            np.abs(numeric) <= found.bound[columns],
            found.effect[columns],
        )
        spread = np.nan_to_num(self.spread[columns], nan=0.0)
        found.tolerance[columns] = floor + self.tolerance.constants.spread * spread

    def _decide(self, columns: Index) -> None:
        """Decides entries by their estimates. Convicts only what is flat over three steps."""
        found = self.found
        numeric, bound = found.numeric[columns], found.bound[columns]
        analytic, tolerance = found.analytic[columns], found.tolerance[columns]
        with np.errstate(invalid="ignore"):
            error = np.abs(analytic - numeric)
        seen = np.isfinite(numeric) & np.isfinite(bound)
        finite = np.isfinite(analytic)
        sharp = bound <= self._sharp(columns)
        beyond = ~(error <= tolerance + bound)
        kink = (np.abs(found.jump[columns]) * KINK_REACH >= error) & (found.jump[columns] != 0)
        flat = 2 * found.flat[columns] <= error
        decision = np.full(columns.size, UNDECIDED, dtype=np.int8)
        decision[seen & ~beyond & sharp] = RIGHT
        if self.tolerance.own:
            # What is a zero up to the noise must not need a tolerance of its own.
            slack = np.minimum(bound, self._share(columns))
            decision[seen & (error > tolerance + slack)] = UNDECIDED
        decision[seen & beyond & flat] = WRONG
        decision[seen & beyond & kink] = KINK
        decision[seen & ~finite] = WRONG
        decision[~seen & np.isnan(numeric) & np.isnan(found.step[columns])] = UNSEEN
        found.decision[columns] = decision

    def _sharp(self, columns: Index) -> Array:
        """Returns the largest error bound that still decides an entry."""
        found = self.found
        tolerance = found.tolerance[columns]
        if self.tolerance.own:
            return np.maximum(tolerance, self._share(columns))
        size = np.maximum(np.abs(found.numeric[columns]), self.typical[columns])
        return np.maximum(tolerance, MIN_POWER * size)

    def _share(self, columns: Index) -> Array:
        """Returns the part of a typical entry that the user tolerates."""
        return (self.tolerance.rtol or 0.0) * self.typical[columns]

    def _examine_anchors(self, leaf: Leaf) -> None:
        """Measures the largest entries on a fixed ladder, whatever their gradient is."""
        found = self.found
        part = found.of(leaf)
        numeric = np.abs(found.numeric[part])
        usable = np.isfinite(numeric) & (numeric > found.bound[part])
        order = np.argsort(np.where(usable, -numeric, np.inf), kind="stable")
        chosen = [part.start + int(i) for i in order[:ANCHORS] if usable[i]]
        for column in chosen:
            lane = self.lanes[self.lane_of[column]]
            columns = np.array([column])
            self._measure(lane, range(-6, 4))
            estimate = self.table.estimate(columns)
            for block in DEEPER[1:]:
                # Both sides differ near a kink. A smaller step may leave it outside.
                least = FLAT * abs(float(estimate.numeric[0]))
                if estimate.flat[0] <= least or self._noise_at(columns, block[-1])[0] > least:
                    break
                self._measure(lane, block)
                estimate = self.table.estimate(columns)
            self._take(columns, estimate)
            self._check_analytic(column)
            self._draw(column)
            self._set_tolerance(columns)
            if estimate.jump[0] == 0:
                found.anchors.append(
                    Anchor(
                        column,
                        float(found.numeric[column]),
                        float(found.tolerance[column]),
                        float(found.bound[column]),
                        float(found.flat[column]),
                    )
                )

    def _measure(self, lane: Lane, ks: range | tuple[int, ...]) -> None:
        for k in ks:
            if not self.table.has(k, int(lane.columns[0])):
                self.prober.probe(self.table, self.found.entries, lane, k)

    def _draw(self, column: int) -> None:
        """Measures the spread of the lane of a column."""
        if not self.tolerance.draws or np.isfinite(self.spread[column]):
            return
        lane = self.lanes[self.lane_of[column]]
        numeric = self.found.numeric[lane.columns]
        spread = entry_spread(self.prober, self.moved, self.found.entries, lane, numeric)
        self.spread[lane.columns] = spread

    def _examine_suspects(self, leaf: Leaf) -> None:
        """Settles what the first pass did not call right, the largest errors first."""
        found = self.found
        part = found.of(leaf)
        self._decide(np.arange(part.start, part.stop))
        settled = np.isin(found.decision[part], (RIGHT, WRONG, UNSEEN))
        suspects = [part.start + int(i) for i in np.flatnonzero(~settled)]
        with np.errstate(all="ignore"):
            excess = np.abs(found.analytic - found.numeric) / (found.tolerance + found.bound)
        suspects.sort(key=lambda i: -float(np.nan_to_num(excess[i], nan=np.inf)))
        lanes: dict[int, list[int]] = {}
        for column in suspects:
            lanes.setdefault(int(self.lane_of[column]), []).append(column)
        for i, (index, columns) in enumerate(lanes.items()):
            if i >= SUSPECTS:
                break
            if self.tolerance.draws and i < SPREADS:
                self._draw(columns[0])
            self._settle(self.lanes[index], np.array(columns))

    def _settle(self, lane: Lane, columns: Index) -> None:
        """Adds steps until every suspect of a lane is decided, or no step helps."""
        if self._settled(lane, columns, (0, 1, 2, 3)) or self._settled(lane, columns, (-1, -2)):
            # A conviction must outlive steps that are 64 times as small.
            if (self.found.decision[columns] == RIGHT).all():
                return
            if self._settled(lane, columns, DEEPER[0]):
                return
        estimate = self.table.estimate(columns)
        if estimate.noisy.any() and self._settled(lane, columns, (4, 5)):
            return
        if estimate.noisy.all() and self._settled(lane, columns, (6, 7)):
            return
        for block in DEEPER:
            best = self.table.estimate(columns)
            # Where noise exceeds the error, a smaller step shows nothing.
            noise = self._noise_at(columns, block[-1])
            error = np.abs(self.found.analytic[columns] - best.numeric)
            if (noise > np.maximum(error, np.abs(best.jump))).all():
                return
            if self._settled(lane, columns, block):
                return

    def _noise_at(self, columns: Index, k: int) -> Array:
        """Returns the error by noise of a difference on rung `k`."""
        steps = self.prober.first_steps(self.found.entries[columns]) * 2.0**k
        return np.asarray(SIGMAS * self.table.noise[columns] / steps)

    def _settled(self, lane: Lane, columns: Index, ks: tuple[int, ...]) -> bool:
        self._measure(lane, ks)
        self._take(columns, self.table.estimate(columns))
        for column in columns:
            self._check_analytic(int(column))
        self._set_tolerance(columns)
        self._decide(columns)
        decisions = self.found.decision[columns]
        return bool(np.isin(decisions, (RIGHT, WRONG)).all())

    def _check_analytic(self, column: int) -> None:
        """Raises `CaseError` if a complex step and a real one disagree in one entry."""
        if self.exact is None:
            return
        found = self.found
        entry = int(found.entries[column])
        exact, numeric = float(self.exact[entry]), float(found.numeric[column])
        error = abs(exact - numeric)
        limit = found.bound[column] + 1e-6 * max(abs(exact), abs(numeric), self.typical[column])
        if error > limit and 2 * found.flat[column] <= error and not found.jump[column]:
            leaves = self.prober.function.case.leaves
            leaf = next(leaf for leaf in leaves if leaf.start <= entry < leaf.stop)
            raise CaseError(
                f"complex-step: the function is not analytic at {leaf.place(entry - leaf.start)[1]}"
                f" (complex step {exact:.6g}, real difference {numeric:.6g});"
                ' use method="difference"'
            )

    def _decide_unexamined(self, leaf: Leaf) -> None:
        """Convicts suspects beyond the limit if nearly all examined ones are wrong.

        They have two steps instead of three, and the largest spread that the others have.
        """
        found = self.found
        part = found.of(leaf)
        examined = np.isfinite(found.flat[part])
        decision = found.decision[part]
        wrong = int((examined & (decision == WRONG)).sum())
        accused = int((examined & (decision != RIGHT)).sum())
        with np.errstate(all="ignore"):
            error = np.abs(found.analytic[part] - found.numeric[part])
            drawn = np.isfinite(self.spread[part]) & (self.size[part] > 0)
            ratio = self.spread[part][drawn] / self.size[part][drawn]
            largest = float(ratio.max(initial=0.0))
            extra = self.tolerance.constants.spread * largest * self.size[part]
            limit = found.tolerance[part] + np.where(drawn, 0.0, extra) + 4 * found.bound[part]
        rest = ~examined & (decision == UNDECIDED)
        sharp = found.bound[part] <= self._sharp(np.arange(part.start, part.stop))
        found.decision[part] = np.where(rest & sharp & (error <= limit), RIGHT, decision)
        if wrong >= 8 and wrong >= 0.9 * accused:
            found.decision[part] = np.where(rest & (error > limit), WRONG, found.decision[part])
