"""Arrays come in from every library, and in place."""

from __future__ import annotations

import array
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import torch
from conftest import layer

import gradprobe
from gradprobe import _arrays, _native
from gradprobe._arrays import prepare

TORCH_DTYPES = [
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.int32,
    torch.int64,
    torch.uint8,
    torch.bool,
]


def read_at(value: Any) -> tuple[int, int, list[str]]:
    notes: list[str] = []
    address, size = _native.memory_of(*prepare("array", value, notes))
    return address, size, notes


@pytest.mark.parametrize("dtype", TORCH_DTYPES)
def test_torch_tensors_are_read_in_place(dtype: torch.dtype) -> None:
    tensor = torch.ones(6, 5).to(dtype)
    for part in (tensor, tensor[2:5]):
        assert read_at(part) == (part.data_ptr(), part.numel() * part.element_size(), [])


def test_tensors_that_require_grad_are_read_in_place() -> None:
    leaf = torch.ones(3, 4, requires_grad=True)
    parameter = torch.nn.Parameter(torch.ones(3, 4))
    for tensor in (leaf, leaf * 2, parameter):
        assert read_at(tensor)[0] == tensor.data_ptr()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "int64", "uint16"])
def test_numpy_arrays_are_read_in_place(dtype: str) -> None:
    values = np.ones((6, 5), dtype)
    values.flags.writeable = False
    for part in (values, values[1:4]):
        assert read_at(part) == (part.ctypes.data, part.nbytes, [])


def test_bfloat16_of_ml_dtypes_is_read_in_place() -> None:
    values = np.ones((6, 5), ml_dtypes.bfloat16)
    assert read_at(values) == (values.ctypes.data, values.nbytes, [])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "int32"])
def test_jax_arrays_are_read_in_place(dtype: str) -> None:
    values = jnp.ones((6, 5), dtype)
    address, size, notes = read_at(values)
    assert (address, size, notes) == (values.unsafe_buffer_pointer(), values.nbytes, [])


def test_buffers_are_read_in_place() -> None:
    values = array.array("f", [1.0, 2.0])
    assert read_at(values) == (values.buffer_info()[0], 8, [])


def test_copies_are_noted(case: dict[str, Any]) -> None:
    transposed = torch.from_numpy(case["weight"].T.copy()).T
    swapped = case["grad"].astype(">f4")
    del case["grad_weight"]
    case |= {"weight": transposed, "input": case["input"][:, ::1], "grad": swapped}
    report = gradprobe.check(**case)
    assert report.passed
    assert set(report.notes) == {
        "weight was copied, because it is not contiguous",
        "grad was copied, because its bytes are swapped",
    }


@pytest.mark.parametrize("library", ["numpy", "torch", "jax", "lists"])
def test_the_verdict_does_not_depend_on_the_library(library: str, case: dict[str, Any]) -> None:
    convert = {
        "numpy": lambda it: it,
        "torch": torch.from_numpy,
        "jax": jnp.asarray,
        "lists": lambda it: it.tolist(),
    }[library]
    right = {name: convert(it) for name, it in case.items()}
    if library == "lists":
        # Lists hold f64, in which these gradients are not right to the last digit.
        right["computed_in"] = "f32"
    assert gradprobe.check(**right).passed
    right["grad"] = convert(case["grad"] * np.float32(3))
    assert gradprobe.check(**right)["grad"].findings[0].factor == pytest.approx(3)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_of_jax(dtype: Any) -> None:
    case = {name: jnp.asarray(it) for name, it in layer(n=64).items()}

    def loss(x: Any, w: Any) -> Any:
        log_p = jax.nn.log_softmax(x @ w.T)
        return -jnp.take_along_axis(log_p, case["target"][:, None], 1).mean()

    x, w = case["input"].astype(dtype), case["weight"].astype(dtype)
    of_x, of_w = jax.grad(loss, (0, 1))(x, w)
    report = gradprobe.check(input=x, weight=w, target=case["target"], grad=of_x, grad_weight=of_w)
    assert report.verdict != "fail"
    assert report["grad"].dtype == {"bfloat16": "bf16", "float16": "f16"}[x.dtype.name]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (3, "input has type int, but must be an array"),
        (object(), "input has type object"),
        ([[1.0], [1.0, 2.0]], "input is a list whose rows differ in length"),
        (["a"], "input is a list, but not one of numbers"),
        (np.array([[None]]), "input holds objects"),
        (np.ones((2, 2), complex), "input holds"),
        (np.ma.masked_array(np.ones((2, 2))), "input is a masked array"),
        (torch.ones(2, 2).to_sparse(), "input is sparse"),
        (torch.ones(2, 2, dtype=torch.complex64), "input holds"),
    ],
)
def test_other_values_are_refused(value: Any, message: str) -> None:
    with pytest.raises(gradprobe.CaseError, match=message):
        gradprobe.check(input=value, weight=np.ones((2, 2)), target=[0, 1], grad=np.ones((2, 2)))


def test_traced_arrays_are_refused() -> None:
    @jax.jit
    def traced(x: Any) -> Any:
        gradprobe.check(logits=x, target=[0, 1], grad_logits=x)
        return x

    with pytest.raises(gradprobe.CaseError, match=r"outside of jax\.jit"):
        traced(jnp.ones((2, 2)))


def test_no_array_is_kept() -> None:
    values = np.ones((100, 100))
    before = __import__("sys").getrefcount(values)
    for _ in range(100):
        read_at(values)
    assert __import__("sys").getrefcount(values) == before


def test_a_tensor_of_a_device_is_copied_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_arrays, "BLOCK", 100)
    for tensor in (torch.randn(37, 5), torch.randn(5, 37).T, torch.tensor(3.0), torch.empty(0, 4)):
        copy = _arrays.in_blocks(tensor)
        assert copy.is_contiguous() and torch.equal(copy, tensor)
        assert copy.data_ptr() != tensor.data_ptr() or not tensor.numel()
