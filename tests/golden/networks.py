#!/usr/bin/env python3
"""Makes the files in networks/: each layer and each loss of a network with its gradients by PyTorch, in f64.

A layer ends in `dot`, with an upstream gradient. The metadata holds the model and the version of torch. The test
requires a file for each function, so a new one needs a row here.

Requires: pip install torch safetensors
"""
import json
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

N, WIDTH = 6, 5
VECTOR = {"weight": (WIDTH,), "bias": (WIDTH,)}

# file: chain, function of (x, parameters), shapes of parameters, shape of a sample
LAYERS = {
    "linear": ("linear:f", lambda x, p: F.linear(x, p["weight"], p["bias"]), {"weight": (4, WIDTH), "bias": (4,)}),
    "linear-sequence": ("linear:f", lambda x, p: F.linear(x, p["weight"]), {"weight": (4, WIDTH)}, (3, WIDTH)),
    "relu": ("relu", lambda x, p: F.relu(x)),
    "leaky_relu": ("leaky_relu", lambda x, p: F.leaky_relu(x)),
    "leaky_relu-slope": ("leaky_relu(negative_slope=0.3)", lambda x, p: F.leaky_relu(x, 0.3)),
    "prelu": ("prelu:f", lambda x, p: F.prelu(x, p["weight"]), {"weight": (1,)}),
    "prelu-channels": ("prelu:f", lambda x, p: F.prelu(x, p["weight"]), {"weight": (3,)}, (3, WIDTH)),
    "elu": ("elu", lambda x, p: F.elu(x)),
    "elu-alpha": ("elu(alpha=1.7)", lambda x, p: F.elu(x, 1.7)),
    "selu": ("selu", lambda x, p: F.selu(x)),
    "celu": ("celu", lambda x, p: F.celu(x)),
    "celu-alpha": ("celu(alpha=1.7)", lambda x, p: F.celu(x, 1.7)),
    "gelu": ("gelu", lambda x, p: F.gelu(x)),
    "gelu-tanh": ("gelu(approximate=tanh)", lambda x, p: F.gelu(x, approximate="tanh")),
    "silu": ("silu", lambda x, p: F.silu(x)),
    "mish": ("mish", lambda x, p: F.mish(x)),
    "sigmoid": ("sigmoid", lambda x, p: torch.sigmoid(x)),
    "log_sigmoid": ("log_sigmoid", lambda x, p: F.logsigmoid(x)),
    "tanh": ("tanh", lambda x, p: torch.tanh(x)),
    "softplus": ("softplus", lambda x, p: F.softplus(x)),
    "softplus-beta": ("softplus(beta=2,threshold=3)", lambda x, p: F.softplus(x, 2, 3)),
    "softsign": ("softsign", lambda x, p: F.softsign(x)),
    "hardtanh": ("hardtanh(min_val=-0.5,max_val=0.4)", lambda x, p: F.hardtanh(x, -0.5, 0.4)),
    "relu6": ("relu6", lambda x, p: F.relu6(x), {}, (WIDTH,), 5.0),
    "hardswish": ("hardswish", lambda x, p: F.hardswish(x)),
    "softmax": ("softmax", lambda x, p: x.softmax(-1)),
    "log_softmax": ("log_softmax", lambda x, p: x.log_softmax(-1)),
    "layer_norm": ("layer_norm:f", lambda x, p: F.layer_norm(x, (WIDTH,), p["weight"], p["bias"]), VECTOR),
    "layer_norm-eps": ("layer_norm(eps=0.1)", lambda x, p: F.layer_norm(x, (WIDTH,), eps=0.1), {}, (3, WIDTH)),
    "rms_norm": ("rms_norm:f", lambda x, p: F.rms_norm(x, (WIDTH,), p["weight"]), {"weight": (WIDTH,)}),
    "batch_norm": (
        "batch_norm:f",
        lambda x, p: F.batch_norm(x, p["running_mean"], p["running_var"], p["weight"], p["bias"]),
        {**VECTOR, "running_mean": (WIDTH,), "running_var": (WIDTH,)},
    ),
    "batch_norm-images": (
        "batch_norm:f",
        lambda x, p: F.batch_norm(x, p["running_mean"], p["running_var"]),
        {"running_mean": (3,), "running_var": (3,)},
        (3, 2, 2),
    ),
    "batch_norm-training": (
        "batch_norm:f(training=true)",
        lambda x, p: F.batch_norm(x, None, None, p["weight"], p["bias"], training=True),
        VECTOR,
    ),
    "batch_norm-training-images": (
        "batch_norm:f(training=true,eps=0.01)",
        lambda x, p: F.batch_norm(x, None, None, p["weight"], p["bias"], training=True, eps=0.01),
        {"weight": (3,), "bias": (3,)},
        (3, 2, 2),
    ),
    "dropout": ("dropout(p=0.25)", lambda x, p: F.dropout(x, 0.25, training=False)),
    "flatten": ("flatten", lambda x, p: x.flatten(1), {}, (3, WIDTH)),
    "reshape": (
        {"name": "f", "op": "reshape", "attributes": {"shape": [WIDTH, 3]}},
        lambda x, p: x.reshape(-1, WIDTH, 3),
        {},
        (3, WIDTH),
    ),
    "identity": ("identity", lambda x, p: x * 1),
    "add": ({"name": "f", "op": "add", "inputs": ["input", "other"]}, lambda x, p: x + p["other"], {"other": (N, WIDTH)}),
    "multiply": (
        {"name": "f", "op": "multiply", "inputs": ["input", "other"]},
        lambda x, p: x * p["other"],
        {"other": (N, WIDTH)},
    ),
    "dropout-mask": (
        {"name": "f", "op": "dropout", "inputs": ["input", "mask"], "attributes": {"p": 0.25}},
        lambda x, p: x * p["mask"] / 0.75,
        {"mask": (N, WIDTH)},
    ),
}

