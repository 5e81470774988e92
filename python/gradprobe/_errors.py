"""The exceptions of gradprobe."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._report import Report


class GradprobeError(Exception):
    """The base of all exceptions of gradprobe."""


class CaseError(GradprobeError, ValueError):
    """The arrays or settings cannot be checked: a shape, a dtype, a value or a name is invalid."""


class DeviceError(GradprobeError, RuntimeError):
    """A device is missing, failed, or computed wrong results."""


class GradientError(GradprobeError, AssertionError):
    """A gradient is wrong."""

    report: Report
    """The report of the check."""

    def __init__(self, message: str, report: Report) -> None:
        super().__init__(message)
        self.report = report


class Inconclusive(GradientError):  # noqa: N818 (no error of the gradient was found)
    """A gradient could not be decided."""


# Tracebacks show the names that users import.
for _public in (GradprobeError, CaseError, DeviceError, GradientError, Inconclusive):
    _public.__module__ = "gradprobe"
