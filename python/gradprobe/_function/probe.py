"""Perturbs entries or directions of the inputs, and records the changes of the loss."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .array import Array
from .function import Function
from .noise import Noise
from .table import Table

Index = NDArray[np.intp]


@dataclass(frozen=True)
class Lane:
    """Columns that one call perturbs together: one entry, or an entry of each row."""

    columns: Index
    rows: Index | None


@dataclass(frozen=True)
class Prober:
    """A function at its inputs: the terms there, their noise, and the first step.

    `fraction` is the first step as a fraction of the scale of an entry. `eps` replaces it.
    """

    function: Function
    terms: Array
    noise: Noise
    fraction: float
    eps: float | None
    separable: frozenset[str]

    @property
    def scale(self) -> Array:
        return self.function.case.scale

    def first_steps(self, entries: Index) -> Array:
        if self.eps is not None:
            return np.full(entries.size, self.eps)
        return self.fraction * self.scale[entries]

    def lanes(self, entries: Index) -> list[Lane]:
        """Groups `entries` into those that one call can perturb. Entries are sorted."""
        lanes: list[Lane] = []
        for leaf in self.function.case.leaves:
            low, high = np.searchsorted(entries, [leaf.start, leaf.stop])
            columns = np.arange(low, high)
            if leaf.name not in self.separable:
                lanes += [Lane(columns[i : i + 1], None) for i in range(columns.size)]
                continue
            width = leaf.size // self.function.rows
            row, position = np.divmod(entries[low:high] - leaf.start, width)
            order = np.argsort(position, kind="stable")
            cuts = np.flatnonzero(np.diff(position[order])) + 1
            groups = np.split(order, cuts) if order.size else []
            lanes += [Lane(columns[group], row[group]) for group in groups]
        return lanes

    def table(self, entries: Index) -> Table:
        """Returns an empty table with a column for each entry."""
        noise = np.full(entries.size, self.noise.total)
        for lane in self.lanes(entries) if self.separable else []:
            if lane.rows is not None:
                noise[lane.columns] = self.noise.rows[lane.rows]
        return Table(noise)

    def probe(self, table: Table, entries: Index, lane: Lane, k: int) -> None:
        """Measures rung `k` of a lane."""
        chosen = entries[lane.columns]
        step = self.first_steps(chosen) * 2.0**k
        base = self.function.case.x
        ahead, behind = base.copy(), base.copy()
        ahead[chosen] += step
        behind[chosen] -= step
        ahead, behind = self.function.realised(ahead), self.function.realised(behind)
        steps = ahead[chosen] - base[chosen], base[chosen] - behind[chosen]
        changes = self.change(ahead, lane.rows), self.change(behind, lane.rows)
        table.record(k, lane.columns, changes, steps)

    def probe_direction(self, table: Table, direction: Array, k: int) -> None:
        """Measures rung `k` of the only column of `table`, along a direction."""
        x, step = self.function.case.x, 2.0**k
        changes = self.change(x + step * direction, None), self.change(x - step * direction, None)
        steps = np.array([step]), np.array([step])
        table.record(k, np.zeros(1, dtype=np.intp), changes, steps)

    def change(self, x: Array, rows: Index | None, weights: Array | float = 1.0) -> Array:
        """Returns the change of the loss, or of the rows of the loss, from the inputs to `x`.

        `weights` multiply the terms of the loss.
        """
        difference = weights * (self.function.terms(x) - self.terms)
        if rows is None:
            return np.array([np.sum(difference)])
        every = np.bincount(self.function.term_rows, difference, self.function.rows)
        return np.asarray(every[rows])
