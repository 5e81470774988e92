"""A copy of a model in f64, in which single calls are repeated."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from .._errors import CaseError
from . import random
from .piece import Piece
from .recording import Call
from .saved import Key, Saved, replaced, tensors, widened

HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
)


class BranchChangedError(ArithmeticError):
    """The perturbed forward calls other modules: the difference crosses a branch."""


class Replica:
    """The copy. The user's model, its buffers and its gradients stay as they are."""

    def __init__(self, model: nn.Module) -> None:
        memo: dict[int, Any] = {}
        for module in model.modules():
            # A deep copy refuses tensors of a graph, which some modules keep.
            for value in vars(module).values():
                if isinstance(value, Tensor) and not value.is_leaf:
                    memo[id(value)] = value.detach().clone()
        self.model = copy.deepcopy(model, memo).double().requires_grad_(False)
        for module in self.model.modules():
            for name, value in vars(module).items():
                if isinstance(value, Tensor) and value.is_floating_point():
                    vars(module)[name] = value.double()

    def module(self, call: Call) -> nn.Module:
        return self.model.get_submodule(call.path)

    @contextmanager
    def replaying(self, piece: Piece) -> Iterator[Callable[..., list[Tensor]]]:
        """Returns the piece as a function of its inputs and parameters, which gives the roots."""
        if any(child.path == piece.call.path for child in piece.call.children):
            raise CaseError(f"{piece.call.name} calls itself")
        module = self.module(piece.call)
        replay = Replay(piece, module)
        with ExitStack() as stack:
            for path, calls in replay.calls.items():
                stub = Stub(replay, calls)
                stack.enter_context(_replaced_forward(self.model.get_submodule(path), stub))
            stack.enter_context(_attribute(module, "training", piece.call.training))
            # The fast path of attention calls no modules.
            fast = torch.backends.mha.get_fastpath_enabled()
            stack.callback(torch.backends.mha.set_fastpath_enabled, fast)
            torch.backends.mha.set_fastpath_enabled(False)
            yield replay


class Replay:
    """Repeats a call, with recorded values in place of the calls that it made."""

    def __init__(self, piece: Piece, module: nn.Module) -> None:
        self.piece = piece
        self.module = module
        self.calls: dict[str, list[Call]] = {}
        for child in piece.call.children:
            self.calls.setdefault(child.path, []).append(child)
        self.parameters = [module.get_parameter(name) for name in piece.parameters]
        self.buffers = dict(module.named_buffers())
        self.frozen = _rows_without_gradient(piece, module)
        self.is_random = piece.call.is_random
        self.values: dict[Key, Tensor] = {}
        self.seen: dict[Call, list[Tensor]] = {}

    def __call__(self, *values: Tensor) -> list[Tensor]:
        piece, call = self.piece, self.piece.call
        pairs = zip(piece.inputs.values(), values, strict=False)
        given = (_laid_out(value, it.value) for (_, it), value in pairs)
        self.values = dict(zip(piece.inputs, given, strict=True))
        for parameter, value in zip(self.parameters, values[len(piece.inputs) :], strict=True):
            parameter.data.copy_(value)
        for weight, row, original in self.frozen:
            weight.data[row] = original
        for name, recorded in call.buffers.items():
            self.buffers[name].data.copy_(recorded)
        if self.is_random:
            random.restore(call.before)
        self.seen = {}
        args, kwargs = replaced(call.arguments, map(self.value, call.inputs))
        output = self.module(*args, **kwargs)
        self.seen[call] = [tensor for _, tensor in tensors(output, "")]
        try:
            return [self.seen[root.call][root.position] for root in piece.roots]
        except (KeyError, IndexError):
            raise BranchChangedError(f"{call.name} called other modules than before") from None

    def value(self, recorded: Saved) -> Tensor:
        """Returns the variable that stands for a recorded tensor, or its value."""
        key = recorded.key
        found = None if key is None else self.values.get(key)
        return widened(recorded.value) if found is None else found


class Stub:
    """Stands for a module that the replayed forward calls."""

    def __init__(self, replay: Replay, calls: list[Call]) -> None:
        self.replay = replay
        self.calls = calls

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        seen = self.replay.seen
        call = next((it for it in self.calls if it not in seen), None)
        if call is None:
            raise BranchChangedError(f"{self.calls[0].name} is called more often than before")
        given = [tensor for _, tensor in tensors((args, kwargs), "")]
        # A later operation in place must not change what came in.
        seen[call] = [tensor.clone() for tensor in given]
        result = replaced(call.result, (self._output(call, it, given) for it in call.outputs))
        if self.replay.is_random:
            random.restore(call.after)
        return result

    def _output(self, call: Call, output: Saved, given: list[Tensor]) -> Tensor:
        if call.passed_through(output):
            position = next(i for i, it in enumerate(call.inputs) if it.key == output.key)
            return given[position]
        value = self.replay.value(output)
        if output.alias is None:
            return value
        # The caller may go on with the tensor that it passed.
        return given[output.alias].copy_(value)


def _laid_out(value: Tensor, recorded: Tensor) -> Tensor:
    """Returns a value with the strides that were recorded: dropout draws in their order."""
    if value.stride() == recorded.stride():
        return value
    return torch.empty_like(recorded, dtype=value.dtype).copy_(value)


def _rows_without_gradient(piece: Piece, module: nn.Module) -> list[tuple[Tensor, int, Tensor]]:
    """Returns the rows that a module never trains, by its documentation.

    The padding row of an embedding has no gradient, although the output depends on it.
    """
    if not isinstance(module, nn.Embedding | nn.EmbeddingBag):
        return []
    row = module.padding_idx
    if row is None or "weight" not in piece.parameters:
        return []
    return [(module.weight, row, module.weight[row].clone())]


@contextmanager
def _attribute(owner: nn.Module, name: str, value: Any) -> Iterator[None]:
    previous = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, previous)


@contextmanager
def _replaced_forward(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Replaces a forward and removes the hooks: a recorded result is that after the hooks."""
    own = vars(module)
    previous = {name: own[name] for name in HOOKS}
    had_forward = "forward" in own
    old_forward = own.get("forward")
    own.update({name: type(hooks)() for name, hooks in previous.items()})
    own["forward"] = forward
    try:
        yield
    finally:
        own.update(previous)
        del own["forward"]
        if had_forward:
            own["forward"] = old_forward
