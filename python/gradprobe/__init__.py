"""Checks a gradient entry by entry, at its real shape and dtype, and names the bug.

`check` takes the arrays of a linear layer with cross-entropy, and the gradients that your code
computed. `check_function` takes any function, and `record` a PyTorch module. `assert_gradients`
raises if a gradient is wrong.
"""

from __future__ import annotations

import atexit
from typing import TYPE_CHECKING, Any

from . import _native
from ._assert import assert_gradients, self_test
from ._check import (
    Device,
    Sweep,
    SweepPoint,
    check,
    check_file,
    devices,
    save_case,
    sweep,
)
from ._check_function import check_function
from ._errors import CaseError, DeviceError, GradientError, GradprobeError, Inconclusive
from ._report import Check, Entry, Finding, Report

if TYPE_CHECKING:
    from .torch import record

__version__ = _native.__version__
__all__ = [
    "CaseError",
    "Check",
    "Device",
    "DeviceError",
    "Entry",
    "Finding",
    "GradientError",
    "GradprobeError",
    "Inconclusive",
    "Report",
    "Sweep",
    "SweepPoint",
    "__version__",
    "assert_gradients",
    "check",
    "check_file",
    "check_function",
    "devices",
    "record",
    "save_case",
    "self_test",
    "sweep",
]

# A check that Ctrl-C has abandoned still holds arrays for a moment.
atexit.register(_native.finish)


def __getattr__(name: str) -> Any:
    """Imports what needs PyTorch when it is asked for."""
    if name == "record":
        from .torch import record

        return record
    raise AttributeError(f"module 'gradprobe' has no attribute {name!r}")
