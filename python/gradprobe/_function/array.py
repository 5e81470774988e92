"""Arrays of NumPy, torch and JAX: their dtypes, and conversion from and to float64.

Neither torch nor JAX is imported here. An array of theirs exists only if the user imported them.
"""

from __future__ import annotations

import sys
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Kind = Literal["numpy", "torch", "jax", "float", "other"]

# The unit roundoff of each dtype: half of the distance from 1 to the next larger number.
ROUNDOFF = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}


def loaded(module: str) -> Any:
    """Returns a module that is imported already, else `None`."""
    return sys.modules.get(module)


def kind_of(value: Any) -> Kind:
    """Returns the library of an array; `other` for what is no array."""
    if isinstance(value, np.ndarray | np.generic):
        return "numpy"
    if isinstance(value, float):
        return "float"
    torch = loaded("torch")
    if torch is not None and isinstance(value, getattr(torch, "Tensor", ())):
        return "torch"
    jax = loaded("jax")
    if jax is not None and isinstance(value, getattr(jax, "Array", ())):
        return "jax"
    return "other"


def dtype_of(value: Any) -> str:
    """Returns the name of the dtype, the same for all libraries."""
    if isinstance(value, bool | int):
        return "int64"
    if kind_of(value) == "float":
        return "float64"
    return str(getattr(value, "dtype", type(value).__name__)).removeprefix("torch.")


def shape_of(value: Any) -> tuple[int, ...]:
    """Returns the shape; `()` for a number."""
    return tuple(int(n) for n in getattr(value, "shape", ()))


def widened(value: Any) -> Array:
    """Returns a float64 copy in NumPy. Every dtype of `ROUNDOFF` is exact in float64."""
    if kind_of(value) == "torch":
        torch = loaded("torch")
        value = value.detach().to(device="cpu", dtype=torch.float64).numpy()
    return np.array(value).astype(np.float64)


def complex_values(value: Any) -> NDArray[np.complex128]:
    """Returns a complex128 copy of a NumPy array or a number."""
    return np.array(value).astype(np.complex128)


def like(values: NDArray[Any], original: Any, wide: bool, graph: bool = False) -> Any:
    """Returns a copy of `values` as an array of the library and device of `original`.

    `wide` keeps the dtype of `values`; otherwise they are rounded to the dtype of `original`.
    `graph` lets torch record the operations, for functions that differentiate inside.
    """
    kind = kind_of(original)
    if kind == "float":
        return values.item()
    if kind == "torch":
        torch = loaded("torch")
        tensor = torch.from_numpy(values.copy())
        dtype = tensor.dtype if wide else original.dtype
        return tensor.to(device=original.device, dtype=dtype).requires_grad_(graph)
    if kind == "jax":
        numpy = loaded("jax").numpy
        return numpy.asarray(values, dtype=None if wide else original.dtype)
    copied = np.array(values, dtype=None if wide else original.dtype)
    return copied[()] if isinstance(original, np.generic) else copied
