"""The context manager that users see."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any

from torch import Tensor, nn

from .._errors import CaseError
from . import random
from .layers import LayerChecker, arriving_gradients, check_loss
from .recording import Recording
from .report import ModuleReport

LOSS_NOTE = (
    "the loss is not checked: its own backward pass gives the gradient at the model's output;"
    " pass loss_fn= to check it too"
)


class Recorder:
    """Records one forward pass of a model, to check its backward pass layer by layer."""

    def __init__(self, model: nn.Module) -> None:
        _refuse_compiled(model)
        self.model = model
        self.recording = Recording(model)

    def __enter__(self) -> Recorder:
        self.recording.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.recording.stop()

    def check(
        self,
        loss: Tensor,
        *,
        loss_fn: Callable[..., Any] | None = None,
        budget: int | None = None,
        seconds: float | None = None,
    ) -> ModuleReport:
        """Checks the gradients of every layer, and names those whose own backward is wrong.

        Computes the gradients from the graph of `loss`, which must not be freed yet. Neither
        `.grad` nor the model changes. Recording ends.

        Each call of a module is repeated alone, in f64, at the recorded inputs. The gradients
        that it hands to its inputs and parameters must be the derivative of `sum(output * g)`,
        with g the gradient that arrives at its output. The modules that a forward calls are cut
        out, so that an error in one of them makes no other fail.

        Args:
            loss: A scalar, computed from the output of the model inside the `with` block.
            loss_fn: The loss as a function of the model's output, to check that part too.
            budget: The most evaluations of each call.
            seconds: The most seconds for each call; 10 if there is no budget either.

        Raises:
            CaseError: Nothing was recorded, or torch cannot compute the gradients.
        """
        self.recording.stop()
        calls = self.recording.calls
        _require(loss, bool(calls))
        arriving = arriving_gradients(loss, calls)
        if not arriving:
            raise CaseError("the loss does not depend on any recorded output of the model")
        state = random.state()
        try:
            checker = LayerChecker(self.model, arriving, budget, seconds)
            layers = []
            if loss_fn is not None:
                roots = [call for call in calls if call.parent is None]
                if len(roots) != 1:
                    raise CaseError(f"loss_fn: the model was called {len(roots)} times, not once")
                layers.append(check_loss(loss_fn, roots[0], arriving, checker.seconds))
            # The last call to return is the first that the backward pass meets.
            checked = map(checker.check, reversed(calls))
            layers += [layer for layer in checked if layer is not None]
        finally:
            random.restore(state)
        notes = [] if loss_fn is not None else [LOSS_NOTE]
        skipped = [call.name for call in calls if not call.keys() & arriving.keys()]
        if skipped:
            notes.append(f"no gradient arrives at {', '.join(skipped)}")
        return ModuleReport(layers, notes)


def _require(loss: Tensor, is_recorded: bool) -> None:
    if not is_recorded:
        raise CaseError(
            "no layer was recorded: call the model inside the with block, and not a compiled copy"
            " of it, in which hooks do not run"
        )
    if loss.numel() != 1:
        raise CaseError(f"the loss has the shape {tuple(loss.shape)}, but must be a scalar")
    if not loss.requires_grad:
        raise CaseError("the loss requires no grad: the forward pass ran under torch.no_grad()")


def _refuse_compiled(model: nn.Module) -> None:
    for path, module in model.named_modules():
        is_compiled = type(module).__name__ == "OptimizedModule"
        if is_compiled or module._compiled_call_impl is not None:
            name = f"the layer {path}" if path else "the model"
            raise CaseError(
                f"{name} is compiled, and hooks do not run inside it: record the model before"
                " torch.compile, or its _orig_mod"
            )
