"""Checks a gradient entry by entry, at its real shape and dtype, and names the bug.

`check` takes the arrays of a linear layer with cross-entropy, and the gradients that your code
computed. `assert_gradients` raises if one is wrong.
"""

from __future__ import annotations

import atexit

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
    "save_case",
    "self_test",
    "sweep",
]

# A check that Ctrl-C has abandoned still holds arrays for a moment.
atexit.register(_native.finish)
