"""The case: the inputs as one flat float64 vector, and the gradients beside them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .._errors import CaseError
from . import tree
from .array import ROUNDOFF, Array, Kind, dtype_of, kind_of, shape_of, widened


@dataclass
class Leaf:
    """A floating-point array of the inputs, at `start` to `stop` of the flat vector."""

    name: str
    original: Any
    kind: Kind
    shape: tuple[int, ...]
    dtype: str
    start: int
    stop: int
    # The gradient under test, flat; `None` if it is not checked.
    analytic: Array | None = None
    gradient_dtype: str = "float64"

    @property
    def entries(self) -> slice:
        return slice(self.start, self.stop)

    @property
    def size(self) -> int:
        return self.stop - self.start

    def place(self, position: int) -> tuple[tuple[int, ...], str]:
        """Returns the index of a flat position, and its full name."""
        index = tuple(int(i) for i in np.unravel_index(position, self.shape))
        suffix = f"[{','.join(map(str, index))}]" if index else ""
        return index, self.name + suffix


@dataclass
class Case:
    """The inputs of a function. Leaves that are no floating-point arrays stay as they are."""

    inputs: Any
    splat: bool
    names: list[str]
    # All leaves in the order of the tree: a `Leaf`, or a constant.
    slots: list[Leaf | Any] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        parts: list[Array] = []
        start = 0
        for name, value in self._walk():
            dtype, kind = dtype_of(value), kind_of(value)
            if dtype.startswith("complex"):
                raise CaseError(f"{name}: complex inputs cannot be checked; pass both parts")
            if kind == "other" or "float" not in dtype:
                self.slots.append(value)
                continue
            if dtype not in ROUNDOFF:
                raise CaseError(f"{name}: {dtype} is not supported; use one of {list(ROUNDOFF)}")
            values = widened(value)
            if not np.isfinite(values).all():
                raise CaseError(f"{name} has an entry that is not finite")
            shape = shape_of(value)
            leaf = Leaf(name, value, kind, shape, dtype, start, start + values.size)
            self.slots.append(leaf)
            parts.append(values.ravel())
            start = leaf.stop
        self.x = np.concatenate(parts) if parts else np.zeros(0)
        self.scale = np.concatenate([_scale(part) for part in parts]) if parts else np.zeros(0)

    @property
    def leaves(self) -> list[Leaf]:
        return [slot for slot in self.slots if isinstance(slot, Leaf)]

    @property
    def checked(self) -> list[Leaf]:
        return [leaf for leaf in self.leaves if leaf.analytic is not None]

    def _walk(self) -> list[tuple[str, Any]]:
        if not self.splat:
            return list(tree.leaves(self.inputs, self.names[0]))
        pairs = zip(self.names, self.inputs, strict=True)
        return [leaf for name, value in pairs for leaf in tree.leaves(value, name)]

    def attach(self, grads: Any) -> None:
        """Sets the gradients under test. Raises `CaseError` if they do not fit the inputs."""
        if not self.splat:
            found = list(tree.align(self.inputs, grads, self.names[0], "grads"))
        else:
            found = self._aligned_arguments(grads)
        for slot, grad in zip(self.slots, found, strict=True):
            if grad is None:
                continue
            if not isinstance(slot, Leaf):
                # JAX gives integer inputs a gradient of dtype float0, without values.
                if dtype_of(grad) != "float0" and np.any(widened(grad)):
                    self.notes.append("the gradient of an integer input is not checked")
                continue
            dtype = dtype_of(grad)
            if dtype not in ROUNDOFF:
                raise CaseError(f"grads of {slot.name}: the dtype {dtype} is not supported")
            if shape_of(grad) != slot.shape:
                raise CaseError(
                    f"grads of {slot.name}: expected the shape {slot.shape}, found {shape_of(grad)}"
                )
            slot.analytic, slot.gradient_dtype = widened(grad).ravel(), dtype
        if not any(leaf.size for leaf in self.checked):
            raise CaseError("grads: there is no gradient of a floating-point input to check")

    def _aligned_arguments(self, grads: Any) -> list[Any]:
        # One argument: its gradient may stand alone, as `jax.grad` returns it.
        if len(self.inputs) == 1 and not (type(grads) in (tuple, list) and len(grads) == 1):
            grads = (grads,)
        if type(grads) not in (tuple, list) or len(grads) != len(self.inputs):
            raise CaseError(
                f"grads: expected a tuple of {len(self.inputs)}, one for each input;"
                " use None for what has no gradient"
            )
        triples = zip(self.inputs, grads, self.names, strict=True)
        return [
            grad for value, part, name in triples for grad in tree.align(value, part, name, "grads")
        ]


def _scale(values: Array) -> Array:
    """Returns the magnitude that the step of each entry is a fraction of.

    An entry far below its neighbours takes their median: its own magnitude says little, and a
    step of zero for a zero entry says nothing. A smaller step is tried if this one is too large.
    """
    magnitudes = np.abs(values)
    nonzero = magnitudes[magnitudes > 0]
    typical = float(np.median(nonzero)) if nonzero.size else 1.0
    return np.maximum(magnitudes, typical).ravel()


def input_names(
    fn: Callable[..., Any], inputs: Any, splat: bool, names: str | Sequence[str] | None
) -> list[str]:
    """Returns a name for each input: as given, else the parameter of `fn`, else `inputs[0]`."""
    count = len(inputs) if splat else 1
    if names is not None:
        given = [names] if isinstance(names, str) else list(names)
        if len(given) != count:
            raise CaseError(f"names: expected {count}, found {len(given)}")
        return given
    fallback = [f"inputs[{i}]" for i in range(count)] if splat else ["inputs"]
    try:
        parameters = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):
        return fallback
    found: list[str] = []
    for parameter in parameters:
        if parameter.kind is parameter.VAR_POSITIONAL:
            if parameter.name == "args":  # A wrapper, such as torch's `Function.apply`.
                return fallback
            found += [f"{parameter.name}[{i}]" for i in range(count - len(found))]
        elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            found.append(parameter.name)
    return found[:count] if len(found) >= count else fallback
