"""What is known of single entries, and the decisions about them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .array import Array
from .case import Leaf
from .probe import Index

# In the order of `result.Decision`; an unseen entry was not measured.
RIGHT, WRONG, UNDECIDED, KINK, UNSEEN = range(5)

# A kink explains an error of at most this many jumps of the slope.
KINK_REACH = 4.0


@dataclass(frozen=True)
class Anchor:
    """A large entry as the fixed ladder sees it, whatever its gradient is."""

    column: int
    numeric: float
    tolerance: float
    bound: float
    flat: float

    @property
    def limit(self) -> float:
        """Returns the least error that convicts."""
        return max(self.tolerance + self.bound, 2 * self.flat)


@dataclass
class Entries:
    """What is known of some entries. Arrays are parallel to `entries`, which is sorted."""

    entries: Index
    analytic: Array
    numeric: Array
    bound: Array
    tolerance: Array
    flat: Array
    jump: Array
    step: Array
    decision: NDArray[np.int8]
    # The gradient of an entry that moves the loss as much as those of the most effective array.
    effect: Array
    anchors: list[Anchor] = field(default_factory=list)

    def of(self, leaf: Leaf) -> slice:
        low, high = np.searchsorted(self.entries, [leaf.start, leaf.stop])
        return slice(int(low), int(high))
