"""Trees of dicts, lists, tuples and named tuples. `None` is an empty tree."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from .._errors import CaseError


def children(tree: Any) -> list[tuple[str, Any, Any]] | None:
    """Returns the suffix of the name, the key and the value of each child; `None` for a leaf."""
    if isinstance(tree, dict):
        return [(f"[{key!r}]", key, value) for key, value in tree.items()]
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return [(f".{field}", i, tree[i]) for i, field in enumerate(tree._fields)]
    if isinstance(tree, list | tuple):
        return [(f"[{i}]", i, value) for i, value in enumerate(tree)]
    return None


def leaves(tree: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yields the name and the value of each leaf."""
    if tree is None:
        return
    nodes = children(tree)
    if nodes is None:
        yield name, tree
        return
    for suffix, _, child in nodes:
        yield from leaves(child, name + suffix)


def rebuild(tree: Any, values: Iterator[Any]) -> Any:
    """Returns a copy of `tree` with its leaves replaced by `values`, in the order of `leaves`."""
    if tree is None:
        return None
    nodes = children(tree)
    if nodes is None:
        return next(values)
    rebuilt = [rebuild(child, values) for _, _, child in nodes]
    if isinstance(tree, dict):
        # A copy keeps what a subclass holds, such as the factory of a defaultdict.
        twin = copy.copy(tree)
        twin.update(zip(tree, rebuilt, strict=True))
        return twin
    if hasattr(tree, "_fields"):
        return type(tree)(*rebuilt)
    return type(tree)(rebuilt)


def align(tree: Any, other: Any, name: str, what: str) -> Iterator[Any]:
    """Yields the value of `other` for each leaf of `tree`, `None` where `other` has `None`.

    Raises `CaseError`, which calls `other` by `what`, if the structures differ.
    """
    if tree is None:
        return
    nodes = children(tree)
    if nodes is None:
        if children(other) is not None:
            raise CaseError(f"{what} of {name}: expected an array, found a {type(other).__name__}")
        yield other
        return
    if other is None:
        for _, _, child in nodes:
            yield from align(child, None, name, what)
        return
    found = children(other)
    if found is None or isinstance(tree, dict) != isinstance(other, dict):
        raise CaseError(
            f"{what} of {name}: expected a {type(tree).__name__}, found a {type(other).__name__}"
        )
    values = {key: value for _, key, value in found}
    wanted = {key for _, key, _ in nodes}
    if wanted != set(values):
        if isinstance(tree, dict):
            unexpected = sorted(map(repr, set(values) ^ wanted))
            raise CaseError(f"{what} of {name}: the keys differ: {', '.join(unexpected)}")
        raise CaseError(
            f"{what} of {name}: expected {len(wanted)} items, found {len(values)};"
            " use None for what has no gradient"
        )
    for suffix, key, child in nodes:
        yield from align(child, values[key], name + suffix, what)
