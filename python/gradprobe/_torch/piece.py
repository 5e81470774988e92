"""The operations of one call that are the module's own, cut out of the graph.

The outputs of the modules that a forward calls are inputs of its own operations, and their inputs
are outputs. So every operation belongs to one module, and a wrong one makes no other fail.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

from .recording import Call
from .saved import Key, Saved


@dataclass(frozen=True)
class Root:
    """A result of the operations: an output of `call`, or an input of a call that it made."""

    call: Call
    position: int
    saved: Saved


@dataclass
class Piece:
    """The own operations of a call, between `inputs` and `roots`, and the gradients there.

    `gradients` are those that torch hands to `inputs` and then to `parameters`, from
    `upstream`, the gradients at the roots.
    """

    call: Call
    inputs: dict[Key, tuple[str, Saved]]
    roots: list[Root]
    upstream: list[Tensor]
    parameters: dict[str, Tensor] = field(default_factory=dict)
    gradients: list[Tensor] = field(default_factory=list)


def cut(call: Call, arriving: dict[Key, Tensor]) -> Piece:
    """Returns the operations of a call, without parameters and gradients.

    `arriving` has the gradient of the loss at each place that it reaches.
    """
    inputs: dict[Key, tuple[str, Saved]] = {}
    for it in call.inputs:
        if it.key is not None:
            inputs.setdefault(it.key, (f"{call.name}.{it.name}", it))
    for child in call.children:
        for it in child.outputs:
            if it.key is not None and not child.passed_through(it):
                inputs[it.key] = (f"{child.name}.{it.name}", it)
    found = [Root(call, i, it) for i, it in enumerate(call.outputs)]
    for child in call.children:
        found += [Root(child, i, it) for i, it in enumerate(child.inputs)]
    # What is an input already has no operation before it.
    roots = [root for root in found if root.saved.key in arriving and root.saved.key not in inputs]
    upstream = [arriving[root.saved.key] for root in roots if root.saved.key is not None]
    return Piece(call, inputs, roots, upstream)


def differentiate(piece: Piece, module: nn.Module) -> None:
    """Sets the parameters that the operations use, and torch's gradients.

    Runs the user's graph from the roots, and stops it at the inputs.
    """
    called = _called(piece.call)
    named = [(name, it) for name, it in module.named_parameters() if it.requires_grad]
    edges = [it.edge for _, it in piece.inputs.values() if it.edge is not None]
    places: list[Any] = [*edges, *(parameter for _, parameter in named)]
    numbers: dict[Node, set[int]] = {}
    for node, number in piece.inputs:
        numbers.setdefault(node, set()).add(number)
    handles = [node.register_prehook(_stopper(hidden)) for node, hidden in numbers.items()]
    try:
        found = torch.autograd.grad(
            [root.saved.edge for root in piece.roots if root.saved.edge is not None],
            places,
            piece.upstream,
            retain_graph=True,
            allow_unused=True,
        )
    finally:
        for handle in handles:
            handle.remove()
    values = [it.value for _, it in piece.inputs.values()]
    piece.gradients = [_dense(g, value) for g, value in zip(found, values, strict=False)]
    for (name, parameter), gradient in zip(named, found[len(edges) :], strict=True):
        # A module uses its own parameters, and may reach for those of others.
        is_own = not any(name.startswith(f"{path}.") for path in called)
        if is_own or (gradient is not None and bool(gradient.to_dense().any())):
            piece.parameters[name] = parameter
            piece.gradients.append(_dense(gradient, parameter))


def _called(call: Call) -> list[str]:
    """Returns the paths of the modules that a call called, from its own module on."""
    start = f"{call.path}." if call.path else ""
    return [
        child.path.removeprefix(start) for child in call.children if child.path.startswith(start)
    ]


def _dense(gradient: Tensor | None, value: Tensor) -> Tensor:
    """Returns a gradient without structure. torch's `None` is a gradient of zero."""
    if gradient is None:
        return torch.zeros_like(value, requires_grad=False)
    return gradient.detach().to_dense()


def _stopper(hidden: set[int]) -> Callable[..., Any]:
    """Returns a hook that hides the gradients at some outputs of a node from what is before it."""

    def stop(gradients: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
        return tuple(None if i in hidden else g for i, g in enumerate(gradients))

    return stop
