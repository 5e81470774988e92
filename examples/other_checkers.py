"""Runs other gradient checkers on the bug in examples/digits-accumulated.safetensors.

    pip install torch "jax[cpu]" safetensors
    python examples/other_checkers.py

Requires the command gradprobe on the PATH.

The bug: x.grad was not cleared between ten backward passes. Each checker gets the right gradient and the
accumulated one, of 10 samples, 4 features and 2 classes, for 50 seeds.
"""

import json
import subprocess
import tempfile
import warnings
from collections import Counter
from pathlib import Path

import jax
import jax.numpy as jnp
import torch
from jax.test_util import check_grads
from safetensors.torch import save_file
from torch.nn.functional import cross_entropy

N, D, K, PASSES, SEEDS = 10, 4, 2, 10, 50


def problem(seed, dtype):
    torch.manual_seed(seed)
    layer = torch.nn.Linear(D, K, dtype=dtype)
    x = torch.randn(N, D, dtype=dtype, requires_grad=True)
    return layer, x, torch.randint(K, (N,))


def gradient(seed, dtype, passes):
    layer, x, target = problem(seed, dtype)
    optimizer = torch.optim.SGD(layer.parameters(), lr=1e-3)
    for step in range(passes):
        optimizer.zero_grad()
        cross_entropy(layer(x), target).backward()
        if step + 1 < passes:
            optimizer.step()
    return layer, x, target


def gradcheck(dtype, fast):
    def passes(seed, count):
        # gradcheck takes a function and recomputes the gradient: x.grad never reaches it.
        layer, x, target = gradient(seed, dtype, count)
        x = x.detach().requires_grad_()
        return torch.autograd.gradcheck(
            lambda x: cross_entropy(layer(x), target), x, fast_mode=fast, raise_exception=False
        )

    return passes


def allclose(eps):
    def passes(seed, count):
        layer, x, target = gradient(seed, torch.float32, count)
        numeric = torch.zeros_like(x)
        with torch.no_grad():
            for i in range(x.numel()):
                step = torch.zeros(x.numel())
                step[i] = eps
                step = step.view_as(x)
                up, down = (cross_entropy(layer(x + s), target) for s in (step, -step))
                numeric.view(-1)[i] = (up - down) / (2 * eps)
        return torch.allclose(x.grad, numeric)

    return passes


def jax_check_grads(seed, count):
    layer, x, target = gradient(seed, torch.float32, count)
    w, b, x, t = (jnp.asarray(v.detach().numpy()) for v in (layer.weight, layer.bias, x, target))

    def loss(x):
        return -jnp.mean(jax.nn.log_softmax(x @ w.T + b)[jnp.arange(N), t])

    try:
        check_grads(loss, (x,), order=1, modes=["rev"])
        return True
    except AssertionError:
        return False


CAUSES = Counter()


def gradprobe(seed, count):
    layer, x, target = gradient(seed, torch.float32, count)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mine.safetensors"
        tensors = {"input": x, "weight": layer.weight, "bias": layer.bias, "target": target}
        save_file({name: tensor.detach() for name, tensor in tensors.items()} | {"grad": x.grad}, path)
        command = ["gradprobe", "check", "--device", "cpu", "--json", "-", path]
        report = json.loads(subprocess.run(command, capture_output=True, check=False).stdout)
    CAUSES.update(finding["code"] for finding in report["checks"][0]["findings"][:1])
    return report["verdict"] == "pass"


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(f"torch {torch.__version__}, jax {jax.__version__}; passes of {SEEDS} runs")
    print(f"{'checker':36} {'right':>6} {'x 10':>6}")
    for name, passes in {
        "torch gradcheck, float64": gradcheck(torch.float64, False),
        "torch gradcheck, float32": gradcheck(torch.float32, False),
        "torch gradcheck, float32, fast_mode": gradcheck(torch.float32, True),
        "torch.allclose, eps = 1e-3": allclose(1e-3),
        "jax check_grads, float32": jax_check_grads,
        "gradprobe check, float32": gradprobe,
    }.items():
        counts = [sum(bool(passes(seed, n)) for seed in range(SEEDS)) for n in (1, PASSES)]
        print(f"{name:36} {counts[0]:6} {counts[1]:6}")
    print("causes that gradprobe named:", dict(CAUSES))
