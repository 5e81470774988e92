"""Causes of a wrong gradient that its numbers alone can show.

A cause counts as found if undoing it leaves no error. The names are those of docs/diagnoses.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .._report import Finding

Array = NDArray[np.float64]

# Rows or columns up to which an exchange is looked for: the comparison takes their square.
MOST_ROWS = 512
# Largest integer that counts as a number of accumulated passes.
MOST_PASSES = 10_000
# Bits of the significands of the types that a gradient may have gone through.
SIGNIFICANDS = {"bf16": 8, "f16": 11, "f32": 24}


@dataclass(frozen=True)
class Pair:
    """The gradient under test a beside the numeric one g, with the bound on |a - g|."""

    name: str
    dtype: str
    a: Array
    g: Array
    allowed: Array

    def measured(self) -> NDArray[np.bool_]:
        return np.isfinite(self.g) & np.isfinite(self.allowed)

    def explains(self, predicted: Array, factor: float = 1.0) -> bool:
        """Returns true if a is `predicted`, which is `factor` times entries of g."""
        known = self.measured() & np.isfinite(predicted)
        allowed = np.maximum(abs(factor), 1.0) * self.allowed[known]
        is_near = np.abs(self.a[known] - predicted[known]) <= allowed
        return bool(known.any() and is_near.all())

    def is_telling(self) -> bool:
        """Returns true if g is not zero within its bounds: anything explains such a gradient."""
        known = self.measured()
        return bool((np.abs(self.g[known]) > 4 * self.allowed[known]).sum() >= 2)

    def scale(self) -> float:
        """Returns the factor that brings g closest to a, by least squares."""
        known = self.measured()
        g = self.g[known]
        return float(self.a[known] @ g / (g @ g)) if np.any(g) else float("nan")


Rule = Callable[[Pair], Finding | None]


def diagnose(
    name: str, dtype: str, analytic: Array, numeric: Array, allowed: Array
) -> tuple[Finding, ...]:
    """Returns the first cause that explains the errors, or `unknown` with what is known."""
    pair = Pair(name, dtype, analytic, numeric, allowed)
    for rule in RULES:
        found = rule(pair)
        if found is not None:
            return (found,)
    return (_unknown(pair),)


def _finding(
    code: str, message: str, fix: str, confidence: float = 0.95, factor: float | None = None
) -> Finding:
    return Finding(code, message, fix, confidence, factor, None, {}, {"code": code})


def _not_finite(pair: Pair) -> Finding | None:
    count = int((~np.isfinite(pair.a)).sum())
    if count == 0:
        return None
    return _finding(
        "not-finite",
        f"{count} of {pair.a.size} entries of the gradient of {pair.name} are NaN or infinite",
        "look for 0/0, log(0), sqrt at 0 or an overflow; torch.where does not stop the NaN of the "
        "branch that is not taken",
    )


def _all_zero(pair: Pair) -> Finding | None:
    if np.any(pair.a) or not np.any(pair.g[pair.measured()]):
        return None
    return _finding(
        "all-zero",
        f"the gradient of {pair.name} is zero everywhere",
        "look for a detach(), a no_grad block, an integer cast or a gradient that was zeroed "
        "before it was saved",
    )


def _half_precision(pair: Pair) -> Finding | None:
    stored = {"bfloat16": 8, "float16": 11, "float32": 24}.get(pair.dtype, 53)
    for name, bits in SIGNIFICANDS.items():
        if bits >= stored or not np.any(pair.a):
            continue
        significand, _ = np.frexp(pair.a)
        is_stored = np.all(np.ldexp(significand, bits) % 1 == 0)
        rounding = pair.allowed + np.abs(pair.g) * 2.0**-bits
        known = pair.measured()
        is_near = np.abs(pair.a - pair.g)[known] <= 1.5 * rounding[known]
        if is_stored and known.any() and bool(is_near.all()):
            return _finding(
                "half-precision",
                f"every entry of the gradient of {pair.name} is a number of {name}: it went "
                f"through {name}",
                f"compute in {pair.dtype}, or pass the gradient in {name} if it is meant to be",
            )
    return None


def _factor(pair: Pair) -> Finding | None:
    scale = pair.scale()
    if not np.isfinite(scale) or scale == 0 or not pair.is_telling():
        return None
    for factor in _candidates(scale):
        if pair.explains(factor * pair.g, factor):
            return _named_factor(pair, factor)
    return None


def _candidates(scale: float) -> Iterator[float]:
    """Yields the telling factors near a scale, and then the scale itself."""
    whole = float(round(scale))
    if whole not in (0.0, 1.0):
        yield whole
    inverse = float(round(1 / scale))
    if inverse not in (0.0, 1.0):
        yield 1 / inverse
    yield scale


def _named_factor(pair: Pair, factor: float) -> Finding:
    name = pair.name
    times = f"the gradient of {name} is {factor:.6g} times the right one"
    if factor == -1:
        return _finding(
            "sign-flipped",
            f"the gradient of {name} is minus the right one: its sign is flipped",
            "look for b - a in place of a - b, or an update that was already subtracted",
            factor=factor,
        )
    is_whole = factor == round(factor)
    if factor > 1 and is_whole and np.log2(factor) % 1 == 0 and factor >= 256:
        return _finding(
            "loss-scaled",
            f"{times}, a power of two: a loss scale was not removed",
            "unscale the gradients before you read them: scaler.unscale_(optimizer)",
            factor=factor,
        )
    if factor > 1 and is_whole and factor <= MOST_PASSES:
        return _finding(
            "accumulated",
            f"{times}, as if {int(factor)} backward passes had been summed, or the sum taken for "
            f"the mean of {int(factor)} terms",
            "set .grad = None before the backward pass, or divide the loss by the number of terms",
            0.8,
            factor,
        )
    inverse = 1 / factor
    if 0 < factor < 1 and abs(inverse - round(inverse)) < 1e-9 * inverse:
        return _finding(
            "averaged-over-workers",
            f"{times}: it was divided by {round(inverse)}",
            f"look for a mean over {round(inverse)} terms, workers or passes where the sum is "
            "meant",
            0.8,
            factor,
        )
    norm = float(np.linalg.norm(pair.a[pair.measured()]))
    if 0 < factor < 1 and abs(norm - float(f"{norm:.1g}")) < 1e-5 * norm:
        return _finding(
            "norm-clipped",
            f"{times}, and its norm is {norm:.4g}: it was clipped",
            "read the gradient before clip_grad_norm_",
            0.85,
            factor,
        )
    return _finding(
        "scaled",
        f"{times} everywhere",
        "look for a constant that multiplies or divides the output or the gradient",
        factor=factor,
    )


def _value_clipped(pair: Pair) -> Finding | None:
    limit = float(np.max(np.abs(pair.a)))
    count = int((np.abs(pair.a) == limit).sum())
    if count < 2 or not np.any(np.abs(pair.g) > limit):
        return None
    if not pair.explains(np.clip(pair.g, -limit, limit)):
        return None
    return _finding(
        "value-clipped",
        f"the gradient of {pair.name} is cut off at {limit:.6g} in {count} entries",
        "read the gradient before clip_grad_value_, or remove the clamp",
    )


def _transposed(pair: Pair) -> Finding | None:
    is_square = pair.a.ndim >= 2 and pair.a.shape[-1] == pair.a.shape[-2]
    if not is_square or not pair.is_telling():
        return None
    if not pair.explains(np.swapaxes(pair.g, -1, -2)):
        return None
    return _finding(
        "transposed",
        f"the gradient of {pair.name} is the transpose of the right one",
        "exchange the operands of the last matrix product, or transpose its result",
    )


def _reordered(pair: Pair) -> Finding | None:
    for axis, noun in ((0, "rows"), (pair.a.ndim - 1, "columns")):
        if pair.a.ndim < 1 or not 2 <= pair.a.shape[axis] <= MOST_ROWS or not pair.is_telling():
            continue
        if axis == 0 and noun == "columns":
            continue
        a = np.moveaxis(pair.a, axis, 0).reshape(pair.a.shape[axis], -1)
        g = np.moveaxis(pair.g, axis, 0).reshape(a.shape)
        if not np.isfinite(g).all() or a.shape[1] < 2:
            continue
        distances = ((a**2).sum(1)[:, None] - 2 * a @ g.T) + (g**2).sum(1)
        order = distances.argmin(1)
        if len(set(order.tolist())) < len(order) or np.array_equal(order, np.arange(len(order))):
            continue
        moved = np.take(pair.g, order, axis)
        if pair.explains(moved):
            return _finding(
                f"{noun}-permuted",
                f"the {noun} of the gradient of {pair.name} are the right ones in another order",
                "look for an index, a shuffle or a reshape that the backward pass does not undo",
            )
    return None


def _parts(pair: Pair) -> Finding | None:
    """Names whole rows or columns that are zero, or off by one factor, where the rest is right."""
    known = pair.measured()
    wrong = known & (np.abs(pair.a - pair.g) > pair.allowed)
    if wrong.all() or not wrong.any() or pair.a.ndim == 0:
        return None
    only = np.where(wrong, pair.g, np.nan)
    is_zero = bool((pair.a[wrong] == 0).all())
    where = places(wrong)
    if is_zero:
        code = "columns-zero" if where.startswith("in column") else "rows-zero"
        return _finding(
            code,
            f"the gradient of {pair.name} is zero {where}, where it should not be",
            "look for a mask, a slice or an early return that leaves these entries out",
        )
    part = Pair(pair.name, pair.dtype, pair.a, only, pair.allowed)
    scale = part.scale()
    if part.is_telling() and part.explains(scale * only, scale):
        factor = float(round(scale)) if abs(scale - round(scale)) < 1e-6 else scale
        times = "minus" if factor == -1 else f"{factor:.6g} times"
        return _finding(
            "sign-flipped" if factor == -1 else "rows-scaled",
            f"the gradient of {pair.name} is {times} the right one {where}, and right elsewhere",
            "look for the term or the branch that treats these entries differently",
            0.8,
            factor,
        )
    return None


def _noisy(pair: Pair) -> Finding | None:
    known = pair.measured()
    a, g = pair.a[known], pair.g[known]
    norm = float(np.linalg.norm(g))
    if a.size < 24 or norm == 0:
        return None
    residual = a - pair.scale() * g
    size = float(np.linalg.norm(residual)) / norm
    # Noise errs to both sides, and in nearly every entry.
    share = float((residual > 0).mean())
    wrong = float((np.abs(a - g) > pair.allowed[known]).mean())
    neighbours = float(residual[1:] @ residual[:-1]) / max(float(residual @ residual), 1e-300)
    is_random = abs(share - 0.5) < 1.5 / np.sqrt(a.size) and abs(neighbours) < 3 / np.sqrt(a.size)
    if not (size < 0.3 and wrong > 0.5 and is_random and abs(pair.scale() - 1) < size):
        return None
    return _finding(
        "noisy",
        f"the gradient of {pair.name} has noise of {size:.2g} of its norm, in no pattern",
        "look for a finite difference with a small step, low precision, a stochastic estimate, or "
        "a parallel sum whose order varies",
        0.7,
    )


def _unknown(pair: Pair) -> Finding:
    known = pair.measured()
    a, g = pair.a[known], pair.g[known]
    wrong = known & ~(np.abs(pair.a - pair.g) <= pair.allowed)
    norms = float(np.linalg.norm(a)) * float(np.linalg.norm(g))
    cosine = float(a @ g) / norms if norms else float("nan")
    where = places(wrong)
    facts = f"cosine {cosine:.4g}, factor {pair.scale():.4g}"
    return _finding(
        "unknown",
        f"the gradient of {pair.name} is wrong {where}; no simple cause explains it ({facts})",
        "compare the worst entries by hand, or check the parts of the function one by one",
        0.0,
    )


def places(wrong: NDArray[np.bool_]) -> str:
    """Returns the places of the wrong entries in words."""
    count = int(wrong.sum())
    if count == 0:
        return "along random directions, though in no entry that was measured"
    if wrong.all():
        return "everywhere"
    if wrong.ndim >= 1:
        others = tuple(range(1, wrong.ndim))
        rows = np.flatnonzero(wrong.all(axis=others) if others else wrong)
        if others and rows.size and count == rows.size * (wrong.size // wrong.shape[0]):
            return f"in {_listed('row', rows)}"
        columns = np.flatnonzero(wrong.all(axis=tuple(range(wrong.ndim - 1))))
        if others and columns.size and count == columns.size * (wrong.size // wrong.shape[-1]):
            return f"in {_listed('column', columns)}"
        if not others:
            return f"in {_listed('entry', rows)}"
    first = ",".join(str(int(axis[0])) for axis in np.nonzero(wrong))
    if count == 1:
        return f"only in entry [{first}]"
    return f"in {count} of {wrong.size} entries, the first [{first}]"


def _listed(noun: str, numbers: NDArray[np.int64]) -> str:
    shown = [str(int(number)) for number in numbers[:8]]
    plural = noun if numbers.size == 1 else {"entry": "entries"}.get(noun, f"{noun}s")
    more = f" and {numbers.size - 8} more" if numbers.size > 8 else ""
    return f"{plural} {', '.join(shown)}{more}"


RULES: tuple[Rule, ...] = (
    _not_finite,
    _all_zero,
    _half_precision,
    _factor,
    _value_clipped,
    _transposed,
    _reordered,
    _parts,
    _noisy,
)
