"""Runs gradprobe.torch.gradcheck, and torch's beside it, on PyTorch's own operators and samples.

    python python/tests/operators.py --all
    python python/tests/operators.py --count 100

Each operator gets at most two samples in f64, as it is and with a factor of 1.001 in its backward
pass. Prints a line for each operator that does not behave, and a table.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import random
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch.autograd.gradcheck import GradcheckError

import gradprobe.torch
from gradprobe import CaseError, GradientError, Inconclusive

# Entries of a sample that are few enough for every check, and samples to choose from.
SMALL = 150
CANDIDATES = 40
FACTOR = 1.001
# Gradients below this are lost in the rounding of samples and outputs near 1.
ZERO = 1e-10


class Scaled(torch.autograd.Function):
    """The identity, with a backward pass that is wrong by a factor."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        return FACTOR * grad


@dataclass
class Run:
    """One check of one sample: a verdict, or the kind of refusal; what it cost; and the reason."""

    operator: str
    sample: int
    tool: str
    wrong: bool
    verdict: str
    calls: int
    seconds: float
    reason: str = ""


@dataclass
class Sample:
    """A function of the tensors that require grad, and these."""

    fn: Callable[..., Any]
    inputs: tuple[torch.Tensor, ...]
    nondet_tol: float

    @property
    def size(self) -> int:
        return sum(x.numel() for x in self.inputs)


def operators() -> list[Any]:
    """Returns the differentiable operators with real inputs in f64."""
    from torch.testing._internal.common_methods_invocations import op_db

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [
            op for op in op_db if op.supports_autograd and op.supports_dtype(torch.float64, "cpu")
        ]


def full_name(op: Any) -> str:
    return f"{op.name}.{op.variant_test_name}" if op.variant_test_name else str(op.name)


def samples(op: Any) -> list[Sample]:
    """Returns two samples with a gradient: the first small ones, else the smallest."""
    torch.manual_seed(0)
    random.seed(0)
    found = [
        _sample(op, it)
        for it in itertools.islice(
            op.sample_inputs("cpu", torch.float64, requires_grad=True), CANDIDATES
        )
    ]
    found = [it for it in found if it.size]
    small = [it for it in found if it.size <= SMALL]
    return small[:2] or sorted(found, key=lambda it: it.size)[:1]


def _sample(op: Any, sample: Any) -> Sample:
    """Returns a sample as torch's own tests of gradients take it."""
    is_list = isinstance(sample.input, list | tuple)
    head = list(sample.input) if is_list else [sample.input]
    values = [*head, *sample.args, *sample.kwargs.values()]
    places = [i for i, it in enumerate(values) if isinstance(it, torch.Tensor) and it.requires_grad]

    def fn(*tensors: torch.Tensor) -> Any:
        filled = list(values)
        for place, tensor in zip(places, tensors, strict=True):
            filled[place] = tensor
        first = filled[: len(head)]
        args = filled[len(head) : len(head) + len(sample.args)]
        kwargs = dict(zip(sample.kwargs, filled[len(head) + len(sample.args) :], strict=True))
        given = type(sample.input)(first) if is_list else first[0]
        output = op.gradcheck_wrapper(op.get_op(), given, *args, **kwargs)
        process = sample.output_process_fn_grad
        return process(output) if process is not None else output

    return Sample(fn, tuple(values[i] for i in places), op.gradcheck_nondet_tol)


def _scaled(output: Any) -> Any:
    if isinstance(output, list | tuple):
        return tuple(map(_scaled, output))
    if isinstance(output, torch.Tensor) and output.requires_grad:
        return Scaled.apply(output)
    return output


def run(name: str, index: int, sample: Sample, tool: str, wrong: bool) -> Run:
    """Checks a sample by "gradprobe" or "torch"."""
    calls = 0

    def fn(*tensors: torch.Tensor) -> Any:
        nonlocal calls
        calls += 1
        output = sample.fn(*tensors)
        return _scaled(output) if wrong else output

    checks = {"gradprobe": gradprobe.torch.gradcheck, "torch": torch.autograd.gradcheck}
    started = time.perf_counter()
    verdict, reason = "pass", ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            checks[tool](fn, sample.inputs, nondet_tol=sample.nondet_tol)
    except Inconclusive as error:
        verdict, reason = "inconclusive", _line(error)
    except GradientError as error:
        verdict, reason = "fail", _line(error)
    except CaseError as error:
        verdict, reason = "refused", _line(error)
    except GradcheckError as error:
        verdict, reason = "fail", _line(error)
    except Exception as error:
        verdict, reason = "error", f"{type(error).__name__}: {_line(error)}"
    if verdict == "pass" and wrong and _is_zero(sample):
        verdict = "zero"
    seconds = time.perf_counter() - started
    return Run(name, index, tool, wrong, verdict, calls, seconds, reason)


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0][:160]


