"""Central differences of many columns at a ladder of steps, and what they say together.

A column is one entry, or one direction. Rung k of the ladder has 2^k times the first step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .array import Array

# A difference is trusted up to this many standard deviations of the noise. Six, because the
# estimate of the deviation may itself be low by a factor of two.
SIGMAS = 6.0


@dataclass(frozen=True)
class Estimate:
    """Derivatives of some columns, with what is known of their errors.

    `bound` is the error by truncation and noise. `flat` is the largest change of the derivative
    over three steps in a row and from one side to the other; infinite if there are no three steps
    yet. `jump` is the difference
    of the slopes on both sides, extrapolated to a step of zero; 0 if it is not significant.
    """

    numeric: Array
    bound: Array
    flat: Array
    jump: Array
    step: Array
    noisy: NDArray[np.bool_]


@dataclass
class Rung:
    """Changes of the loss at one step, ahead and behind, and the realised steps."""

    ahead: Array
    behind: Array
    step_ahead: Array
    step_behind: Array


class Table:
    """The rungs of `count` columns; NaN where nothing was measured."""

    def __init__(self, noise: Array) -> None:
        self.noise = noise
        self.rungs: dict[int, Rung] = {}

    def has(self, k: int, column: int) -> bool:
        return k in self.rungs and bool(self.rungs[k].step_ahead[column] > 0)

    def record(
        self,
        k: int,
        columns: NDArray[np.intp],
        changes: tuple[Array, Array],
        steps: tuple[Array, Array],
    ) -> None:
        if k not in self.rungs:
            self.rungs[k] = Rung(*(np.full(self.noise.size, np.nan) for _ in range(4)))
        rung = self.rungs[k]
        rung.ahead[columns], rung.behind[columns] = changes
        rung.step_ahead[columns], rung.step_behind[columns] = steps

    def estimate(self, columns: NDArray[np.intp]) -> Estimate:
        """Returns the best derivative of each column over all of its rungs."""
        count = columns.size
        if not self.rungs:
            nan, inf = np.full(count, np.nan), np.full(count, np.inf)
            return Estimate(nan, inf, inf, np.zeros(count), nan, np.zeros(count, dtype=bool))
        ks = range(min(self.rungs), max(self.rungs) + 1)
        slopes, ahead, behind, steps = (np.full((len(ks), count), np.nan) for _ in range(4))
        for i, k in enumerate(ks):
            if k in self.rungs:
                r = self.rungs[k]
                a, b = r.ahead[columns], r.behind[columns]
                ha, hb = r.step_ahead[columns], r.step_behind[columns]
                with np.errstate(all="ignore"):
                    slopes[i] = (a - b) / (ha + hb)
                    ahead[i], behind[i] = a / ha, -b / hb
                    steps[i] = 0.5 * (ha + hb)
        with np.errstate(all="ignore"):
            return _estimate(slopes, ahead, behind, steps, self.noise[columns])


def quick_estimate(table: Table, columns: NDArray[np.intp], typical: Array) -> Estimate:
    """Returns the derivative by the first two rungs.

    Its truncation error is about the square of that of the central difference. This is a guess,
    good enough to pass an entry that agrees with it, never to accuse one.
    """
    estimate = table.estimate(columns)
    first, second = (table.rungs[k] for k in (0, 1))
    with np.errstate(all="ignore"):
        slopes = [
            (r.ahead - r.behind)[columns] / (r.step_ahead + r.step_behind)[columns]
            for r in (first, second)
        ]
        numeric = (4 * slopes[0] - slopes[1]) / 3
        error = np.abs(slopes[0] - slopes[1]) / 3
        size = np.maximum(np.abs(numeric), typical)
        guess = np.minimum(error, np.where(size > 0, 10 * error**2 / size, error))
        step = 0.5 * (first.step_ahead + first.step_behind)[columns]
        bound = guess + SIGMAS * table.noise[columns] / step
    bound = np.where(np.isfinite(bound), bound, np.inf)
    return Estimate(numeric, bound, estimate.flat, estimate.jump, step, estimate.noisy)


def _estimate(slopes: Array, ahead: Array, behind: Array, steps: Array, noise: Array) -> Estimate:
    count = slopes.shape[1]
    better = (4 * slopes[:-1] - slopes[1:]) / 3  # Richardson: the error falls as h^4.
    rounding = SIGMAS * noise / steps[:-1]
    # The change to the next step bounds the error of the smaller one, by a factor of about 15.
    # One change can be small by chance; the next one, which is 16 times as large, guards it.
    change = np.abs(np.diff(better, axis=0))
    truncation = np.full(better.shape, np.inf)
    truncation[: len(change)] = np.where(np.isnan(change), np.inf, change)
    guard = np.full(better.shape, 0.0)
    guard[: max(len(change) - 1, 0)] = np.nan_to_num(change[1:] / 32, nan=0.0, posinf=np.inf)
    total = np.maximum(truncation, guard) + rounding
    # With only two steps, the change of the plain difference bounds the error.
    plain = np.abs(np.diff(slopes, axis=0)) / 3 + rounding
    total = np.where(np.isinf(total), plain * 1.0, total)
    total = np.where(np.isfinite(total) & np.isfinite(better), total, np.inf)
    if not len(better):
        nan, inf = np.full(count, np.nan), np.full(count, np.inf)
        return Estimate(nan, inf, inf, np.zeros(count), nan, np.zeros(count, dtype=bool))
    best = np.argmin(total + _gap(ahead, behind), axis=0)
    every = np.arange(count)
    numeric, bound = better[best, every], total[best, every]
    flat = _flatness(better, best, numeric)
    noisy = rounding[best, every] > 0.5 * bound
    # Near a kink two changes can be small by chance. Three steps show it.
    bound = np.where(np.isfinite(flat), np.maximum(bound, flat / 8), bound)
    flat = np.maximum(flat, _sidedness(ahead, behind, numeric))
    jump = _jump(ahead - behind, steps, noise)
    return Estimate(numeric, bound, flat, jump, steps[best, every], noisy)


def _flatness(better: Array, best: NDArray[np.intp], numeric: Array) -> Array:
    """Returns the largest deviation from `numeric` in the flattest three rungs with the best."""
    every = np.arange(best.size)
    flat = np.full(best.size, np.inf)
    for offsets in ((-1, 0, 1), (0, 1, 2), (-2, -1, 0)):
        worst = np.zeros(best.size)
        for offset in offsets:
            rung = best + offset
            inside = (rung >= 0) & (rung < len(better))
            value = better[np.clip(rung, 0, len(better) - 1), every]
            deviation = np.where(inside, np.abs(value - numeric), np.inf)
            worst = np.maximum(worst, np.where(np.isnan(deviation), np.inf, deviation))
        flat = np.minimum(flat, worst)
    return flat


def _gap(ahead: Array, behind: Array) -> Array:
    """Returns a penalty for steps that reach across a kink: the gap between the sides' slopes.

    Where the function is smooth, the gap is about h^2. Only a gap above a thousandth counts.
    """
    left, right = 2 * behind[:-1] - behind[1:], 2 * ahead[:-1] - ahead[1:]
    gap = np.nan_to_num(np.abs(right - left), nan=0.0)
    size = np.nan_to_num(np.maximum(np.abs(left), np.abs(right)), nan=0.0)
    return np.asarray(np.where(gap > 1e-3 * size, gap, 0.0))


def _sidedness(ahead: Array, behind: Array, numeric: Array) -> Array:
    """Returns how far the slopes of both sides are from `numeric`, at the best step.

    A central difference across a kink beside the point can look the same at several steps. One of
    the sides then has the right slope.
    """
    apart = np.maximum(
        np.abs(2 * ahead[:-1] - ahead[1:] - numeric), np.abs(2 * behind[:-1] - behind[1:] - numeric)
    )
    return np.asarray(np.where(np.isnan(apart), np.inf, apart).min(axis=0, initial=np.inf))


def _jump(curves: Array, steps: Array, noise: Array) -> Array:
    """Returns the jump of the slope at the point itself, 0 if there is none.

    The slopes on both sides differ by h f'' where the function is smooth. Extrapolated to a step
    of zero nothing is left of it; a kink leaves the same jump at every step.
    """
    found = np.zeros(curves.shape[1])
    if len(curves) < 4:
        return found
    jumps = 2 * curves[:-1] - curves[1:]
    rounding = 3 * SIGMAS * noise / steps[:-1]
    size = np.abs(jumps)
    calm = np.zeros(found.size, dtype=bool)
    for i in range(len(jumps) - 2):
        same = (np.abs(jumps[i] - jumps[i + 1]) <= 0.25 * size[i]) & (
            np.abs(jumps[i + 1] - jumps[i + 2]) <= 0.25 * size[i + 1]
        )
        kink = same & (size[i] > 3 * rounding[i]) & ~calm & (found == 0)
        # A smaller step that sees no such jump shows that the kink is beside the point.
        smaller = np.where(np.isnan(jumps[:i]) | (rounding[:i] > 0.25 * size[i]), np.inf, size[:i])
        least = smaller.min(axis=0, initial=np.inf)
        kink &= least >= 0.5 * size[i]
        found = np.where(kink, jumps[i], found)
    return found
