"""Random networks in PyTorch, with the gradients of all their tensors, right or wrong."""

from __future__ import annotations

import math
import warnings

import numpy as np
import torch
from torch.nn import functional as F

DTYPES = {"f64": torch.float64, "f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
ACTIVATIONS = {
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "selu": F.selu,
    "celu": F.celu,
    "gelu": F.gelu,
    "gelu(approximate=tanh)": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "mish": F.mish,
    "sigmoid": torch.sigmoid,
    "log_sigmoid": F.logsigmoid,
    "tanh": torch.tanh,
    "softplus": F.softplus,
    "softsign": F.softsign,
    "hardtanh": F.hardtanh,
    "relu6": F.relu6,
    "hardswish": F.hardswish,
}


class Fault(torch.autograd.Function):
    """The identity, whose backward pass is a function of the gradient."""

    @staticmethod
    def forward(ctx, x, change):
        ctx.change = change
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return ctx.change(grad), None


class Tf32Product(torch.autograd.Function):
    """x Wᵀ with operands rounded to the 11 digits of TF32, forward and backward, as a GPU does."""

    @staticmethod
    def round(value):
        bits = value.contiguous().view(torch.int32)
        return ((bits + 0xFFF + (bits >> 13 & 1)) & ~0x1FFF).view(torch.float32)

    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(Tf32Product.round(x), Tf32Product.round(weight))
        return Tf32Product.round(x) @ Tf32Product.round(weight).T

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        grad = Tf32Product.round(grad)
        return grad @ weight, grad.T @ x


class Instead(torch.autograd.Function):
    """Zeros of the shape of y, whose gradient with respect to x is a function of that of y."""

    @staticmethod
    def forward(ctx, x, y, backward):
        ctx.of_x = backward
        return torch.zeros_like(y)

    @staticmethod
    def backward(ctx, grad):
        return ctx.of_x(grad), None, None


class Slip:
    """A wrong backward pass of a layer, with respect to its first input: (layer, x, g) to the gradient of x."""

    def __init__(self, of_x):
        self.of_x = of_x


def forgotten_derivative(layer, x, g):
    return g


def forgotten_mean(layer, x, g):
    # Of a norm over the last axis: the mean is taken for a constant.
    x = x.clone().requires_grad_()
    mean = x.detach().mean(-1, keepdim=True)
    hat = (x - mean) * ((x - mean) ** 2).mean(-1, keepdim=True).add(1e-5).rsqrt()
    weight = layer("weight")
    return torch.autograd.grad(hat if weight is None else hat * weight.detach(), x, g)[0]


def transposed_weight(layer, x, g):
    return g @ layer("weight").detach().T


class Net:
    """A chain with residual sums: layers as (name, op, attributes text, function of values and parameters)."""

    def __init__(self, seed: int, dtype: str, kind: str, arithmetic: str = "plain"):
        self.arithmetic = arithmetic
        self.rng = np.random.default_rng(seed)
        self.dtype, self.kind = DTYPES[dtype], kind
        rng = self.rng
        log = lambda low, high: int(round(math.exp(rng.uniform(math.log(low), math.log(high)))))
        depth = int(rng.integers(1, 7))
        self.n = log(1, 48)
        widths = [log(3, 128) for _ in range(depth + 1)]
        if rng.random() < 0.4:
            widths[1:-1] = [widths[0]] * (depth - 1)
        if kind == "spike" and depth > 2:
            widths[int(rng.integers(1, depth))] = int(rng.integers(1, 4))
        scale = math.exp(rng.uniform(math.log(0.3), math.log(3)))
        activation = str(rng.choice(list(ACTIVATIONS)))
        self.loss = str(rng.choice(["cross_entropy", "mse_loss", "binary_cross_entropy_with_logits", "l1_loss", "huber_loss",
                                    "smooth_l1_loss", "nll_loss", "kl_div", "binary_cross_entropy", "dot"]))
        self.parameters, self.nodes = {}, []
        draw = lambda *shape: torch.tensor(rng.normal(size=shape))
        for layer in range(depth):
            inputs, outputs = widths[layer], widths[layer + 1]
            name = f"fc{layer}"
            weight = draw(outputs, inputs) * scale / math.sqrt(inputs)
            if kind == "spike":
                weight += draw(outputs, 1).abs() * draw(1, inputs).abs() * scale / math.sqrt(inputs)
            self.parameters[f"{name}.weight"] = weight
            if rng.random() < 0.8:
                self.parameters[f"{name}.bias"] = 0.3 * draw(outputs)
            before = self.nodes[-1]["name"] if self.nodes else "input"
            self.node(name, "linear")
            if layer == depth - 1:
                break
            choice = rng.random()
            if choice < 0.15:
                self.parameters[f"norm{layer}.weight"] = 1 + 0.3 * draw(outputs)
                self.parameters[f"norm{layer}.bias"] = 0.3 * draw(outputs)
                self.node(f"norm{layer}", "layer_norm")
            elif choice < 0.25:
                self.parameters[f"norm{layer}.weight"] = 1 + 0.3 * draw(outputs)
                self.node(f"norm{layer}", "rms_norm")
            elif choice < 0.32:
                self.node(f"soft{layer}", str(rng.choice(["softmax", "log_softmax"])))
            elif choice < 0.4:
                self.parameters[f"norm{layer}.weight"] = 1 + 0.3 * draw(outputs)
                self.parameters[f"norm{layer}.bias"] = 0.3 * draw(outputs)
                self.parameters[f"norm{layer}.running_mean"] = 0.3 * draw(outputs)
                self.parameters[f"norm{layer}.running_var"] = 0.3 + draw(outputs) ** 2
                self.node(f"norm{layer}", "batch_norm")
            elif choice < 0.46 and self.n > 1:
                self.parameters[f"norm{layer}.weight"] = 1 + 0.3 * draw(outputs)
                self.parameters[f"norm{layer}.bias"] = 0.3 * draw(outputs)
                self.node(f"norm{layer}", "batch_norm(training=true)")
            if rng.random() < 0.08:
                self.parameters[f"act{layer}.weight"] = 0.3 * draw(outputs if rng.random() < 0.5 else 1)
                self.node(f"act{layer}", "prelu")
            else:
                self.node(f"act{layer}", activation)
            if inputs == outputs and rng.random() < 0.4:
                self.node(f"sum{layer}", str(rng.choice(["add", "multiply"])), [self.nodes[-1]["name"], before])
        k = widths[-1]
        if self.loss in ("nll_loss", "kl_div"):
            self.node("head", "log_softmax")
        elif self.loss == "binary_cross_entropy":
            self.node("head", "sigmoid")
        shift = 2 * rng.normal() if rng.random() < 0.2 else 0
        x = torch.tensor(rng.normal(size=(self.n, widths[0])) * math.exp(rng.uniform(-1.2, 1.2)) + shift)
        self.input = x.to(self.dtype)
        self.parameters = {name: value.to(self.dtype) for name, value in self.parameters.items()}
        if self.loss in ("cross_entropy", "nll_loss"):
            self.target = torch.tensor(rng.integers(0, k, self.n))
        elif self.loss == "kl_div":
            self.target = torch.tensor(rng.normal(size=(self.n, k))).softmax(1).to(self.dtype)
        elif self.loss.startswith("binary"):
            self.target = torch.tensor(rng.integers(0, 2, (self.n, k))).to(self.dtype)
        else:
            self.target = torch.tensor(rng.normal(size=(self.n, k))).to(self.dtype)
        if kind == "trained":
            self.train()

    def node(self, name, op, inputs=None):
        inputs = inputs or [self.nodes[-1]["name"] if self.nodes else "input"]
        self.nodes.append({"name": name, "op": op, "inputs": inputs})

    def trainable(self):
        return [name for name in self.parameters if "running" not in name]

    def layer(self, node, p, x):
        with torch.autocast("cpu", torch.bfloat16, enabled=self.arithmetic == "autocast"):
            return self.function(node, p, x)

    def function(self, node, p, x):
        op, name = node["op"], node["name"]
        get = lambda key: p.get(f"{name}.{key}")
        if op == "linear" and self.arithmetic == "tf32":
            product = Tf32Product.apply(x[0], get("weight"))
            return product if get("bias") is None else product + get("bias")
        if op == "linear":
            return F.linear(x[0], get("weight"), get("bias"))
        if op == "layer_norm":
            return F.layer_norm(x[0], x[0].shape[1:], get("weight"), get("bias"))
        if op == "rms_norm":
            return F.rms_norm(x[0], x[0].shape[1:], get("weight"))
        if op == "batch_norm":
            return F.batch_norm(x[0], get("running_mean"), get("running_var"), get("weight"), get("bias"))
        if op == "batch_norm(training=true)":
            return F.batch_norm(x[0], None, None, get("weight"), get("bias"), training=True)
        if op == "prelu":
            return F.prelu(x[0], get("weight"))
        if op == "softmax":
            return x[0].softmax(1)
        if op == "log_softmax":
            return x[0].log_softmax(1)
        if op == "add":
            return x[0] + x[1]
        if op == "multiply":
            return x[0] * x[1]
        return ACTIVATIONS[op](x[0])

    def losses(self, y):
        if self.loss == "dot":
            return (y * self.target).sum()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # kl_div's mean
            return getattr(F, self.loss)(y, self.target)

    def gradients(self, faults=None):
        """Returns the gradients of all values and parameters, by name. A fault is a change of the gradient that a node
        passes to its first input, or to a parameter."""
        faults = faults or {}
        p = {name: value.detach().clone() for name, value in self.parameters.items()}
        for name in self.trainable():
            p[name].requires_grad_()
        values = {"input": self.input.clone().requires_grad_()}
        used = {name: Fault.apply(value, faults[name]) if name in faults else value for name, value in p.items()}
        for node in self.nodes:
            x = [values[name] for name in node["inputs"]]
            fault = faults.get(node["name"])
            if isinstance(fault, Slip):
                values[node["name"]] = self.slipped(node, used, x, fault)
                continue
            if fault is not None:
                x[0] = Fault.apply(x[0], fault)
            values[node["name"]] = self.layer(node, used, x)
        for value in values.values():
            value.retain_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.arithmetic == "autocast"):
            loss = self.losses(values[self.nodes[-1]["name"]])
        loss.backward()
        named = {**values, **{name: p[name] for name in self.trainable()}}
        return {name: value.grad for name, value in named.items() if value.grad is not None}, values

    def slipped(self, node, p, x, fault):
        """Returns the output of a layer whose backward pass with respect to its first input is wrong."""
        y = self.layer(node, p, [x[0].detach(), *x[1:]])
        layer = lambda key: p.get(f"{node['name']}.{key}")
        return y + Instead.apply(x[0], y, lambda g: fault.of_x(layer, x[0].detach(), g))

    def train(self, steps=60):
        moments = {name: (0, 0) for name in self.trainable()}
        for step in range(1, steps + 1):
            grads, _ = self.gradients()
            for name in self.trainable():
                grad = grads[name].double()
                one, two = moments[name]
                one, two = 0.9 * one + 0.1 * grad, 0.999 * two + 0.001 * grad**2
                moments[name] = one, two
                change = 1e-2 * (one / (1 - 0.9**step)) / ((two / (1 - 0.999**step)).sqrt() + 1e-8)
                self.parameters[name] = (self.parameters[name].double() - change).to(self.dtype)

    def model(self):
        nodes = []
        for node in self.nodes:
            op, _, settings = node["op"].partition("(")
            node = {**node, "op": op}
            if settings:
                key, _, value = settings.rstrip(")").partition("=")
                node["attributes"] = {key: True if value == "true" else value}
            nodes.append(node)
        settings = {"autocast": {"autocast": "bf16"}, "tf32": {"tf32": True}}.get(self.arithmetic, {})
        return {"format": "gradprobe.model/1", **settings, "nodes": [*nodes, {"name": "loss", "op": self.loss}]}

    def tensors(self, grads):
        tensors = {"input": self.input, **self.parameters}
        tensors["grad_output" if self.loss == "dot" else "target"] = self.target
        tensors |= {f"grad.{name}": grad for name, grad in grads.items()}
        return {name: value.detach().contiguous() for name, value in tensors.items()}
