"""Arrays of any library, as the native part reads them: in place where that is possible.

No array library is imported here. What an array needs is told by its own module's name.
"""

from __future__ import annotations

import array as lists
from collections.abc import Sequence
from typing import Any

from ._errors import CaseError

Prepared = tuple[Any, str | None]
"""An array, and the name of the type that its bytes have if its own protocol has no such type."""


def prepare_all(arrays: dict[str, Any]) -> tuple[dict[str, Prepared], list[str]]:
    """Returns the arrays as the native part reads them, and notes on those that were copied."""
    notes: list[str] = []
    return {name: prepare(name, value, notes) for name, value in arrays.items()}, notes


def prepare(name: str, value: Any, notes: list[str]) -> Prepared:
    """Returns an array that the native part can read. Adds a note if it is a copy."""
    library = type(value).__module__.partition(".")[0]
    if library == "torch":
        return of_torch(name, value, notes), None
    if library in ("jax", "jaxlib"):
        return of_jax(name, value, notes)
    if library == "numpy":
        return of_numpy(name, value, notes)
    if isinstance(value, (list, tuple)):
        return of_list(name, value), None
    if hasattr(value, "__dlpack__"):
        return value, None
    try:
        memoryview(value)
    except TypeError:
        found = type(value).__qualname__
        raise CaseError(
            f"{name} has type {found}, but must be an array of NumPy, PyTorch or JAX, "
            "or one with __dlpack__ or the buffer protocol"
        ) from None
    return value, None


def of_torch(name: str, tensor: Any, notes: list[str]) -> Any:
    import torch

    if not isinstance(tensor, torch.Tensor):
        raise CaseError(f"{name} has type {type(tensor).__qualname__}, but must be a tensor")
    tensor = tensor.detach()
    if tensor.layout != torch.strided:
        raise CaseError(f"{name} is sparse; pass {name}.to_dense()")
    if tensor.device.type != "cpu":
        notes.append(f"{name} was copied from {tensor.device}")
        tensor = in_blocks(tensor)
    if not tensor.is_contiguous():
        notes.append(f"{name} was copied, because it is not contiguous")
        tensor = tensor.contiguous()
    return tensor.resolve_conj().resolve_neg()


BLOCK = 64 << 20
"""Bytes that are copied from a device at a time."""


def in_blocks(tensor: Any) -> Any:
    """Copies a tensor to the host, contiguous, with no second copy of the whole on either side."""
    import torch

    host = torch.empty(tensor.shape, dtype=tensor.dtype)
    if tensor.dim() == 0:
        return host.copy_(tensor)
    row = tensor.element_size() * max(tensor[:1].numel(), 1)
    rows = max(BLOCK // row, 1)
    for start in range(0, len(tensor), rows):
        host[start : start + rows].copy_(tensor[start : start + rows])
    return host


def of_jax(name: str, array: Any, notes: list[str]) -> Prepared:
    import jax

    if isinstance(array, jax.core.Tracer):
        raise CaseError(f"{name} is traced; call gradprobe outside of jax.jit and jax.grad")
    if any(device.platform != "cpu" for device in array.devices()):
        notes.append(f"{name} was copied from {', '.join(map(str, array.devices()))}")
        return of_numpy(name, jax.device_get(array), notes)
    if len(array.devices()) > 1:
        notes.append(f"{name} was copied from {len(array.devices())} devices")
        return of_numpy(name, jax.device_get(array), notes)
    return array, None


def of_numpy(name: str, array: Any, notes: list[str]) -> Prepared:
    import numpy as np

    if isinstance(array, np.ma.MaskedArray):
        raise CaseError(f"{name} is a masked array; pass {name}.filled() or leave the rows out")
    array = np.asarray(array)
    if array.dtype.hasobject:
        raise CaseError(f"{name} holds objects, but must hold numbers")
    if not array.dtype.isnative:
        notes.append(f"{name} was copied, because its bytes are swapped")
        array = array.astype(array.dtype.newbyteorder("="))
    if not array.flags.c_contiguous:
        notes.append(f"{name} was copied, because it is not contiguous")
        array = np.ascontiguousarray(array)
    # ml_dtypes' bfloat16 has neither DLPack nor a buffer.
    if array.dtype.name == "bfloat16":
        return array.view(np.uint16), "bf16"
    return array, None


def of_list(name: str, values: Sequence[Any]) -> Any:
    """Returns a list of numbers, or of equally long lists of numbers, as an array."""
    nested = [list(row) for row in values if isinstance(row, (list, tuple))]
    width = len(nested[0]) if nested else 1
    if nested and (len(nested) < len(values) or any(len(row) != width for row in nested)):
        raise CaseError(f"{name} is a list whose rows differ in length")
    numbers = [number for row in nested for number in row] if nested else list(values)
    if not all(isinstance(number, (int, float)) for number in numbers):
        raise CaseError(f"{name} is a list, but not one of numbers")
    is_whole = all(isinstance(number, int) for number in numbers)
    flat = memoryview(lists.array("q" if is_whole else "d", numbers))
    if not nested:
        return flat
    return flat.cast("B").cast("q" if is_whole else "d", (len(nested), width))
