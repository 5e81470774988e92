"""Checks that raise."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from ._check import IN_FILES, check, save_case
from ._check_function import check_function
from ._errors import GradientError, GradprobeError, Inconclusive
from ._report import Check, Report

SHOWN = 5
KINDS = ("absolute", "relative")
ARRAYS = (
    "input",
    "weight",
    "target",
    "bias",
    "logits",
    "class_weight",
    "sample_weight",
    "grad",
    "grad_logits",
    "grad_weight",
    "grad_bias",
    "tensors",
)


def assert_gradients(
    fn: Callable[..., Any] | None = None,
    inputs: Any = None,
    grads: Any = None,
    *,
    msg: str | Callable[[str], str] | None = None,
    allow_inconclusive: bool = False,
    save_failures: str | os.PathLike[str] | None = None,
    name: str = "case",
    **arguments: Any,
) -> Report:
    """Checks gradients, and raises GradientError if one is wrong.

    With a function as its first argument it checks as `check_function` does, else as `check`.

    Args:
        fn, inputs, grads: A function, its inputs and the gradients, as for `check_function`.
        msg: The message, or a function of it, as in torch.testing.assert_close.
        allow_inconclusive: True accepts a check that could not decide. By default it raises
            Inconclusive, which is a GradientError.
        save_failures: A folder for the arrays of a check of a layer that does not pass.
        name: The name of the file in that folder, without its extension.
        **arguments: The others of `check_function` or `check`.

    Returns:
        The report of a check that passed.
    """
    __tracebackhide__ = True
    if fn is not None:
        report: Report = check_function(fn, inputs, grads, **arguments)
        save_failures = None
    else:
        report = check(**arguments)
    if report.passed or (allow_inconclusive and report.verdict == "inconclusive"):
        return report
    if fn is None and not arguments.get("numeric"):
        # The greatest differences need the numeric gradient. A failure may take its time.
        report = check(**{**arguments, "numeric": True})
    saved = None if save_failures is None else _saved(Path(save_failures), name, arguments)
    text = message(report, saved)
    if callable(msg):
        text = msg(text)
    elif msg is not None:
        text = msg
    raise failure(report, text)


def failure(report: Report, text: str) -> GradientError:
    """Returns the exception for a report that did not pass."""
    error = GradientError if report.verdict == "fail" else Inconclusive
    return error(text, report)


def _saved(folder: Path, name: str, arguments: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{re.sub(r'[^A-Za-z0-9_.-]+', '-', name).strip('-')}.safetensors"
    kept = {key: it for key, it in arguments.items() if key in ARRAYS or key in IN_FILES}
    save_case(path, **kept)
    return path


def message(report: Report, saved: Path | None = None) -> str:
    """Returns the message of a failed assertion."""
    blocks = [_of_check(check, report) for check in report.checks if not check.passed]
    blocks = blocks or [report.headline]
    if report.notes:
        blocks.append("\n".join(f"note: {note}" for note in report.notes))
    if saved is not None:
        blocks.append(f"repeat: gradprobe check {saved}")
    return "\n\n".join(blocks)


def _of_check(check: Check, report: Report) -> str:
    lines = [check.headline]
    if check.findings:
        first = check.findings[0]
        lines.append(f"  cause: {first.code}")
        lines.append(f"  fix: {first.fix}")
    if check.where:
        lines.append(f"  where: {check.where}")
    share = 100.0 * check.wrong / max(check.entries, 1)
    lines.append("")
    lines.append(f"Mismatched elements: {check.wrong} / {check.entries} ({share:.1f}%)")
    for kind, (error, index) in zip(KINDS, report.greatest(check.name), strict=True):
        lines.append(f"Greatest {kind} difference: {error:.6g} at index {index}")
    for entry in check.worst[:SHOWN]:
        place = f"{check.name}[{', '.join(map(str, entry.index))}]"
        allowed = entry.tolerance + entry.noise
        lines.append(
            f"  {place}: {entry.analytic:.9g}, but should be {entry.numeric:.9g} "
            f"(up to {allowed:.2g})"
        )
    return "\n".join(lines)


def self_test() -> None:
    """Checks that a right gradient passes, and that a corrupted one fails.

    Raises:
        GradprobeError: gradprobe itself is broken.
    """
    case: dict[str, Any] = {
        "input": [[1.0, 2.0], [-1.0, 0.5], [0.25, -3.0]],
        "weight": [[0.5, -0.5], [0.0, 1.0], [0.25, 0.0]],
        "target": [1, 0, 2],
        "device": "cpu",
        "numeric": True,
    }
    right = check(**case, self_test=True)
    values = cast(list[list[float]], right.numeric().tolist())
    values[1][0] *= 1.01
    wrong = check(**case, grad=values)
    if not right.passed or wrong.verdict != "fail" or wrong.checks[0].wrong != 1:
        raise GradprobeError(
            f"the self-test failed: a right gradient is {right.verdict}, a corrupted one "
            f"{wrong.verdict}"
        )
