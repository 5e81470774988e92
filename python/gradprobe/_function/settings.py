"""The settings of one check."""

from __future__ import annotations

from dataclasses import dataclass

from .._errors import CaseError

# The default limits: all entries if they cost at most this many calls and seconds.
DEFAULT_CALLS = 20_000
DEFAULT_SECONDS = 60.0

# A pass promises that a uniform relative error of this size would have failed.
MIN_POWER = 0.1


@dataclass(frozen=True)
class Settings:
    """The arguments of `check_function` that are not arrays, validated."""

    method: str = "difference"
    budget: int | None = None
    seconds: float | None = None
    seed: int = 0
    rtol: float | None = None
    atol: float | None = None
    eps: float | None = None
    nondet_tol: float = 0.0

    def __post_init__(self) -> None:
        if self.method not in ("difference", "complex-step"):
            raise CaseError(f"method: expected 'difference' or 'complex-step', got {self.method!r}")
        for name in ("rtol", "atol", "nondet_tol"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < float("inf"):
                raise CaseError(f"{name}: expected a finite number of at least 0, got {value!r}")
        for name in ("eps", "seconds", "budget"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise CaseError(f"{name}: expected a positive finite number, got {value!r}")

    @property
    def own_tolerance(self) -> bool:
        """Returns `True` if the user chose the tolerance."""
        return self.rtol is not None or self.atol is not None

    @property
    def call_limit(self) -> int:
        """Returns the most calls of the function; twice the default, to settle suspects."""
        return self.budget if self.budget is not None else 2 * DEFAULT_CALLS

    @property
    def second_limit(self) -> float:
        """Returns the most seconds; an explicit budget of calls has no limit of time."""
        if self.seconds is not None:
            return self.seconds
        return float("inf") if self.budget is not None else 2 * DEFAULT_SECONDS

    def affords_every_entry(self, calls: int, call_seconds: float) -> bool:
        """Returns `True` if a first pass of `calls` leaves enough to settle suspects."""
        if self.budget is None and calls > DEFAULT_CALLS:
            return False
        if self.budget is not None and calls > 0.6 * self.budget:
            return False
        limit = self.second_limit if self.seconds is None else 1.2 * self.seconds
        return calls * call_seconds <= 0.5 * limit


DEFAULTS = Settings()
