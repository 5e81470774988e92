#!/usr/bin/env python3
"""Makes two example files beside this script: a correct gradient, and one with a common bug.

PyTorch trains a linear layer on scikit-learn's digits (1797 samples, 64 pixels, 10 classes) in float32, by ten
epochs of full-batch SGD. The files hold the layer, the data, and x.grad after the last backward pass:

  digits.safetensors              x.grad was cleared before each backward pass: correct
  digits-accumulated.safetensors  x.grad was never cleared: the sum of ten backward passes

Both runs start from the same seed and train the same weights, because x.grad has no part in the training.

Requires: pip install torch scikit-learn safetensors
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
        optimizer.zero_grad()  # clears weight.grad and bias.grad, but not x.grad
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
