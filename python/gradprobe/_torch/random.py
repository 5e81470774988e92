"""The state of torch's random generators."""

from __future__ import annotations

import torch
from torch import Tensor

State = tuple[Tensor, ...]


def state() -> State:
    """Returns the state of the generator of the CPU, and of each CUDA device in use."""
    in_use: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    devices = torch.cuda.get_rng_state_all() if in_use else []
    return (torch.get_rng_state(), *devices)


def restore(saved: State) -> None:
    torch.set_rng_state(saved[0])
    if len(saved) > 1:
        torch.cuda.set_rng_state_all(saved[1:])


def differ(one: State, other: State) -> bool:
    return not all(torch.equal(a, b) for a, b in zip(one, other, strict=False))
