"""Records the calls of all modules during a forward pass, by hooks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from . import random
from .saved import Key, Saved, key_of, replaced, saved, tensors


@dataclass(eq=False)
class Call:
    """One call of a module.

    `arguments` is (args, kwargs) and `result` the output; `inputs` and `outputs` are the tensors
    in them, in order. `children` are the calls that the module's own forward made.
    """

    name: str
    path: str
    kind: str
    training: bool
    arguments: Any
    inputs: list[Saved]
    buffers: dict[str, Tensor]
    before: random.State
    after: random.State = ()
    outputs: list[Saved] = field(default_factory=list)
    result: Any = None
    children: list[Call] = field(default_factory=list)
    parent: Call | None = None
    # Why the call cannot be checked.
    refusal: str | None = None

    @property
    def is_random(self) -> bool:
        return random.differ(self.before, self.after)

    def passed_through(self, output: Saved) -> bool:
        """Returns `True` if the module returned one of its inputs as it was."""
        return output.key is not None and any(output.key == it.key for it in self.inputs)

    def keys(self) -> set[Key]:
        """Returns the places of all inputs and outputs in the graph."""
        return {it.key for it in (*self.inputs, *self.outputs) if it.key is not None}


class Recording:
    """The calls of a model's modules, in the order in which they returned."""

    def __init__(self, model: nn.Module) -> None:
        self.calls: list[Call] = []
        self._paths = {module: path for path, module in model.named_modules()}
        self._root = type(model).__name__
        self._counts: dict[str, int] = {}
        self._stack: list[Call] = []
        self._handles: list[RemovableHandle] = []
        # The tensors whose views became copies.
        self._bases: list[tuple[Call, Tensor, int]] = []

    def start(self) -> None:
        for module in self._paths:
            # The hooks of the user belong to the function: ours see what goes in before them,
            # and what comes out after them.
            before = module.register_forward_pre_hook(self._before, prepend=True, with_kwargs=True)
            after = module.register_forward_hook(self._after, with_kwargs=True)
            self._handles += [before, after]

    def stop(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        for call, base, version in self._bases:
            if base._version != version:
                call.refusal = (
                    f"{call.name} returned a view of a tensor that was changed in place later"
                )
        self._bases.clear()

    def _before(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        if _is_backward():
            return
        path = self._paths[module]
        name = path or self._root
        count = self._counts[name] = self._counts.get(name, 0) + 1
        inputs = [saved(tensor, label) for label, tensor in _inputs(args, kwargs)]
        call = Call(
            name=name if count == 1 else f"{name}#{count}",
            path=path,
            kind=type(module).__name__,
            training=module.training,
            arguments=replaced((args, kwargs), (it.value for it in inputs)),
            inputs=inputs,
            buffers={name: buffer.detach().clone() for name, buffer in module.named_buffers()},
            before=random.state(),
            parent=self._stack[-1] if self._stack else None,
        )
        self._stack.append(call)

    def _after(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> Any:
        if _is_backward():
            return None
        # A forward that raised, and whose error the model caught, left its call behind.
        while self._stack and self._stack[-1].path != self._paths[module]:
            self._stack.pop()
        if not self._stack:
            return None
        call = self._stack.pop()
        given = [tensor for _, tensor in _inputs(args, kwargs)]
        output = self._without_views(output, call)
        for name, tensor in tensors(output, "output"):
            alias = next((i for i, it in enumerate(given) if it is tensor), None)
            call.outputs.append(saved(tensor, name, alias))
        _refuse_changes(call, given)
        call.result = replaced(output, (it.value for it in call.outputs))
        call.after = random.state()
        if call.parent is not None:
            call.parent.children.append(call)
        self.calls.append(call)
        return output

    def _without_views(self, output: Any, call: Call) -> Any:
        """Returns the output with a copy of each view.

        An operation in place on a view would take the view out of the graph.
        """
        found = [tensor for _, tensor in tensors(output, "")]
        inside = {it.key for it in call.inputs}
        new = []
        for tensor in found:
            base = tensor._base
            is_free = tensor.requires_grad and base is not None and not tensor.is_complex()
            if is_free and key_of(tensor) not in inside:
                assert base is not None
                self._bases.append((call, base, base._version))
                tensor = tensor.clone()
            new.append(tensor)
        if all(one is other for one, other in zip(found, new, strict=True)):
            return output
        return replaced(output, iter(new))


def _is_backward() -> bool:
    """Returns `True` in a backward pass, where checkpointing calls modules again."""
    return bool(torch._C._current_graph_task_id() != -1)


def _inputs(args: Any, kwargs: Any) -> list[tuple[str, Tensor]]:
    if len(args) == 1 and not kwargs:
        return list(tensors(args[0], "input"))
    return [*tensors(args, "input"), *tensors(kwargs, "input")]


def _refuse_changes(call: Call, given: list[Tensor]) -> None:
    """Refuses changes in place after which the graph misses the old input."""
    for before, tensor in zip(call.inputs, given, strict=False):
        if before.edge is not None and before.is_view and tensor._version != before.version:
            call.refusal = (
                f"{call.name} changes its input in place, and the input is a view of another"
                " tensor, of which the graph keeps no trace; use a module that is not in place"
            )
