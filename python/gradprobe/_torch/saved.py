"""Tensors as a forward pass had them, and their places in the graph."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, Node, get_gradient_edge

from .._function import tree

# A place in the graph: the node that made a tensor, and the number of its output.
Key = tuple[Node, int]


@dataclass(frozen=True, eq=False)
class Saved:
    """A tensor that went into a module or came out of it.

    The value is a copy, because a later operation may overwrite the tensor. `edge` is `None` if
    the graph does not contain the tensor. `version` counts the operations in place before.
    `alias` is the position of the input that an output is, if a module returns one of them.
    """

    name: str
    value: Tensor
    edge: GradientEdge | None
    version: int
    is_view: bool
    alias: int | None = None

    @property
    def key(self) -> Key | None:
        return None if self.edge is None else (self.edge.node, self.edge.output_nr)


def key_of(tensor: Tensor) -> Key:
    edge = get_gradient_edge(tensor)
    return edge.node, edge.output_nr


def saved(tensor: Tensor, name: str, alias: int | None = None) -> Saved:
    """Returns a copy of a tensor, with its place in the graph."""
    in_graph = tensor.requires_grad and not tensor.is_complex()
    return Saved(
        name=name,
        value=tensor.detach().clone(),
        edge=get_gradient_edge(tensor) if in_graph else None,
        version=tensor._version,
        is_view=tensor._is_view(),
        alias=alias,
    )


def tensors(values: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    """Yields the tensors in a tree, with names such as `output.0`."""
    for long, value in tree.leaves(values, ""):
        if isinstance(value, torch.Tensor):
            short = long.replace("['", ".").replace("']", "").replace("[", ".").replace("]", "")
            yield name + short, value


def replaced(values: Any, new: Iterator[Tensor]) -> Any:
    """Returns a tree with its tensors replaced in order."""
    found = (
        next(new) if isinstance(value, torch.Tensor) else value
        for _, value in tree.leaves(values, "")
    )
    return tree.rebuild(values, found)


def widened(value: Tensor) -> Tensor:
    """Returns a copy in f64 of a floating-point tensor, and a plain copy of any other."""
    return value.to(torch.float64, copy=True) if value.is_floating_point() else value.clone()
