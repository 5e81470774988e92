"""Gradients by the framework that the inputs belong to, where the user passed none."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from .._errors import CaseError
from . import tree
from .array import kind_of, loaded
from .case import Case, Leaf


def computed_gradients(fn: Callable[..., Any], case: Case, grad_output: Any) -> Any:
    """Returns the gradients that torch or JAX computes in the dtype of the inputs, as a tree."""
    kinds = {leaf.kind for leaf in case.leaves}
    if "torch" in kinds:
        return _by_torch(fn, case, grad_output)
    if "jax" in kinds:
        return _by_jax(fn, case, grad_output)
    raise CaseError("grads: NumPy computes no gradient; pass the gradient that you want to check")


def _by_torch(fn: Callable[..., Any], case: Case, grad_output: Any) -> Any:
    torch = loaded("torch")
    wanted: list[Any] = []
    values: list[Any] = []
    for slot in case.slots:
        value = slot.original if isinstance(slot, Leaf) else slot
        if isinstance(slot, Leaf) and slot.kind == "torch":
            value = value.detach().clone().requires_grad_()
            wanted.append(value)
        values.append(value)
    with torch.enable_grad():
        output = _call(fn, case, values)
        found = [value for _, value in tree.leaves(output, "output")]
        weights = _weights(output, len(found), grad_output)
        pairs = [
            (value, torch.ones_like(value) if weight is None else weight)
            for value, weight in zip(found, weights, strict=True)
            if kind_of(value) == "torch" and value.requires_grad
        ]
        if not pairs:
            raise CaseError("grads: the output does not depend on the inputs in torch's graph")
        grads = torch.autograd.grad(
            [value for value, _ in pairs],
            wanted,
            [weight.detach().to(value) for value, weight in pairs],
            allow_unused=True,
        )
    # torch returns None for an input that the output ignores: its gradient is zero.
    filled = [
        torch.zeros_like(x) if grad is None else grad for x, grad in zip(wanted, grads, strict=True)
    ]
    return _tree(case, "torch", filled)


def _by_jax(fn: Callable[..., Any], case: Case, grad_output: Any) -> Any:
    jax = loaded("jax")

    def of_floats(floats: list[Any]) -> Any:
        following = iter(floats)
        values = [
            (next(following) if slot.kind == "jax" else slot.original)
            if isinstance(slot, Leaf)
            else slot
            for slot in case.slots
        ]
        return _call(fn, case, values)

    output, pull = jax.vjp(of_floats, [leaf.original for leaf in case.leaves if leaf.kind == "jax"])
    found = [value for _, value in tree.leaves(output, "output")]
    weights = _weights(output, len(found), grad_output)
    cotangents = [
        jax.numpy.ones_like(value)
        if weight is None
        else jax.numpy.asarray(weight, dtype=value.dtype)
        for value, weight in zip(found, weights, strict=True)
    ]
    (grads,) = pull(tree.rebuild(output, iter(cotangents)))
    return _tree(case, "jax", grads)


def _weights(output: Any, count: int, grad_output: Any) -> list[Any]:
    if grad_output is None:
        return [None] * count
    return list(tree.align(output, grad_output, "the output", "grad_output"))


def _call(fn: Callable[..., Any], case: Case, values: Iterable[Any]) -> Any:
    inputs = tree.rebuild(case.inputs, iter(values))
    return fn(*inputs) if case.splat else fn(inputs)


def _tree(case: Case, kind: str, grads: Iterable[Any]) -> Any:
    following = iter(grads)
    values = (
        next(following) if isinstance(slot, Leaf) and slot.kind == kind else None
        for slot in case.slots
    )
    return tree.rebuild(case.inputs, values)
