"""The order of the Taylor remainder: a second opinion that needs no step.

|f(x + h v) - f(x) - h <g, v>| falls as h^2 if g is the gradient, and as h if it is not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .array import Array
from .probe import Prober
from .table import SIGMAS

# Twelve steps, each four times as large as the one before, up to 2^2 of the first one of a check.
# The small ones show an error of 1e-6 below the curvature.
RUNGS = range(-20, 4, 2)


@dataclass(frozen=True)
class Remainders:
    """The remainders along one direction at growing steps, and the noise in each."""

    steps: Array
    sizes: Array
    noise: float

    def order(self, tolerance: float) -> float | None:
        """Returns the order, `None` if rounding hides the remainder.

        `tolerance` is what rounding explains of <g, v>. The smallest steps count, where the
        higher terms are gone.
        """
        floor = 2 * (self.steps * tolerance + self.noise)
        visible = np.where(self.sizes > floor, self.sizes, np.nan)
        with np.errstate(all="ignore"):
            orders = np.diff(np.log2(visible)) / RUNGS.step
        valid = orders[np.isfinite(orders)]
        return float(np.median(valid[:4])) if valid.size else None

    def contradict(self, error: float) -> bool:
        """Returns `True` if an error of <g, v> would leave larger remainders.

        The two smallest steps above the noise count. Larger ones may reach across a kink, and at
        a single one the curvature can cancel the error.
        """
        usable = np.flatnonzero(self.noise < 0.125 * self.steps * error)[:2]
        missing = self.sizes[usable] < 0.5 * self.steps[usable] * error
        return usable.size == 2 and bool(missing.all())


def remainders(prober: Prober, direction: Array, slope: float) -> Remainders:
    """Measures the remainders along `direction`; `slope` is <g, v>."""
    x = prober.function.case.x
    steps = np.array([2.0**k for k in RUNGS])
    sizes = [abs(float(prober.change(x + h * direction, None)[0]) - h * slope) for h in steps]
    return Remainders(steps, np.array(sizes), SIGMAS * prober.noise.total)
