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

The files in forms/ hold arrays that are no matrices, as they come from PyTorch: sequences, images, logits with their
classes on axis 1, an upstream gradient for each sample, parts of a batch, and numbers of bf16 in arrays of f32.

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


def save_form(name, tensors, **metadata):
    folder = Path(__file__).with_name("forms")
    folder.mkdir(exist_ok=True)
    tensors = {key: tensor.detach().contiguous() for key, tensor in tensors.items()}
    save_file(tensors, folder / f"{name}.safetensors", {**metadata, "torch": torch.__version__})


def save_forms():
    generator = torch.Generator().manual_seed(1)

    def normal(*shape):
        return torch.randn(*shape, generator=generator).requires_grad_()

    def labels(k, *shape):
        return torch.randint(k, shape, generator=generator)

    # A language model: [batch, sequence, d], with padding.
    x, w, b, t = normal(3, 5, 8), normal(6, 8), normal(6), labels(6, 3, 5)
    t[:, 4] = -100
    z = linear(x, w, b)
    z.retain_grad()
    cross_entropy(z.transpose(1, 2), t).backward()
    layer = {"input": x, "weight": w, "bias": b, "target": t}
    gradients = {"grad": x.grad, "grad_logits": z.grad, "grad_weight": w.grad, "grad_bias": b.grad}
    save_form("sequences", layer | gradients)

    # Images, flattened before the layer.
    x, w, t = normal(7, 3, 2, 4), normal(5, 24), labels(5, 7)
    cross_entropy(linear(x.flatten(1), w), t).backward()
    save_form("images", {"input": x, "weight": w, "target": t, "grad": x.grad, "grad_weight": w.grad})

    # Segmentation: one label for each pixel.
    for name, shape in {"pixels": (2, 4, 3, 5), "tokens": (3, 6, 4)}.items():
        z = normal(*shape)
        t = labels(shape[1], shape[0], *shape[2:])
        weight = normal(shape[1]).detach().abs()
        cross_entropy(z, t, weight, label_smoothing=0.1).backward()
        tensors = {"logits": z, "target": t, "class_weight": weight, "grad_logits": z.grad}
        save_form(name, tensors, label_smoothing="0.1")
    z, t = normal(2, 4, 3, 5), torch.softmax(normal(2, 4, 3, 5), 1)
    cross_entropy(z, t).backward()
    save_form("pixels-soft", {"logits": z, "target": t, "grad_logits": z.grad})

    # reduction="none" with an upstream gradient of both signs, and with one for each token.
    for name, lead in {"upstream": (9,), "upstream-tokens": (3, 4)}.items():
        x, w, b, t = normal(*lead, 6), normal(5, 6), normal(5), labels(5, *lead)
        upstream = normal(*lead).detach()
        z = linear(x, w, b)
        z.retain_grad()
        cross_entropy(z.flatten(0, -2), t.flatten(), reduction="none").backward(upstream.flatten())
        layer = {"input": x, "weight": w, "bias": b, "target": t, "sample_weight": upstream}
        gradients = {"grad": x.grad, "grad_logits": z.grad, "grad_weight": w.grad, "grad_bias": b.grad}
        save_form(name, layer | gradients, reduction="none")

    # The first half of a batch whose gradients are accumulated: the loss divides by all items.
    x, w, t = normal(6, 4), normal(3, 4), labels(3, 6)
    (cross_entropy(linear(x, w), t, reduction="sum") / 14).backward()
    tensors = {"input": x, "weight": w, "target": t, "grad": x.grad, "grad_weight": w.grad}
    save_form("accumulation", tensors, normalizer="14")

    # f32 gradients that autocast computes in bf16.
    x, w, b, t = normal(40, 16), normal(5, 16), normal(5), labels(5, 40)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = cross_entropy(linear(x, w, b), t)
    loss.backward()
    layer = {"input": x, "weight": w, "bias": b, "target": t}
    save_form("autocast", layer | {"grad": x.grad, "grad_weight": w.grad, "grad_bias": b.grad}, computed_in="bf16")


def main():
    save_forms()
    for seed, (name, case) in enumerate(CASES.items()):
        save(name, seed, *case)
    switches = (("mean", "sum"), (False, True), ("plain", "ignored", "soft"), (0.0, 0.2), (torch.float32, torch.float64))
    for seed, (reduction, weighted, kind, smoothing, dtype) in enumerate(product(*switches)):
        words = ["options", reduction, "weighted" * weighted, kind, "smoothed" * (smoothing > 0), str(dtype)[-2:]]
        options = {"weighted": weighted, "ignored": kind == "ignored", "soft": kind == "soft", "smoothing": smoothing}
        save("-".join(filter(None, words)), seed, 7, 5, 4, 1.0, True, reduction, dtype, **options)


if __name__ == "__main__":
    main()
