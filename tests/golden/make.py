#!/usr/bin/env python3
"""Makes the golden files beside this script: random problems, with their gradients by PyTorch.

Each NAME.safetensors holds one problem in one dtype: input, weight, target, and sometimes bias and class_weight.
It also holds the gradients that autograd computes in that dtype, with respect to
  the input   (grad)
  the logits  (grad_logits)
  the weight  (grad_weight)
  the bias    (grad_bias)
The metadata holds the options of the loss and the version of torch. The files options-*.safetensors cover every
combination of the options of cross_entropy.

Requires: pip install torch safetensors
"""
from itertools import product
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


def save(name, seed, n, d, k, scale, bias, reduction, dtype, weighted=False, ignored=False, smoothing=0.0, soft=False):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    x = normal(n, d).to(dtype).requires_grad_()
    weight = (normal(k, d) * scale / d**0.5).to(dtype).requires_grad_()
    b = (normal(k) * scale).to(dtype).requires_grad_() if bias else None
    target = torch.randint(k, (n,), generator=generator)
    class_weight = normal(k).abs().to(dtype) if weighted else None
    if soft:
        target = torch.softmax(normal(n, k) * 2, 1).to(dtype)
    elif ignored:
        target[1::3] = -100
    logits = linear(x, weight, b)
    logits.retain_grad()
    cross_entropy(logits, target, class_weight, reduction=reduction, label_smoothing=smoothing).backward()
    tensors = {
        "input": x.detach(),
        "weight": weight.detach(),
        "target": target,
        "grad": x.grad,
        "grad_logits": logits.grad,
        "grad_weight": weight.grad,
    }
    if bias:
        tensors |= {"bias": b.detach(), "grad_bias": b.grad}
    if weighted:
        tensors["class_weight"] = class_weight
    metadata = {"reduction": reduction, "label_smoothing": str(smoothing), "torch": torch.__version__}
    save_file(tensors, Path(__file__).with_name(f"{name}.safetensors"), metadata)


def main():
    for seed, (name, case) in enumerate(CASES.items()):
        save(name, seed, *case)
    switches = (("mean", "sum"), (False, True), ("plain", "ignored", "soft"), (0.0, 0.2), (torch.float32, torch.float64))
    for seed, (reduction, weighted, kind, smoothing, dtype) in enumerate(product(*switches)):
        words = ["options", reduction, "weighted" * weighted, kind, "smoothed" * (smoothing > 0), str(dtype)[-2:]]
        options = {"weighted": weighted, "ignored": kind == "ignored", "soft": kind == "soft", "smoothing": smoothing}
        save("-".join(filter(None, words)), seed, 7, 5, 4, 1.0, True, reduction, dtype, **options)


if __name__ == "__main__":
    main()