CLASSES = torch.tensor([0, 2, -100, 4, 1, 1])
SHARES = torch.linspace(0.05, 0.95, N * WIDTH, dtype=torch.float64).reshape(N, WIDTH)
REALS = torch.sin(torch.arange(N * WIDTH, dtype=torch.float64) * 1.7).reshape(N, WIDTH)
SCALES = torch.tensor([1.0, 2.0, 0.5, 3.0, 0.1], dtype=torch.float64)
WEIGHTS = torch.tensor([1.0, -0.5, 2.0, 0.0, 3.0, 0.25], dtype=torch.float64)
PROBABILITIES = REALS.softmax(1)


def losses():
    """Yields file, chain, function of (y, tensors), tensors, and y if it is not random."""
    inside = SHARES.flip(0)
    for reduction in ("mean", "sum"):
        end = "" if reduction == "mean" else "-sum"
        for name in ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"):
            function = getattr(F, name)
            yield f"{name}{end}", f"{name}(reduction={reduction})", lambda y, t, f=function, r=reduction: f(
                y, t["target"], reduction=r
            ), {"target": REALS}
        yield f"cross_entropy{end}", f"cross_entropy(reduction={reduction})", lambda y, t, r=reduction: F.cross_entropy(
            y, t["target"], reduction=r
        ), {"target": CLASSES}
        yield f"nll_loss{end}", f"nll_loss(reduction={reduction})", lambda y, t, r=reduction: F.nll_loss(
            y, t["target"], t["class_weight"], reduction=r
        ), {"target": CLASSES, "class_weight": SCALES}
        bce = "binary_cross_entropy"
        yield f"{bce}{end}", f"{bce}(reduction={reduction})", lambda y, t, r=reduction: F.binary_cross_entropy(
            y, t["target"], reduction=r
        ), {"target": SHARES}, inside
        with_logits = F.binary_cross_entropy_with_logits
        yield f"{bce}_with_logits{end}", f"{bce}_with_logits(reduction={reduction})", lambda y, t, r=reduction: with_logits(
            y, t["target"], reduction=r
        ), {"target": SHARES}
    yield "cross_entropy-options", "cross_entropy(label_smoothing=0.1,ignore_index=1)", lambda y, t: F.cross_entropy(
        y, t["target"], t["class_weight"], ignore_index=1, label_smoothing=0.1
    ), {"target": CLASSES.clamp(min=0), "class_weight": SCALES}
    yield "cross_entropy-probabilities", "cross_entropy", lambda y, t: F.cross_entropy(y, t["target"]), {
        "target": PROBABILITIES
    }
    yield "cross_entropy-weights", "cross_entropy(reduction=none)", lambda y, t: (
        F.cross_entropy(y, t["target"], reduction="none") * t["sample_weight"]
    ).sum(), {"target": CLASSES, "sample_weight": WEIGHTS}
    yield "cross_entropy-sequence", "cross_entropy", lambda y, t: F.cross_entropy(
        y.flatten(0, 1), t["target"].flatten()
    ), {"target": torch.stack([CLASSES, CLASSES.flip(0)], 1)}, torch.cat([REALS, REALS.flip(0)]).reshape(N, 2, WIDTH)
    yield "cross_entropy-normalizer", "cross_entropy(normalizer=46)", lambda y, t: F.cross_entropy(
        y, t["target"], reduction="sum"
    ) / 46, {"target": CLASSES}
    yield "mse_loss-weights", "mse_loss(reduction=none)", lambda y, t: (
        F.mse_loss(y, t["target"], reduction="none") * t["sample_weight"]
    ).sum(), {"target": REALS, "sample_weight": SHARES}
    yield "mse_loss-sample-weights", "mse_loss", lambda y, t: (
        F.mse_loss(y, t["target"], reduction="none") * t["sample_weight"][:, None]
    ).mean(), {"target": REALS, "sample_weight": WEIGHTS}
    yield "smooth_l1_loss-beta", "smooth_l1_loss(beta=0.3)", lambda y, t: F.smooth_l1_loss(y, t["target"], beta=0.3), {
        "target": REALS
    }
    yield "huber_loss-delta", "huber_loss(delta=0.3)", lambda y, t: F.huber_loss(y, t["target"], delta=0.3), {
        "target": REALS
    }
    yield "binary_cross_entropy_with_logits-pos-weight", "binary_cross_entropy_with_logits", lambda y, t: (
        F.binary_cross_entropy_with_logits(y, t["target"], pos_weight=t["pos_weight"])
    ), {"target": SHARES, "pos_weight": SCALES}
    yield "kl_div", "kl_div(reduction=batchmean)", lambda y, t: F.kl_div(y, t["target"], reduction="batchmean"), {
        "target": PROBABILITIES
    }
    yield "kl_div-log-target", "kl_div(log_target=true,reduction=sum)", lambda y, t: F.kl_div(
        y, t["target"], log_target=True, reduction="sum"
    ), {"target": PROBABILITIES.log()}


