#!/usr/bin/env python3
"""Makes example files of networks beside this script: right gradients, and wrong ones as people report them.

An MLP (64-32-10, layer norm and ReLU) is trained by PyTorch on the digits of digits.safetensors, in float32. The
files hold its parameters, a batch, and the gradient of every value and parameter:

  mlp.safetensors              right
  mlp-no-mask.safetensors      the backward pass of the ReLU forgets its mask
  mlp-no-mean.safetensors      that of the layer norm forgets the mean's own gradient
  softmax.safetensors          a softmax by itself, with an upstream gradient: right
  softmax-diagonal.safetensors only the diagonal of its Jacobian

Requires: pip install torch safetensors
"""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

HERE = Path(__file__).parent
SAMPLES = 128
EPS = 1e-5


class ForgetfulRelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.relu()

    @staticmethod
    def backward(ctx, grad):
        return grad


class ForgetfulNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.save_for_backward(x, weight)
        return F.layer_norm(x, x.shape[1:], weight, bias, EPS)

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        scale = (x.var(1, unbiased=False, keepdim=True) + EPS).rsqrt()
        hat = (x - x.mean(1, keepdim=True)) * scale
        g = grad * weight
        return scale * (g - hat * (g * hat).mean(1, keepdim=True)), (grad * hat).sum(0), grad.sum(0)


def mlp(parameters, x, target, relu, norm):
    """Returns the gradients of all values and parameters, by name."""
    x = x.clone().requires_grad_()
    p = {name: value.detach().clone().requires_grad_() for name, value in parameters.items()}
    values = {"input": x}
    values["fc1"] = F.linear(x, p["fc1.weight"], p["fc1.bias"])
    values["norm"] = norm(values["fc1"], p["norm.weight"], p["norm.bias"])
    values["relu"] = relu(values["norm"])
    values["fc2"] = F.linear(values["relu"], p["fc2.weight"], p["fc2.bias"])
    for value in values.values():
        value.retain_grad()
    loss = F.cross_entropy(values["fc2"], target)
    loss.backward()
    return loss, {f"grad.{name}": value.grad for name, value in {**values, **p}.items()}


def trained(x, target):
    torch.manual_seed(0)
    linears = {"fc1": torch.nn.Linear(64, 32), "fc2": torch.nn.Linear(32, 10)}
    parameters = {f"{name}.{k}": v.data for name, it in linears.items() for k, v in it.named_parameters()}
    parameters |= {"norm.weight": torch.ones(32), "norm.bias": torch.zeros(32)}
    moments = {name: [torch.zeros_like(value)] * 2 for name, value in parameters.items()}
    for step in range(1, 101):
        _, grads = mlp(parameters, x, target, torch.relu, right_norm)
        for name, value in parameters.items():
            grad = grads[f"grad.{name}"]
            one, two = moments[name]
            moments[name] = one, two = 0.9 * one + 0.1 * grad, 0.999 * two + 0.001 * grad**2
            value -= 3e-3 * (one / (1 - 0.9**step)) / ((two / (1 - 0.999**step)).sqrt() + 1e-8)
    return parameters


def right_norm(x, weight, bias):
    return F.layer_norm(x, x.shape[1:], weight, bias, EPS)


def main():
    digits = load_file(HERE / "digits.safetensors")
    x, target = digits["input"], digits["target"]
    parameters = trained(x, target)
    model = {"model": "linear:fc1 layer_norm:norm relu linear:fc2 cross_entropy"}
    for name, relu, norm in [
        ("mlp", torch.relu, right_norm),
        ("mlp-no-mask", ForgetfulRelu.apply, right_norm),
        ("mlp-no-mean", torch.relu, ForgetfulNorm.apply),
    ]:
        batch = x[:SAMPLES], target[:SAMPLES]
        _, grads = mlp(parameters, *batch, relu, norm)
        tensors = {"input": batch[0], "target": batch[1], **parameters, **grads}
        tensors = {key: value.contiguous() for key, value in tensors.items()}
        save_file(tensors, HERE / f"{name}.safetensors", model)

    torch.manual_seed(1)
    scores = 3 * torch.randn(SAMPLES, 16)
    grad_output = torch.randn(SAMPLES, 16)
    p = scores.softmax(1)
    right = p * (grad_output - (grad_output * p).sum(1, keepdim=True))
    for name, grad in [("softmax", right), ("softmax-diagonal", p * (1 - p) * grad_output)]:
        tensors = {"input": scores, "grad_output": grad_output, "grad.input": grad}
        save_file(tensors, HERE / f"{name}.safetensors", {"model": "softmax dot"})


if __name__ == "__main__":
    main()
