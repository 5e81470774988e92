"""Inputs whose rows act on their own row of the output only.

All rows of such an input are perturbed in one call. This is tested, not assumed.
"""

from __future__ import annotations

import numpy as np

from .array import Array
from .case import Leaf
from .function import Function


def separable(function: Function, terms: Array, leaf: Leaf, rng: np.random.Generator) -> bool:
    """Returns `True` if each row of `leaf` changes only the same row of the output.

    Perturbs the rows whose index has a certain bit, then the others. Any two rows differ in a
    bit, so every pair is tested, in twice the logarithm of the number of rows.
    """
    case, rows = function.case, function.rows
    if not rows or not leaf.shape or leaf.shape[0] != rows or not leaf.size:
        return False
    width = leaf.size // rows
    index = np.arange(rows)
    for bit in range((rows - 1).bit_length()):
        half = (index >> bit) % 2 == 1
        for moved in (half, ~half):
            step = 2.0**-10 * rng.standard_normal(leaf.size) * np.repeat(moved, width)
            x = case.x.copy()
            x[leaf.entries] += case.scale[leaf.entries] * step
            changed = function.terms(x) != terms
            if (changed & ~moved[function.term_rows]).any():
                return False
    return True