def save(name, model, tensors):
    path = Path(__file__).parent / "networks" / f"{name}.safetensors"
    path.parent.mkdir(exist_ok=True)
    tensors = {key: value.detach().clone() for key, value in tensors.items()}
    save_file(tensors, path, {"model": model, "torch": torch.__version__})


def save_layer(name, model, function, parameters=(), shape=(WIDTH,), scale=1.0):
    generator = torch.Generator().manual_seed(len(name))
    normal = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)
    x = (scale * normal(N, *shape)).requires_grad_()
    p = {key: normal(*size) for key, size in dict(parameters).items()}
    for key, value in p.items():
        if key == "running_var":
            p[key] = value.abs() + 0.5
        elif key == "mask":
            p[key] = (value > 0).double()
        elif key != "running_mean":
            value.requires_grad_()
    y = function(x, p)
    g = torch.randn(*y.shape, generator=generator, dtype=torch.float64)
    y.backward(g)
    prefix = lambda key: key if isinstance(model, dict) else f"f.{key}"
    tensors = {"input": x, "grad_output": g, "grad.input": x.grad}
    tensors |= {prefix(key): value for key, value in p.items()}
    tensors |= {f"grad.{prefix(key)}": value.grad for key, value in p.items() if value.grad is not None}
    save(name, graph(model) if isinstance(model, dict) else f"{model} dot", tensors)


def graph(node):
    return json.dumps({"format": "gradprobe.model/1", "nodes": [node, {"name": "dot", "op": "dot"}]})


def save_loss(name, model, function, tensors, y=None):
    generator = torch.Generator().manual_seed(len(name))
    if y is None:
        y = 2 * torch.randn(N, WIDTH, generator=generator, dtype=torch.float64)
    y = y.clone().requires_grad_()
    function(y, tensors).backward()
    save(name, model, {"input": y, "grad.input": y.grad, **tensors})


if __name__ == "__main__":
    for name, case in LAYERS.items():
        save_layer(name, *case)
    for case in losses():
        save_loss(*case)
