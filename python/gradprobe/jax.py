"""Checks of gradients by JAX: `check_grads`, with the arguments of `jax.test_util.check_grads`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ._assert import failure, message
from ._check_function import check_function
from ._errors import CaseError

__all__ = ["check_grads"]

# Random directions of the forward mode. Each sees all entries at once.
DIRECTIONS = 4
SEED = 0
MODES = ("fwd", "rev")

Flat = Callable[[list[Any]], list[Any]]


def check_grads(
    f: Callable[..., Any],
    args: Sequence[Any],
    order: int,
    modes: str | Sequence[str] = MODES,
    atol: float | None = None,
    rtol: float | None = None,
    eps: float | None = None,
) -> None:
    """Checks the derivatives of `f` at `args` up to `order`, as jax.test_util.check_grads does.

    The reverse mode multiplies the outputs by random weights, and checks every entry of the
    gradient of the sum. The forward mode checks the derivative along random directions through
    all entries. A higher order checks the derivatives of both, one order less.

    Differs from the original in the tolerance: it is what the rounding of the gradient's dtype
    explains. `atol`, `rtol` and `eps`, the absolute step, replace it if they are given.

    Args:
        f: A function of trees of arrays that returns a tree of arrays.
        args: A tuple of its arguments. Those of an integer dtype are held fixed.
        order: The highest order of differentiation, at least 1.
        modes: "fwd", "rev" or both.

    Raises:
        GradientError: A derivative is wrong, or (Inconclusive) could not be decided.
        CaseError: The arguments do not fit.
    """
    __tracebackhide__ = True
    modes = (modes,) if isinstance(modes, str) else tuple(modes)
    if not modes or not set(modes) <= set(MODES):
        raise CaseError(f"modes: expected some of {MODES}, found {modes}")
    if order < 1:
        raise CaseError(f"order: expected at least 1, found {order}")
    for name, value in (("atol", atol), ("rtol", rtol)):
        if isinstance(value, dict):
            raise CaseError(f"{name}: expected a number; a table of dtypes is not supported")
    settings: dict[str, Any] = {"atol": atol, "rtol": rtol, "eps": eps}
    point, names, flat = _flattened(f, args)
    Checker(names, modes, settings).check(flat, point, order, ())


class Checker:
    """Checks functions of a list of arrays that return a list of arrays."""

    def __init__(self, names: list[str], modes: tuple[str, ...], settings: dict[str, Any]) -> None:
        self.names = names
        self.modes = modes
        self.settings = settings
        self.rng = np.random.default_rng(SEED)

    def check(self, f: Flat, point: list[Any], order: int, path: tuple[str, ...]) -> None:
        """Checks the derivatives of `f`, which is itself a derivative along `path`."""
        __tracebackhide__ = True
        outputs = f(point)
        if not outputs:
            raise CaseError("f: no output is a floating-point array")
        weights = [self._random(it) for it in outputs]
        directions = [[self._direction(it) for it in point] for _ in range(DIRECTIONS)]
        for mode in self.modes:
            here = (mode, *path)
            if mode == "fwd":
                self._forward(f, point, weights, directions, here)
                derivative = _pushed(f, directions[0])
            else:
                self._reverse(f, point, weights, here)
                derivative = _pulled(f, weights)
            if order > 1:
                self.check(_compiled(derivative, point), point, order - 1, here)

    def _forward(
        self,
        f: Flat,
        point: list[Any],
        weights: list[Any],
        directions: list[list[Any]],
        path: tuple[str, ...],
    ) -> None:
        __tracebackhide__ = True
        slopes = [
            sum(
                float(np.sum(_wide(weight) * _wide(tangent)))
                for weight, tangent in zip(weights, _pushed(f, direction)(point), strict=True)
            )
            for direction in directions
        ]

        def moved(t: Any, *values: Any) -> list[Any]:
            pairs = zip(values, *directions, strict=True)
            return f(
                [
                    value + sum(t[i] * jnp.asarray(d, value.dtype) for i, d in enumerate(parts))
                    for value, *parts in pairs
                ]
            )

        dtype = jnp.result_type(*point)
        t = jnp.zeros(len(directions), dtype)
        # The arguments take part, though unchecked: their rounding belongs to the tolerance.
        inputs = (t, *point)
        grads = (jnp.asarray(slopes, dtype), *(None for _ in point))
        self._require(moved, inputs, grads, weights, ["directions", *self.names], path)

    def _reverse(
        self, f: Flat, point: list[Any], weights: list[Any], path: tuple[str, ...]
    ) -> None:
        __tracebackhide__ = True
        grads = tuple(_pulled(f, weights)(point))

        def spread(*values: Any) -> list[Any]:
            return f(list(values))

        self._require(spread, tuple(point), grads, weights, self.names, path)

    def _require(
        self,
        fn: Callable[..., Any],
        inputs: tuple[Any, ...],
        grads: tuple[Any, ...],
        weights: list[Any],
        names: list[str],
        path: tuple[str, ...],
    ) -> None:
        __tracebackhide__ = True
        report = check_function(
            fn, inputs, grads, grad_output=weights, names=names, **self.settings
        )
        if report.passed:
            return
        raise failure(report, f"{' of '.join(path)}, order {len(path)}: {message(report)}")

    def _random(self, like: Any) -> Any:
        return jnp.asarray(self.rng.standard_normal(np.shape(like)), like.dtype)

    def _direction(self, like: Any) -> Any:
        """Returns a random direction of the size of the values."""
        size = float(np.sqrt(np.mean(_wide(like) ** 2))) if np.size(like) else 0.0
        return jnp.asarray((size or 1.0) * _wide(self._random(like)), like.dtype)


def _flattened(f: Callable[..., Any], args: Sequence[Any]) -> tuple[list[Any], list[str], Flat]:
    """Returns the floating-point arrays of the arguments, their names, and `f` of them."""
    found, structure = jax.tree_util.tree_flatten_with_path(tuple(args))
    values = [jnp.asarray(value) for _, value in found]
    for value in values:
        if jnp.issubdtype(value.dtype, jnp.complexfloating):
            raise CaseError("args: complex arrays cannot be checked; pass both parts")
    is_real = [bool(jnp.issubdtype(value.dtype, jnp.floating)) for value in values]
    if not any(is_real):
        raise CaseError("args: no argument is a floating-point array")
    names = [f"args{jax.tree_util.keystr(path)}" for path, _ in found]

    def flat(point: list[Any]) -> list[Any]:
        following = iter(point)
        pairs = zip(found, is_real, strict=True)
        filled = [next(following) if real else value for (_, value), real in pairs]
        return _real(f(*jax.tree_util.tree_unflatten(structure, filled)))

    point = [value for value, real in zip(values, is_real, strict=True) if real]
    return point, [name for name, real in zip(names, is_real, strict=True) if real], flat


def _real(output: Any) -> list[Any]:
    """Returns the floating-point arrays of an output, the complex ones as both parts."""
    found: list[Any] = []
    for value in map(jnp.asarray, jax.tree_util.tree_leaves(output)):
        if jnp.issubdtype(value.dtype, jnp.complexfloating):
            found += [value.real, value.imag]
        elif jnp.issubdtype(value.dtype, jnp.floating):
            found.append(value)
    return found


def _pushed(f: Flat, direction: list[Any]) -> Flat:
    """Returns the derivative of `f` along a direction, as a function of the point."""

    def derivative(point: list[Any]) -> list[Any]:
        tangents = [jnp.asarray(d, x.dtype) for d, x in zip(direction, point, strict=True)]
        return list(jax.jvp(f, (point,), (tangents,))[1])

    return derivative


def _pulled(f: Flat, weights: list[Any]) -> Flat:
    """Returns the gradient of the weighted sum of `f`, as a function of the point."""

    def derivative(point: list[Any]) -> list[Any]:
        outputs, pull = jax.vjp(f, point)
        (grads,) = pull([jnp.asarray(w, o.dtype) for w, o in zip(weights, outputs, strict=True)])
        return list(grads)

    return derivative


def _compiled(derivative: Flat, point: list[Any]) -> Flat:
    """Returns a derivative that is traced once, unless it branches on values.

    A function itself is never compiled: one that keeps a state would seem to have none.
    """
    compiled: Flat = jax.jit(derivative)
    try:
        compiled(point)
    except jax.errors.JAXTypeError:
        return derivative
    return compiled


def _wide(value: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.asarray(value).astype(np.float64)