def _is_zero(sample: Sample) -> bool:
    """Returns `True` if the gradient is zero up to rounding, so that no factor shows in it."""
    outputs = sample.fn(*sample.inputs)
    outputs = outputs if isinstance(outputs, list | tuple) else [outputs]
    real = [it for it in outputs if isinstance(it, torch.Tensor) and it.requires_grad]
    weights = [torch.randn_like(it) for it in real]
    grads = torch.autograd.grad(real, sample.inputs, weights, allow_unused=True)
    sizes = [grad.to_dense().abs().amax() for grad in grads if grad is not None and grad.numel()]
    return all(size < ZERO for size in sizes)


def runs(op: Any, tools: Sequence[str] = ("gradprobe", "torch")) -> Iterator[Run]:
    """Yields the checks of an operator, right and wrong."""
    for index, sample in enumerate(samples(op)):
        for tool in tools:
            for wrong in (False, True):
                yield run(full_name(op), index, sample, tool, wrong)


def table(found: list[Run]) -> str:
    """Returns the verdicts, calls and seconds of both tools."""
    verdicts = ("pass", "inconclusive", "fail", "zero", "refused", "error")
    head = f"{'tool':<10} {'backward':<9}" + "".join(f"{it:>13}" for it in verdicts)
    lines = [f"{head} {'calls':>9} {'median':>7} {'seconds':>8}"]
    for tool in ("gradprobe", "torch"):
        for wrong in (False, True):
            mine = [it for it in found if it.tool == tool and it.wrong == wrong]
            counts = Counter(it.verdict for it in mine)
            calls = sorted(it.calls for it in mine)
            cells = "".join(f"{counts[it]:>13}" for it in verdicts)
            label = f"x {FACTOR}" if wrong else "right"
            median = calls[len(calls) // 2] if calls else 0
            seconds = math.fsum(it.seconds for it in mine)
            lines.append(
                f"{tool:<10} {label:<9}{cells} {sum(calls):>9} {median:>7} {seconds:>8.1f}"
            )
    return "\n".join(lines)


def surprises(found: list[Run]) -> Iterator[str]:
    """Yields a line for each wrong verdict, with that of the other tool."""
    verdicts = {(it.operator, it.sample, it.tool, it.wrong): it.verdict for it in found}
    for it in found:
        if it.tool != "gradprobe" or it.verdict == ("fail" if it.wrong else "pass"):
            continue
        if it.wrong and it.verdict in ("zero", "refused", "error"):
            continue
        other = verdicts.get((it.operator, it.sample, "torch", it.wrong), "not run")
        label = "x 1.001" if it.wrong else "right"
        yield f"{it.operator}[{it.sample}] {label}: {it.verdict} (torch: {other}) {it.reason}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="run every operator")
    parser.add_argument("--count", type=int, default=100, help="run a fixed draw of N operators")
    parser.add_argument("--only", nargs="*", help="run the operators with these names")
    parser.add_argument("--json", help="append each run to this file, a line each")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    ops = operators()
    if arguments.only:
        ops = [op for op in ops if op.name in arguments.only or full_name(op) in arguments.only]
    elif not arguments.all:
        ops = draw(ops, arguments.count)
    found: list[Run] = []
    for op in ops:
        for it in runs(op):
            found.append(it)
            if arguments.json:
                with open(arguments.json, "a", encoding="utf-8") as file:
                    print(json.dumps(asdict(it)), file=file)
    for line in surprises(found):
        print(line)
    print(f"{len(ops)} operators, {len({(it.operator, it.sample) for it in found})} samples")
    print(table(found))


def draw(ops: list[Any], count: int) -> list[Any]:
    """Returns a fixed draw of operators."""
    return random.Random(23).sample(ops, min(count, len(ops)))


if __name__ == "__main__":
    main()
