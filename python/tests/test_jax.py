"""gradprobe.jax.check_grads, beside jax.test_util.check_grads."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax.test_util import check_grads as original

from gradprobe import CaseError, GradientError
from gradprobe.jax import check_grads


def array(*shape: int, seed: int = 0, dtype: Any = jnp.float32) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), shape, dtype)


RIGHT = {
    "sin": (jnp.sin, (array(3, 4),)),
    "matmul": (jnp.matmul, (array(3, 4), array(4, 2, seed=1))),
    "softmax": (jax.nn.softmax, (array(3, 4),)),
    "solve": (jnp.linalg.solve, (array(3, 3) + 3 * jnp.eye(3), array(3, 2, seed=1))),
    "number": (lambda x: x * x, (1.5,)),
}


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("name", RIGHT)
def test_right_functions(name: str, order: int) -> None:
    f, args = RIGHT[name]
    check_grads(f, args, order)
    if order == 1:
        check_grads(jax.jit(f), args, order, modes="rev")


def test_trees_integers_and_complex_outputs() -> None:
    def f(p: Any, steps: int, x: jax.Array) -> Any:
        y = jnp.tanh(x @ p["w"]) * p["b"]
        return {"y": y * steps, "steps": steps, "z": jnp.fft.fft(y)}

    check_grads(f, ({"w": array(4, 2), "b": jnp.ones(2)}, 3, array(3, 4, seed=1)), 1)


@jax.custom_vjp
def reverse(x: jax.Array, factor: float) -> jax.Array:
    """sin with a reverse mode that is off by a factor."""
    return jnp.sin(x)


reverse.defvjp(
    lambda x, factor: (jnp.sin(x), (x, factor)),
    lambda kept, g: (g * jnp.cos(kept[0]) * kept[1], None),
)


@jax.custom_jvp
def forward(x: jax.Array) -> jax.Array:
    """sin with a derivative that is off by a thousandth."""
    return jnp.sin(x)


forward.defjvp(lambda x, t: (jnp.sin(x[0]), 1.001 * t[0] * jnp.cos(x[0])))


@jax.custom_jvp
def cosine(x: jax.Array) -> jax.Array:
    """cos with a derivative of the wrong sign."""
    return jnp.cos(x)


cosine.defjvp(lambda x, t: (jnp.cos(x[0]), t[0] * jnp.sin(x[0])))


@jax.custom_jvp
def sine(x: jax.Array) -> jax.Array:
    """sin with a right derivative, and a wrong second one."""
    return jnp.sin(x)


sine.defjvp(lambda x, t: (jnp.sin(x[0]), t[0] * cosine(x[0])))


def test_wrong_reverse_mode() -> None:
    def f(x: jax.Array) -> jax.Array:
        return reverse(x, 1.0001)

    x = array(3, 4)
    original(f, (x,), 1, modes=("rev",))
    with pytest.raises(GradientError, match=r"rev, order 1: FAIL: .* 1\.0001 times") as caught:
        check_grads(f, (x,), 1, modes=("rev",))
    assert caught.value.report.checks[0].name == "args[0]"


@pytest.mark.parametrize("mode", ["fwd", "rev"])
def test_wrong_forward_mode(mode: str) -> None:
    with pytest.raises(GradientError, match=f"{mode}, order 1: FAIL: .* 1.001 times"):
        check_grads(forward, (array(3, 4),), 1, modes=mode)
    check_grads(forward, (array(3, 4),), 1, modes=mode, rtol=0.01)


def test_wrong_second_order() -> None:
    x = array(3, 4)
    check_grads(sine, (x,), 1)
    for modes in (("fwd",), ("rev",)):
        with pytest.raises(AssertionError):
            original(sine, (x,), 2, modes=modes)
        with pytest.raises(GradientError, match=f"{modes[0]} of {modes[0]}, order 2: FAIL"):
            check_grads(sine, (x,), 2, modes=modes)


def test_refusals() -> None:
    x = array(3)
    with pytest.raises(CaseError, match="modes: expected some of"):
        check_grads(jnp.sin, (x,), 1, modes=("forward",))
    with pytest.raises(CaseError, match="order: expected at least 1"):
        check_grads(jnp.sin, (x,), 0)
    with pytest.raises(CaseError, match="complex"):
        check_grads(jnp.abs, (x.astype(jnp.complex64),), 1)
    with pytest.raises(CaseError, match="no argument is a floating"):
        check_grads(lambda n: n, (3,), 1)
    with pytest.raises(CaseError, match="no output is a floating"):
        check_grads(jnp.argmax, (x,), 1)
    with pytest.raises(CaseError, match="a table of dtypes"):
        check_grads(jnp.sin, (x,), 1, atol={jnp.float32: 1e-3})  # type: ignore[arg-type]
