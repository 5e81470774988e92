"""The noise of a function: how far rounding moves its values.

ECnoise: J. J. More and S. M. Wild, "Estimating computational noise", SIAM Journal on Scientific
Computing 33(3), 1292-1314 (2011). Values at equally spaced points are noise on top of a smooth
function. Differences of a higher order remove the smooth part and leave the noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .array import ROUNDOFF, Array
from .function import Function

# Points on each side of the inputs. The paper recommends seven points or more.
SIDE = 4
# Directions through the inputs. The largest estimate counts.
DIRECTIONS = 2


@dataclass(frozen=True)
class Noise:
    """The standard deviation of the loss, and of the part that each row adds to it."""

    total: float
    rows: Array


def measure_noise(function: Function, terms: Array, rng: np.random.Generator) -> Noise:
    """Estimates the noise along random directions. Costs at most 32 calls."""
    case = function.case
    # A function may compute in f64 and return a narrower dtype.
    roundoff = ROUNDOFF[function.output_dtype]
    floor = _reduced(function, (roundoff * terms) ** 2) ** 0.5
    found = floor
    for _ in range(DIRECTIONS):
        direction = case.scale * rng.standard_normal(case.x.size)
        sigma, valid = _along(function, terms, _spacings(function)[0] * direction)
        if not valid[0]:
            # Too fine a spacing sees no change in a function that rounds inside.
            coarse, coarse_valid = _along(function, terms, _spacings(function)[1] * direction)
            sigma = np.where(valid, sigma, np.where(coarse_valid, coarse, 0.0))
        found = np.maximum(found, sigma)
    # A row may be quiet by chance along so few directions.
    rows = np.maximum(found[1:], 0.5 * np.median(found[1:])) if found.size > 1 else found[1:]
    return Noise(float(found[0]), rows)


def _spacings(function: Function) -> tuple[float, float]:
    if function.mode.wide and function.output_dtype == "float64":
        return 2.0**-28, 2.0**-16
    u = max(
        ROUNDOFF[function.output_dtype], *(ROUNDOFF[leaf.dtype] for leaf in function.case.leaves)
    )
    return 16 * u, max(32 * u, u**0.5)


def _reduced(function: Function, terms: Array) -> Array:
    """Returns the sum of the terms, followed by the sum of each row."""
    total = np.array([np.sum(terms)])
    if not function.rows:
        return total
    return np.concatenate([total, np.bincount(function.term_rows, terms, function.rows)])


def _along(function: Function, terms: Array, step: Array) -> tuple[Array, np.ndarray]:
    offsets = [j for j in range(-SIDE, SIDE + 1) if j]
    x = function.case.x
    values = {j: _reduced(function, function.terms(x + j * step) - terms) for j in offsets}
    values[0] = np.zeros_like(values[1])
    return ecnoise(np.stack([values[j] for j in sorted(values)]))


def ecnoise(values: Array) -> tuple[Array, np.ndarray]:
    """Returns the noise of each column of equally spaced values, and which estimates are valid.

    The estimate of order k is the root mean square of the k-th differences, scaled by
    (k!)^2 / (2k)!. It is valid if three orders in a row agree within a factor of four and the
    differences change their sign. It is not if half of the first differences are zero.
    """
    count = len(values)
    differences = values
    levels, signs = [], []
    gamma = 1.0
    for order in range(1, count):
        differences = np.diff(differences, axis=0)
        gamma *= 0.5 * order / (2 * order - 1)
        levels.append(np.sqrt(gamma * np.mean(differences**2, axis=0)))
        signs.append((differences.min(axis=0) < 0) & (differences.max(axis=0) > 0))
    level = np.stack(levels)
    # Without agreement, the least of the higher orders is an upper estimate.
    sigma = np.min(level[2:], axis=0)
    agreed = np.zeros(values.shape[1], dtype=bool)
    for k in range(count - 4, -1, -1):
        low, high = level[k : k + 3].min(axis=0), level[k : k + 3].max(axis=0)
        fits = (high <= 4 * low) & signs[k]
        sigma = np.where(fits, level[k], sigma)
        agreed |= fits
    still = np.mean(np.diff(values, axis=0) == 0, axis=0) >= 0.5
    finite = np.isfinite(sigma)
    return np.where(finite, sigma, 0.0), finite & ~still & (agreed | (sigma > 0))
