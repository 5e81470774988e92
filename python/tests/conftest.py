"""What the tests share: a linear layer with cross-entropy in NumPy, and its right gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest_plugins = ["pytester"]


def layer(
    seed: int = 0, n: int = 12, d: int = 5, k: int = 4, dtype: Any = np.float32
) -> dict[str, Any]:
    """Returns the arrays of a layer and the right gradients of its mean loss."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((n, d)).astype(dtype)
    weight = (random.standard_normal((k, d)) / np.sqrt(d)).astype(dtype)
    target = random.integers(0, k, n)
    z = x.astype(np.float64) @ weight.astype(np.float64).T
    p = np.exp(z - z.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    p[np.arange(n), target] -= 1
    of_logits = p / n
    return {
        "input": x,
        "weight": weight,
        "target": target,
        "grad": (of_logits @ weight.astype(np.float64)).astype(dtype),
        "grad_logits": of_logits.astype(dtype),
        "grad_weight": (of_logits.T @ x.astype(np.float64)).astype(dtype),
    }


@pytest.fixture
def case() -> dict[str, Any]:
    return layer()
