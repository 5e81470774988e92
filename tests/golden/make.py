#!/usr/bin/env python3
"""Makes the golden files beside this one: random problems and PyTorch's own gradients of them.

A file NAME.safetensors holds input, weight, target, perhaps bias, in one dtype, and autograd's gradients with
respect to the input (grad) and the logits (grad_logits) in that dtype; its metadata says the reduction and torch's version.
needs: pip install torch safetensors
"""
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.nn.functional import cross_entropy, linear

# name: n, d, k, logit scale, bias, reduction, dtype
CASES = {
    "asker-f32": (10, 4, 2, 1.0, True, "mean", torch.float32),
    "asker-f64": (10, 4, 2, 1.0, True, "mean", torch.float64),
    "middle-f32": (64, 32, 10, 1.0, True, "mean", torch.float32),
    "middle-f64": (64, 32, 10, 1.0, True, "mean", torch.float64),
    "sum-f32": (33, 17, 5, 1.0, True, "sum", torch.float32),
    "sum-f64": (33, 17, 5, 1.0, True, "sum", torch.float64),
    "no-bias-f32": (16, 20, 7, 1.0, False, "mean", torch.float32),
    "no-bias-f64": (16, 20, 7, 1.0, False, "mean", torch.float64),
    "saturated-f32": (24, 12, 6, 40.0, True, "mean", torch.float32),
    "saturated-f64": (24, 12, 6, 40.0, True, "mean", torch.float64),
    "flat-f64": (24, 12, 6, 0.01, True, "mean", torch.float64),
    "many-classes-f32": (8, 16, 300, 1.0, True, "mean", torch.float32),
    "half-f16": (32, 16, 5, 1.0, True, "sum", torch.float16),
    "brain-bf16": (32, 16, 5, 1.0, True, "mean", torch.bfloat16),
}


def main():
    for seed, (name, (n, d, k, scale, bias, reduction, dtype)) in enumerate(CASES.items()):
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape):
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        x = normal(n, d).to(dtype).requires_grad_()
        weight = (normal(k, d) * scale / d**0.5).to(dtype)
        b = (normal(k) * scale).to(dtype) if bias else None
        target = torch.randint(k, (n,), generator=generator)
        logits = linear(x, weight, b)
        logits.retain_grad()
        cross_entropy(logits, target, reduction=reduction).backward()
        tensors = {"input": x.detach(), "weight": weight, "target": target, "grad": x.grad, "grad_logits": logits.grad}
        if bias:
            tensors["bias"] = b
        path = Path(__file__).with_name(f"{name}.safetensors")
        save_file(tensors, path, {"reduction": reduction, "torch": torch.__version__})


if __name__ == "__main__":
    main()
