"""Draws random problems: a linear layer, its input, targets and the options of the loss.

The problem INDEX of a SEED is always the same. Half of the draws are ordinary; the others are the edges at which
rounding laws break: one class, 128,256 classes, equal rows, saturated or constant weights, a bias of 1e5.
"""
from dataclasses import dataclass, field

import numpy as np
import torch

DTYPES = {"f64": torch.float64, "f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
DTYPE_SHARES = [0.22, 0.36, 0.24, 0.18]

MOST = {"n": 8192, "d": 4096, "k": 128_256}
VOCABULARIES = [32_000, 50_257, 128_256]

# Bounds on multiply-adds and on numbers in an array. Chosen: a file takes about 0.1 s in all.
WORK, NUMBERS = 5e7, 1e6
LARGE = 8  # factor on both bounds, for one problem in fifty


@dataclass
class Problem:
    """Arrays in the dtype, and the options of torch's cross_entropy."""

    dtype: torch.dtype
    x: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor | None
    target: torch.Tensor  # [n] indices, or [n, k] probabilities
    class_weight: torch.Tensor | None = None
    reduction: str = "mean"
    smoothing: float = 0.0
    ignore_index: int = -100
    recipe: dict = field(default_factory=dict)

    @property
    def shape(self):
        return self.x.shape[0], self.x.shape[1], self.weight.shape[0]

    @property
    def soft(self):
        return self.target.dim() == 2

    @property
    def half(self):
        return self.dtype in (torch.bfloat16, torch.float16)

    def metadata(self):
        options = {"reduction": self.reduction}
        if self.smoothing:
            options["label_smoothing"] = repr(self.smoothing)
        if self.ignore_index != -100:
            options["ignore_index"] = str(self.ignore_index)
        return options

    def tensors(self):
        tensors = {"input": self.x, "weight": self.weight, "target": self.target}
        if self.bias is not None:
            tensors["bias"] = self.bias
        if self.class_weight is not None:
            tensors["class_weight"] = self.class_weight
        return tensors

    def loss_terms(self, dtype):
        """Returns r [n, k], R [n, 1] and Z in `dtype`: the loss is -sum(r·log p) / Z, R the row sums of r."""
        n, _, k = self.shape
        weight = torch.ones(k, dtype=dtype) if self.class_weight is None else self.class_weight.to(dtype)
        if self.soft:
            r = (self.target.to(dtype) * (1 - self.smoothing) + self.smoothing / k) * weight
            normalizer = torch.tensor(n, dtype=dtype)
        else:
            kept = self.target != self.ignore_index
            index = torch.where(kept, self.target, 0)
            own = weight[index] * kept
            r = (weight * (self.smoothing / k)).expand(n, k) * kept[:, None]
            r = r.scatter_add(1, index[:, None], ((1 - self.smoothing) * own)[:, None])
            normalizer = own.sum()
        if self.reduction == "sum":
            normalizer = torch.ones((), dtype=dtype)
        return r, r.sum(1, keepdim=True), normalizer


def draw(seed, index):
    """Returns the problem `index` of `seed`, and the generator for what follows."""
    random = np.random.default_rng([seed, index])
    name = str(random.choice(list(DTYPES), p=DTYPE_SHARES))
    dtype = DTYPES[name]
    n, d, k, shape_kind = draw_shape(random)
    x, input_kind = draw_input(random, n, d)
    weight, bias, weight_kind, bias_kind, scale = draw_layer(random, x, k)
    # Rounded first: "saturated" means saturated in the arrays that the loss sees.
    x, weight = clamped(x, dtype), clamped(weight, dtype)
    bias = None if bias is None else clamped(bias, dtype)
    target, target_kind = draw_target(random, x, weight, bias)
    problem = Problem(dtype, x, weight, bias, target)
    problem.recipe = {
        "seed": seed, "index": index, "dtype": name, "n": n, "d": d, "k": k, "shape": shape_kind,
        "input": input_kind, "weight": weight_kind, "bias": bias_kind, "logits": scale, "target": target_kind,
    }  # fmt: skip
    draw_options(random, problem)
    return problem, random


def clamped(array, dtype):
    limit = torch.finfo(dtype).max
    return torch.from_numpy(np.asarray(array, dtype=np.float64)).clamp(-limit, limit).to(dtype)


def log_uniform(random, low, high):
    return float(np.exp(random.uniform(np.log(low), np.log(high))))


def whole(random, low, high):
    return min(high, int(log_uniform(random, low, high + 1)))


def draw_shape(random):
    kind = str(random.choice(["wild", "ordinary", "tall", "tiny", "vocabulary"], p=[0.5, 0.25, 0.1, 0.1, 0.05]))
    factor = LARGE if random.random() < 0.02 else 1
    while True:
        if kind == "wild":
            n, d, k = (whole(random, 1, MOST[axis]) for axis in "ndk")
            n, d = (1 if random.random() < 0.05 else axis for axis in (n, d))
            k = int(random.integers(1, 4)) if random.random() < 0.08 else k
        elif kind == "ordinary":
            n, d, k = whole(random, 8, 256), whole(random, 4, 128), whole(random, 2, 100)
        elif kind == "tall":
            n, d, k = whole(random, 1024, MOST["n"]), whole(random, 1, 128), whole(random, 2, 64)
        elif kind == "tiny":
            n, d, k = (int(axis) for axis in random.integers(1, 5, 3))
        else:
            n, d, k = whole(random, 1, 4), whole(random, 1, 8), int(random.choice(VOCABULARIES))
        if n * d * k <= factor * WORK and max(n * d, n * k, k * d) <= factor * NUMBERS:
            return n, d, k, kind


def draw_input(random, n, d):
    kind = str(random.choice(
        ["normal", "relu", "one-hot", "pixels", "alike", "repeated", "heavy", "constant", "tiny", "positive"],
        p=[0.4, 0.13, 0.05, 0.08, 0.06, 0.06, 0.08, 0.03, 0.03, 0.08],
    ))  # fmt: skip
    x = random.standard_normal((n, d))
    match kind:
        case "relu":
            x = np.maximum(x, 0)
        case "one-hot":
            x = np.eye(d)[random.integers(d, size=n)]
        case "pixels":
            x = np.floor(random.random((n, d)) * 256) * (random.random((n, d)) < 0.5)
        case "alike":
            x = np.repeat(x[:1], n, 0)
        case "repeated":
            x = x[random.integers(min(n, 5), size=n)]
        case "heavy":
            x = random.standard_t(2, (n, d))
        case "constant":
            x = np.full((n, d), log_uniform(random, 1e-2, 1e2))
        case "tiny":
            x *= log_uniform(random, 1e-30, 1e-4)
        case "positive":
            x = np.abs(x) + random.choice([0.0, 1.0, 10.0])
    return x, kind


def draw_layer(random, x, k):
    n, d = x.shape
    kind = str(random.choice(
        ["normal", "heavy", "constant", "zero", "equal-rows", "rank-one", "few-classes"],
        p=[0.66, 0.1, 0.05, 0.02, 0.05, 0.06, 0.06],
    ))  # fmt: skip
    weight = random.standard_normal((k, d))
    match kind:
        case "heavy":
            weight = random.standard_t(2, (k, d))
        case "constant":
            weight = np.ones((k, d))
        case "zero":
            weight *= 0
        case "equal-rows":
            weight = np.repeat(weight[:1], k, 0)
        case "rank-one":
            weight = np.outer(random.standard_normal(k), random.standard_normal(d))
        case "few-classes":
            weight[random.random(k) < 0.9] *= 1e-3
    # The scale of the logits: half of them as in a network, half anywhere.
    scale = log_uniform(random, 0.1, 20) if random.random() < 0.5 else log_uniform(random, 1e-6, 1e4)
    norm = np.sqrt(np.mean(np.square(x)) * d) or 1.0
    weight *= scale / norm

    bias_kind = str(random.choice(
        ["none", "normal", "zero", "constant-1e5", "varying-1e5", "mask", "prior"],
        p=[0.3, 0.42, 0.08, 0.05, 0.05, 0.05, 0.05],
    ))  # fmt: skip
    match bias_kind:
        case "none":
            bias = None
        case "normal":
            bias = random.standard_normal(k) * scale * random.choice([0.1, 1.0])
        case "zero":
            bias = np.zeros(k)
        case "constant-1e5":
            bias = np.full(k, 1e5)
        case "varying-1e5":
            bias = 1e5 + random.standard_normal(k)
        case "mask":
            bias = np.where(random.random(k) < 0.3, -1e4, random.standard_normal(k))
        case "prior":
            bias = -np.log(np.arange(1.0, k + 1))
    return weight, bias, kind, bias_kind, scale


def draw_target(random, x, weight, bias):
    """Returns indices or probabilities. "fitted" is a net of loss about 0, "opposed" one that is always wrong."""
    n, k = x.shape[0], weight.shape[0]
    kind = str(random.choice(
        ["uniform", "fitted", "nearly-fitted", "opposed", "one-class", "frequent"]
        + ["soft", "soft-one-hot", "soft-sparse"],
        p=[0.45, 0.13, 0.1, 0.05, 0.04, 0.06, 0.09, 0.03, 0.05],
    ))  # fmt: skip
    uniform = random.integers(k, size=n)
    if "fitted" in kind or kind == "opposed":
        z = x.double() @ weight.double().T
        z = (z if bias is None else z + bias.double()).numpy()
        index = z.argmin(1) if kind == "opposed" else z.argmax(1)
        if kind == "nearly-fitted":
            index = np.where(random.random(n) < 0.1, uniform, index)
    elif kind == "one-class":
        index = np.full(n, random.integers(k))
    elif kind == "frequent":
        index = np.minimum(random.zipf(1.5, n), k) - 1
    elif kind.startswith("soft"):
        if kind == "soft-one-hot":
            rows = np.zeros((n, k))
            rows[np.arange(n), uniform] = 1
        else:
            spread = np.exp(random.standard_normal((n, k)) * (2 if kind == "soft" else 20))
            rows = spread / spread.sum(1, keepdims=True)
        return torch.from_numpy(rows).to(x.dtype), kind
    else:
        index = uniform
    return torch.from_numpy(index.astype(np.int64)), kind


def draw_options(random, problem):
    n, _, k = problem.shape
    problem.reduction = "sum" if random.random() < 0.3 else "mean"
    problem.smoothing = float(random.choice(
        [0.0, 0.1, 0.01, 1.0, round(float(random.random()), 3)], p=[0.62, 0.18, 0.06, 0.04, 0.1]
    ))  # fmt: skip
    weights = "none"
    if random.random() < 0.3:
        decades = random.choice([0, 1, 2, 3])
        weight = 10.0 ** random.uniform(-decades / 2, decades / 2, k)
        weights = f"{decades} decades"
        if random.random() < 0.15 and k > 1:
            weight[random.integers(k)] = 0
            weights += ", one zero"
    elif random.random() < 0.04:
        weight = np.full(k, 2.0**15 if problem.dtype == torch.float16 else 2.0**16)
        weights = "loss scale"
        problem.reduction = "sum"
    if weights != "none":
        problem.class_weight = clamped(weight, problem.dtype)
    ignored = "none"
    if not problem.soft and random.random() < 0.2:
        ignored = str(random.choice(["some", "many", "all but one"], p=[0.6, 0.25, 0.15]))
        share = {"some": 0.2, "many": 0.9, "all but one": 1.0}[ignored]
        problem.ignore_index = int(random.choice([-100, -1, 0]))
        rows = torch.from_numpy(random.random(n) < share)
        rows[random.integers(n)] = False
        problem.target[rows] = problem.ignore_index
    problem.recipe |= {"class weights": weights, "ignored": ignored}
