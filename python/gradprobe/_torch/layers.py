"""Checks the recorded calls, one after another."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .._errors import CaseError
from .._function.check import check
from .._function.result import FunctionResult
from .._function.settings import Settings
from .piece import Piece, cut, differentiate
from .recording import Call
from .replica import Replica
from .report import Layer
from .saved import Key, replaced, widened

# Seconds for each call of a module if the user sets no limit.
SECONDS = 10.0


def arriving_gradients(loss: Tensor, calls: list[Call]) -> dict[Key, Tensor]:
    """Returns torch's gradient of the loss at each place that was recorded."""
    edges = {}
    for call in calls:
        edges.update({it.key: it.edge for it in (*call.inputs, *call.outputs) if it.edge})
    try:
        found = torch.autograd.grad(
            loss, list(edges.values()), retain_graph=True, allow_unused=True
        )
    except RuntimeError as error:
        raise CaseError(_explained(error)) from error
    return {
        key: gradient
        for key, gradient in zip(edges, found, strict=True)
        if key is not None and gradient is not None
    }


def _explained(error: RuntimeError) -> str:
    text = str(error).splitlines()[0]
    if "second time" in text:
        return (
            "the graph of the loss was freed: call rec.check(loss) before loss.backward(), or"
            " loss.backward(retain_graph=True)"
        )
    if "Checkpointing" in text or "checkpoint" in text:
        return "reentrant checkpoints cannot be checked; use checkpoint(..., use_reentrant=False)"
    return f"torch cannot compute the gradients: {text}"


class LayerChecker:
    """Checks calls with the same settings."""

    def __init__(
        self,
        model: nn.Module,
        arriving: dict[Key, Tensor],
        budget: int | None,
        seconds: float | None,
    ) -> None:
        self.model = model
        self.arriving = arriving
        self.budget = budget
        self.seconds = SECONDS if budget is None and seconds is None else seconds
        self.replica = Replica(model)

    def check(self, call: Call) -> Layer | None:
        """Returns the check of the call's own operations; `None` if there is nothing to check."""
        piece = cut(call, self.arriving)
        if not piece.roots:
            return None
        module = self.model.get_submodule(call.path)
        reason = call.refusal or _refusal(call, module)
        if reason is not None:
            return _refused(call, reason)
        try:
            differentiate(piece, module)
            if not piece.gradients:
                return None
            result = self._result(piece)
            if result.verdict == "fail" and call.children and self._is_right_as_a_whole(call):
                return _refused(
                    call,
                    "as a whole it is right, but a module that it calls keeps a tensor of the"
                    " graph besides its output, so that it cannot be checked without them",
                )
            return Layer(call.name, call.kind, result)
        except Exception as error:
            # One layer that cannot be repeated must not hide what the others show.
            return _refused(call, _sentence(error))

    def _is_right_as_a_whole(self, call: Call) -> bool:
        """Checks a call together with those that it made.

        Acquits a module whose calls are cut out wrongly: one that takes a tensor from an
        attribute of another, such as a penalty. An error of its own fails here too.
        """
        piece = cut(dataclasses.replace(call, children=[]), self.arriving)
        if not piece.roots:
            return False
        differentiate(piece, self.model.get_submodule(call.path))
        result = self._result(piece)
        return result.verdict == "pass" and result.every_entry

    def _result(self, piece: Piece) -> FunctionResult:
        call = piece.call
        inputs = [it.value for _, it in piece.inputs.values()]
        names = [name for name, _ in piece.inputs.values()]
        inputs += [parameter.detach() for parameter in piece.parameters.values()]
        names += [f"{call.name}.{name}" for name in piece.parameters]
        with self.replica.replaying(piece) as replay:
            self._compare(piece, replay, inputs)
            return check(
                replay,
                tuple(inputs),
                tuple(_narrowed(piece.gradients, [*inputs, *piece.upstream])),
                grad_output=piece.upstream,
                names=names,
                settings=Settings(budget=self.budget, seconds=self.seconds),
            )

    def _compare(self, piece: Piece, replay: Callable[..., list[Tensor]], inputs: Any) -> None:
        """Raises `CaseError` if the call in f64 is not the one that was recorded."""
        with torch.no_grad():
            outputs = replay(*map(widened, inputs))
        for root, output in zip(piece.roots, outputs, strict=True):
            recorded = root.saved.value
            expected = widened(recorded)
            if output.shape != expected.shape:
                raise CaseError("the call in f64 returns another shape")
            known = expected.isfinite()
            error = float((output - expected)[known].norm())
            size = float(expected[known].norm())
            # Rounding, amplified by cancellation, explains this much.
            limit = 8 * torch.finfo(recorded.dtype).eps ** 0.5
            if not error <= limit * max(size, float(known.sum()) ** 0.5):
                raise CaseError(
                    "the call in f64 does not repeat what was recorded: its values differ by"
                    f" {error / size if size else error:.2g} of their norm; it may draw random"
                    " numbers of another dtype, or keep a state between calls"
                )


def check_loss(
    loss_fn: Callable[..., Any], root: Call, arriving: dict[Key, Tensor], seconds: float | None
) -> Layer:
    """Returns the check of the loss as a function of the model's output."""
    wanted = [it for it in root.outputs if it.key in arriving]
    values = [it.value for it in wanted]
    gradients = [arriving[it.key] for it in wanted if it.key is not None]

    def loss(*outputs: Tensor) -> Any:
        new = dict(zip((it.key for it in wanted), outputs, strict=True))
        result = (new.get(it.key, widened(it.value)) for it in root.outputs)
        return loss_fn(replaced(root.result, result))

    names = [f"{root.name}.{it.name}" for it in wanted]
    try:
        settings = Settings(seconds=seconds)
        result = check(loss, tuple(values), tuple(gradients), names=names, settings=settings)
    except Exception as error:
        return Layer("loss", "loss", _nothing(_sentence(error)))
    return Layer("loss", "loss", result)


def _refusal(call: Call, module: nn.Module) -> str | None:
    """Returns why torch's gradient is not the derivative, by the module's documentation."""
    if isinstance(module, nn.Embedding | nn.EmbeddingBag):
        if module.scale_grad_by_freq:
            return "scale_grad_by_freq=True divides the gradient on purpose"
        if module.max_norm is not None:
            return "max_norm changes the weight in the forward pass, which the gradient ignores"
    return None


def _narrowed(gradients: list[Tensor], others: list[Tensor]) -> list[Tensor]:
    """Returns the gradients in the narrowest dtype at hand.

    Under autocast the gradient of an f32 parameter has gone through bf16.
    """
    dtypes = [it.dtype for it in (*gradients, *others)]
    narrowest = max(dtypes, key=lambda dtype: torch.finfo(dtype).eps)
    return [gradient.to(narrowest) for gradient in gradients]


def _sentence(error: Exception) -> str:
    text = (str(error).splitlines() or [""])[0][:200]
    return text if isinstance(error, CaseError) else f"{type(error).__name__}: {text}"


def _refused(call: Call, reason: str) -> Layer:
    return Layer(call.name, call.kind, _nothing(reason))


def _nothing(reason: str) -> FunctionResult:
    return FunctionResult(
        verdict="inconclusive",
        checks=(),
        calls=0,
        seconds=0.0,
        notes=(reason,),
        taylor_order=None,
        function_noise=0.0,
        method="difference",
        every_entry=False,
    )
