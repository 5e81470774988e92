"""Compares checkers on right and wrong gradients of ten functions.

    python python/tests/checkers.py --count 40 --seed 20000

The functions and the faults are those of test_function_zoo.py. The other checkers differentiate a
function themselves. Each gradient is therefore put into the backward pass of a function of its
own, whose forward pass is the checked function. All checkers run with their defaults.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import torch
from jax.test_util import check_grads
from test_function_zoo import (
    CASES,
    FAULTS,
    Problem,
    as_numpy,
    checked,
    corrupted,
    differs,
    draw,
    explained,
    like,
)

Verdict = str
MISSED = "pass, though above what the report says it would detect"


def loss_of(problem: Problem) -> Callable[..., float]:
    """Returns the checked number as a function of the inputs' arrays, in their own dtype."""
    flat, rebuild = jax.tree_util.tree_flatten(problem.inputs)

    def loss(*values: Any) -> float:
        arrays = [like(np.asarray(v, np.float64), x) for v, x in zip(values, flat, strict=True)]
        output = problem.fn(*jax.tree_util.tree_unflatten(rebuild, arrays))
        if problem.grad_output is None:
            return float(output)
        return float((output * problem.grad_output).sum())

    return loss


def by_gradprobe(problem: Problem, grads: Any, seed: int) -> Verdict:
    result = checked(problem, grads, seed)
    if result.verdict == "pass" and not explained(problem, grads, result):
        return MISSED
    return result.verdict


def by_torch(problem: Problem, grads: Any, seed: int) -> Verdict:
    loss, flat = loss_of(problem), jax.tree_util.tree_leaves(grads)
    dtype = getattr(torch, str(jax.tree_util.tree_leaves(problem.inputs)[0].dtype).split(".")[-1])

    class Loss(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *xs: Any) -> Any:
            return torch.tensor(loss(*(x.double().numpy() for x in xs)), dtype=dtype)

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return tuple(g * torch.from_numpy(as_numpy(grad).copy()).to(dtype) for grad in flat)

    arrays = [as_numpy(x).copy() for x in jax.tree_util.tree_leaves(problem.inputs)]
    leaves = [torch.from_numpy(x).to(dtype).requires_grad_() for x in arrays]
    return "pass" if torch.autograd.gradcheck(Loss.apply, leaves, raise_exception=False) else "fail"


def by_jax(problem: Problem, grads: Any, seed: int) -> Verdict:
    loss, flat = loss_of(problem), jax.tree_util.tree_leaves(grads)
    name = str(jax.tree_util.tree_leaves(problem.inputs)[0].dtype).split(".")[-1]
    with jax.enable_x64(True):
        dtype = jax.numpy.dtype(name)
        out = jax.ShapeDtypeStruct((), dtype)

        @jax.custom_vjp
        def wrapped(*xs: Any) -> Any:
            return jax.pure_callback(lambda *v: np.asarray(loss(*v)).astype(dtype), out, *xs)

        def backward(_: None, g: Any) -> Any:
            return tuple(g * jax.numpy.asarray(as_numpy(grad), dtype=dtype) for grad in flat)

        wrapped.defvjp(lambda *xs: (wrapped(*xs), None), backward)
        leaves = jax.tree_util.tree_leaves(problem.inputs)
        arrays = [jax.numpy.asarray(as_numpy(x), dtype=dtype) for x in leaves]
        try:
            check_grads(wrapped, arrays, order=1, modes=["rev"])
        except AssertionError:
            return "fail"
    return "pass"


CHECKERS: dict[str, Callable[..., Verdict]] = {
    "gradprobe.check_function": by_gradprobe,
    "torch.autograd.gradcheck": by_torch,
    "jax.test_util.check_grads": by_jax,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=4, help="gradients of each function and dtype")
    parser.add_argument("--seed", type=int, default=90_000)
    parser.add_argument("--checker", choices=CHECKERS, help="only this one")
    arguments = parser.parse_args()
    checkers = [arguments.checker] if arguments.checker else list(CHECKERS)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    counts: Counter[tuple[str, str, bool, Verdict]] = Counter()
    seconds: Counter[str] = Counter()
    for make, dtype in CASES:
        for seed in range(arguments.seed, arguments.seed + arguments.count):
            problem, _ = draw(make, dtype, seed)
            fault = FAULTS[(seed + len(make.__name__)) % len(FAULTS)]
            wrong = corrupted(problem, fault, np.random.default_rng(seed))
            gradients = [(True, problem.grads)]
            if differs(problem, wrong):
                gradients.append((False, wrong))
            for is_right, grads in gradients:
                for name in checkers:
                    started = time.monotonic()
                    counts[name, dtype, is_right, CHECKERS[name](problem, grads, seed)] += 1
                    seconds[name] += time.monotonic() - started
    of_right, of_wrong = ("pass", "inconclusive", "fail"), ("fail", "inconclusive", "pass")
    print(f"| checker | dtype | right: {' / '.join(of_right)} | wrong: {' / '.join(of_wrong)} |")
    print("|---|---|---|---|")
    for name in checkers:
        for dtype in ("float64", "float32", "bfloat16"):
            cells = []
            for is_right, verdicts in ((True, of_right), (False, of_wrong)):
                numbers = (counts[name, dtype, is_right, verdict] for verdict in verdicts)
                cells.append(" / ".join(map(str, numbers)))
            print(f"| `{name}` | {dtype} | {cells[0]} | {cells[1]} |")
    missed = sum(count for key, count in counts.items() if key[-1] == MISSED)
    print(f"gradprobe: {missed} {MISSED}")
    print({name: f"{value:.0f} s" for name, value in seconds.items()})


if __name__ == "__main__":
    main()
