"""Sums up what was measured of each array."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np

from .._report import Verdict, worst
from .array import Array
from .case import Leaf
from .decision import KINK, RIGHT, UNSEEN, WRONG, Entries
from .directions import Direction, DirectionCheck
from .result import Decision, LeafCheck, RelativeError, WorstEntry
from .rounding import Tolerance
from .settings import MIN_POWER

# A pass may leave this share of the entries undecided, and this share at kinks.
UNDECIDED_SHARE = 0.01
KINK_SHARE = 0.1
WORST = 5


def summarize(
    leaf: Leaf,
    entries: Entries | None,
    directions: DirectionCheck | None,
    tolerance: Tolerance,
    every_entry: bool,
) -> LeafCheck:
    """Returns the check of one array."""
    assert leaf.analytic is not None
    numeric, bound, limit, step = (np.full(leaf.size, np.nan) for _ in range(4))
    decision = np.full(leaf.size, UNSEEN, dtype=np.int8)
    if entries is not None:
        part = entries.of(leaf)
        position = entries.entries[part] - leaf.start
        numeric[position], bound[position] = entries.numeric[part], entries.bound[part]
        limit[position], step[position] = entries.tolerance[part], entries.step[part]
        decision[position] = entries.decision[part]
    bound[np.isinf(bound)] = np.nan
    seen = decision != UNSEEN
    wrong, kinks = int((decision == WRONG).sum()), int((decision == KINK).sum())
    undecided = int(seen.sum()) - int((decision == RIGHT).sum()) - wrong - kinks
    # The entries of the other arrays cannot say what would have been detected in this one.
    detectable = _detectable(leaf, entries, directions, tolerance)
    mine = _directions_of(leaf, directions)
    # In half precision the tolerance may be as large as a gradient that matters.
    room = bound if tolerance.is_short else bound + limit
    zero = bool(seen.any()) and bool((np.abs(numeric[seen]) <= room[seen]).all())
    if zero and detectable is not None and not detectable <= MIN_POWER:
        # Terms that cancel, as in the bias before a batch norm, leave rounding errors only.
        detectable = None
    missing = leaf.size - int(seen.sum()) if every_entry else 0
    verdict: Verdict = "pass"
    spare = max(0.0, kinks - KINK_SHARE * leaf.size)
    if undecided + missing + spare > UNDECIDED_SHARE * max(int(seen.sum()) + missing, 1):
        verdict = "inconclusive"
    if detectable is None and not (zero and every_entry) and leaf.size:
        verdict = "inconclusive"
    if detectable is not None and not detectable <= MIN_POWER:
        verdict = "inconclusive"
    accused = sum(one.decision == WRONG for one in mine)
    alone = [one for one in mine if leaf.start <= one.entries[0] and one.entries[-1] < leaf.stop]
    if wrong or any(one.decision == WRONG for one in alone):
        verdict = "fail"
    return LeafCheck(
        name=leaf.name,
        shape=leaf.shape,
        dtype=leaf.gradient_dtype,
        verdict=verdict,
        entries=leaf.size,
        compared=int(seen.sum()),
        wrong=wrong,
        undecided=undecided + missing,
        kinks=kinks,
        not_finite=int((~np.isfinite(leaf.analytic)).sum()),
        tolerance=tolerance.sentence(leaf),
        noise=_median(bound),
        eps=_median(step),
        detectable=detectable,
        rel_err=_relative_error(leaf.analytic, numeric),
        worst=_worst(leaf, numeric, limit, bound, decision),
        directions=len(mine),
        wrong_directions=accused,
        analytic=leaf.analytic.reshape(leaf.shape),
        numeric=numeric.reshape(leaf.shape),
        tolerance_array=limit.reshape(leaf.shape),
        noise_array=bound.reshape(leaf.shape),
    )


def overall(checks: tuple[LeafCheck, ...], directions: DirectionCheck | None) -> Verdict:
    """Returns the worst verdict; a wrong direction through several arrays fails them together."""
    if directions is not None and any(one.decision == WRONG for one in directions.directions):
        return "fail"
    return worst(check.verdict for check in checks)


def _directions_of(leaf: Leaf, directions: DirectionCheck | None) -> list[Direction]:
    if directions is None or not leaf.size:
        return []
    return [
        one
        for one in directions.directions
        if one.entries[0] < leaf.stop and one.entries[-1] >= leaf.start
    ]


def _detectable(
    leaf: Leaf,
    entries: Entries | None,
    directions: DirectionCheck | None,
    tolerance: Tolerance,
) -> float | None:
    """Returns the smallest uniform relative error that a conviction would have followed.

    A relative error d moves an entry by d |a|. An anchor is convicted beyond its tolerance, its
    bound and twice its variation over the steps; none of them depends on the gradient, except
    a tolerance that the user set in proportion to it.
    """
    found: list[float] = []
    if entries is not None:
        part = entries.of(leaf)
        for anchor in entries.anchors:
            if not part.start <= anchor.column < part.stop:
                continue
            analytic, numeric = float(entries.analytic[anchor.column]), anchor.numeric
            size, growth = abs(analytic), 0.0
            if tolerance.own:
                growth = (tolerance.rtol or 0.0) * max(size, abs(numeric))
            reach = abs(analytic - numeric) + anchor.limit
            if size > growth and math.isfinite(reach):
                found.append(reach / (size - growth))
    if directions is not None:
        other = directions.detectable(leaf)
        if other is not None:
            found.append(other)
    return min(found, default=None)


def _median(values: Array) -> float:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if finite.size else float("nan")


def _relative_error(analytic: Array, numeric: Array) -> RelativeError:
    seen = np.isfinite(numeric) & np.isfinite(analytic)
    a, n = analytic[seen], numeric[seen]
    if not a.size:
        return RelativeError(float("nan"), float("nan"), float("nan"))
    size = np.maximum(np.abs(a), np.abs(n))
    each = np.divide(np.abs(a - n), size, out=np.zeros(a.size), where=size > 0)
    norm = float(np.linalg.norm(n)) or 1.0
    return RelativeError(float(each.max()), float(each.mean()), float(np.linalg.norm(a - n)) / norm)


def _worst(
    leaf: Leaf, numeric: Array, limit: Array, bound: Array, decision: np.ndarray
) -> tuple[WorstEntry, ...]:
    """Returns the wrong entries first, then the largest errors in units of the tolerance."""
    assert leaf.analytic is not None
    names: tuple[Decision, ...] = get_args(Decision)
    with np.errstate(all="ignore"):
        error = np.abs(leaf.analytic - numeric)
        excess = np.nan_to_num(error / (limit + bound), nan=np.inf, posinf=np.inf)
    excess = np.where(decision == UNSEEN, -1.0, np.where(decision == WRONG, np.inf, excess))
    magnitude = np.nan_to_num(error, nan=np.inf)
    order = np.lexsort((-magnitude, -excess))[:WORST]
    found = []
    for i in order:
        if decision[i] == UNSEEN or (error[i] == 0 and decision[i] == RIGHT):
            continue
        index, place = leaf.place(int(i))
        size = max(abs(leaf.analytic[i]), abs(numeric[i]))
        found.append(
            WorstEntry(
                index=index,
                place=place,
                analytic=float(leaf.analytic[i]),
                numeric=float(numeric[i]),
                tolerance=float(limit[i]),
                noise=float(bound[i]),
                rel_err=float(error[i] / size) if size > 0 else 0.0,
                decision=names[decision[i]],
            )
        )
    return tuple(found)
