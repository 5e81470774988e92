#!/usr/bin/env python3
"""Makes digits.safetensors and digits-accumulated.safetensors beside this file.

scikit-learn's digits (1797 samples, 64 pixels, 10 classes), a linear layer trained for ten epochs of full-batch SGD by
PyTorch in float32, and the gradient of the mean cross-entropy with respect to the input after the last backward pass:

  digits.safetensors              x.grad was cleared before each backward pass: the gradient is right
  digits-accumulated.safetensors  x.grad was never cleared: it holds the sum of ten backward passes

The weights of both are the same. needs: pip install torch scikit-learn safetensors
"""
from pathlib import Path

import torch
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy

EPOCHS = 10


def train(x, target, clear):
    torch.manual_seed(0)
    layer = torch.nn.Linear(x.shape[1], 10)
    optimizer = torch.optim.SGD(layer.parameters(), lr=1e-3)
    x = x.clone().requires_grad_()
    for epoch in range(EPOCHS):
        optimizer.zero_grad()  # clears the gradients of weight and bias, not that of x
        if clear:
            x.grad = None
        loss = cross_entropy(layer(x), target)
        loss.backward()
        if epoch < EPOCHS - 1:
            optimizer.step()
    return layer, x.grad


def main():
    digits = load_digits()
    x = torch.tensor(digits.data, dtype=torch.float32) / 16
    target = torch.tensor(digits.target)
    for name, clear in [("digits", True), ("digits-accumulated", False)]:
        layer, grad = train(x, target, clear)
        tensors = {
            "input": x,
            "weight": layer.weight.detach(),
            "bias": layer.bias.detach(),
            "target": target,
            "grad": grad,
        }
        metadata = {"reduction": "mean", "torch": torch.__version__}
        save_file(tensors, Path(__file__).with_name(f"{name}.safetensors"), metadata)


if __name__ == "__main__":
    main()
