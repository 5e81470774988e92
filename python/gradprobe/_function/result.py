"""The result of a check, in plain Python values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from .._report import Verdict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Decision = Literal["right", "wrong", "undecided", "kink"]


class RelativeError(NamedTuple):
    """Relative errors over the compared entries; `norm` is that of the whole difference."""

    max: float
    mean: float
    norm: float


@dataclass(frozen=True)
class WorstEntry:
    """One entry with a large error, in units of its own tolerance."""

    index: tuple[int, ...]
    place: str
    analytic: float
    numeric: float
    tolerance: float
    noise: float
    rel_err: float
    decision: Decision


@dataclass(frozen=True)
class LeafCheck:
    """The check of the gradient of one array.

    `compared` counts the entries that were measured one by one, `directions` the random
    directions through this array. `detectable` is the smallest uniform relative error that would
    have failed; it is `None` if the gradient is zero everywhere, or nothing was decided.
    `noise` is the median error bound of the numeric entries, `eps` their median step.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    verdict: Verdict
    entries: int
    compared: int
    wrong: int
    undecided: int
    kinks: int
    not_finite: int
    tolerance: str
    noise: float
    eps: float
    detectable: float | None
    rel_err: RelativeError
    worst: tuple[WorstEntry, ...]
    directions: int
    wrong_directions: int
    # For the diagnosis: float64 arrays of the leaf's shape, NaN where not measured.
    analytic: NDArray[np.float64] = field(repr=False, compare=False)
    numeric: NDArray[np.float64] = field(repr=False, compare=False)
    tolerance_array: NDArray[np.float64] = field(repr=False, compare=False)
    noise_array: NDArray[np.float64] = field(repr=False, compare=False)


@dataclass(frozen=True)
class FunctionResult:
    """The result of `check_function`.

    `taylor_order` is the order of the remainder of the first-order Taylor expansion: about 2 if
    the gradient is right, 1 if it is wrong, `None` if rounding hides the remainder.
    `every_entry` is `False` if the budget only allowed random directions.
    """

    verdict: Verdict
    checks: tuple[LeafCheck, ...]
    calls: int
    seconds: float
    notes: tuple[str, ...]
    taylor_order: float | None
    function_noise: float
    method: str
    every_entry: bool
