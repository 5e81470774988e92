"""The tolerance: the error that rounding explains in a gradient of its dtype.

Three parts. A few units of roundoff of the entry itself and of its array, for the sums inside. A
term for entries that are zero by cancellation, where the terms that cancel leave rounding errors.
And the spread of the derivative when every input, and every term of the loss, moves by its
roundoff, measured by a few draws.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .array import ROUNDOFF, Array
from .case import Case, Leaf
from .function import Function
from .probe import Index, Lane, Prober

# No difference accuses an error below this: it is what hand-written code approximates.
RESOLUTION = 1e-7


@dataclass(frozen=True)
class Constants:
    """Units of roundoff, and how many spreads.

    `entry` counts units of the entry, `array` of the root mean square of its array, `effect` of
    what a typical entry of the most effective array would be, and `spread` the spreads of the
    derivative. `total` and `total_spread` hold for the sum of an array along its signs.
    """

    entry: float
    array: float
    effect: float
    spread: float
    total: float
    total_spread: float


# Code in float32 and float64 rounds every intermediate value; that of 16-bit types mostly rounds
# what it stores, and sums in float32. Measured on right gradients of torch, JAX and NumPy, of the
# functions of tests/test_function_zoo.py, November 2026; the largest error in units of the
# tolerance. float32, 60 draws of nine functions, entries with a drawn spread: 0.18, and 0.63 at
# the kinks of the renderer. bfloat16, 60 draws of seven functions: 0.34 for entries (a recurrent
# cell), 0.69 for sums (an ODE step). `effect` of SHORT is 4 and not 1 because of that step: where
# tanh saturates in bfloat16, 1 - tanh^2 is zero, and no move of the inputs shows it.
LONG = Constants(entry=64.0, array=64.0, effect=2.0, spread=16.0, total=64.0, total_spread=16.0)
SHORT = Constants(entry=16.0, array=24.0, effect=4.0, spread=6.0, total=6.0, total_spread=4.0)

# Units of roundoff of the other entries, for an entry that is zero by cancellation.
CANCELLED = 16.0
# How many draws measure a spread.
DRAWS = 4

# At the roundoff of float64 the spread drowns in the noise of the difference, which the error
# bound of the numeric entry covers already.
NO_DRAWS_BELOW = 2.0**-40


@dataclass
class Tolerance:
    """The tolerance of every entry, from its numeric value only unless the user chose it.

    A tolerance that does not depend on the gradient under test cannot be bought by a wrong one.
    """

    rtol: float | None
    atol: float | None
    roundoff: float

    @property
    def own(self) -> bool:
        return self.rtol is not None or self.atol is not None

    @property
    def is_short(self) -> bool:
        """Returns true for the types of 16 bits."""
        return self.roundoff > 2.0**-20

    @property
    def constants(self) -> Constants:
        return SHORT if self.is_short else LONG

    @property
    def draws(self) -> bool:
        return not self.own and self.roundoff > NO_DRAWS_BELOW

    def relative(self) -> float:
        """Returns the part of the tolerance in proportion to the entry."""
        if self.own:
            return self.rtol or 0.0
        return RESOLUTION + self.constants.entry * self.roundoff

    def floor(
        self,
        analytic: Array,
        numeric: Array,
        size: Array,
        zero: NDArray[np.bool_],
        effect: Array,
    ) -> Array:
        """Returns the tolerance without the spread.

        `size` is the root mean square of the numeric array. `effect` is the gradient that an
        entry would have if it moved the loss as much as the entries of the most effective array.
        It counts more where `zero`: the entry may be a difference of terms that cancel.
        """
        if self.own:
            magnitude = np.fmax(np.abs(analytic), np.abs(numeric))
            return (self.rtol or 0.0) * magnitude + (self.atol or 0.0)
        u = self.roundoff
        near = self.relative() * np.abs(numeric) + self.constants.array * u * size
        return np.asarray(near + np.where(zero, CANCELLED, self.constants.effect) * u * effect)

    def sentence(self, leaf: Leaf) -> str:
        if self.own:
            return (
                f"|analytic - numeric| <= {self.rtol or 0:g} * max(|analytic|, |numeric|)"
                f" + {self.atol or 0:g}"
            )
        array = self.constants.array * self.roundoff
        text = (
            f"{self.relative():.3g} of the entry and {array:.3g} of the root mean square"
            f" of {leaf.name}"
        )
        if self.draws:
            text += (
                f", plus {self.constants.spread:g} times the spread of the derivative"
                " when the inputs move by their roundoff"
            )
        return text


def gradient_roundoff(case: Case) -> float:
    """Returns the largest roundoff of the gradients: what one of them rounds to, all inherit."""
    return max(ROUNDOFF[leaf.gradient_dtype] for leaf in case.checked)


@dataclass(frozen=True)
class Moved:
    """Inputs and weights of the loss's terms, each moved by a random part of its roundoff.

    The gradient that arrives at the output is rounded too. Where its entries cancel in a sum, as
    those behind a batch norm do in the gradient of a bias, nothing else may be left.
    """

    x: Array
    weights: Array


def moved_inputs(function: Function, u: float, seed: int) -> list[Moved]:
    """Returns a few draws of the inputs and weights."""
    rng = np.random.default_rng([seed, 0x5EED])
    x, terms = function.case.x, function.term_rows.size

    def near_one(size: int) -> Array:
        return 1 + u * rng.standard_normal(size)

    return [Moved(function.realised(x * near_one(x.size)), near_one(terms)) for _ in range(DRAWS)]


def entry_spread(
    prober: Prober, moved: list[Moved], entries: Index, lane: Lane, numeric: Array
) -> Array:
    """Returns the root mean square change of the derivatives of a lane over the moved inputs."""
    chosen = entries[lane.columns]
    step = prober.first_steps(chosen)

    def slope(draw: Moved, k: int) -> Array:
        ahead, behind = draw.x.copy(), draw.x.copy()
        ahead[chosen] += step * k
        behind[chosen] -= step * k
        ahead, behind = prober.function.realised(ahead), prober.function.realised(behind)
        changes = (prober.change(at, lane.rows, draw.weights) for at in (ahead, behind))
        change = next(changes) - next(changes)
        with np.errstate(all="ignore"):
            return np.asarray(change / (ahead[chosen] - behind[chosen]))

    found = [(4 * slope(draw, 1) - slope(draw, 2)) / 3 for draw in moved]
    return _root_mean_square(found, numeric)


def direction_spread(prober: Prober, moved: list[Moved], direction: Array, slope: float) -> float:
    """Returns the root mean square change of a directional derivative over the moved inputs."""
    found = []
    for draw in moved:
        changes = {
            h: prober.change(draw.x + h * direction, None, draw.weights)
            for h in (1.0, -1.0, 2.0, -2.0)
        }
        first, second = changes[1.0] - changes[-1.0], changes[2.0] - changes[-2.0]
        found.append((8 * first - second) / 12)
    return float(_root_mean_square(found, np.array([slope]))[0])


def _root_mean_square(found: list[Array], center: Array) -> Array:
    squares = [np.nan_to_num((value - center) ** 2, nan=0.0, posinf=0.0) for value in found]
    return np.asarray(np.sqrt(np.mean(squares, axis=0)))
