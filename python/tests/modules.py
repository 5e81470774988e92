"""Twelve small models, and bugs that can be put into the backward pass of any of their layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += x
        return self.relu(out)


class Attention(nn.Module):
    """Attention written by hand; only its projections are layers."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, length, width = x.shape
        parts = self.qkv(x).view(n, length, 3, self.heads, width // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)
        weights = torch.softmax(q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5, -1)
        return self.out((weights @ v).transpose(1, 2).reshape(n, length, width))


class Pooled(nn.Module):
    """An attention layer of torch, with a norm and a mean over the positions."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4)
        self.attention = nn.MultiheadAttention(4, 2, dropout=0.2, batch_first=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        attended, _ = self.attention(y, y, y)
        return self.head((x + attended).mean(1))


class Bag(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 4, padding_idx=0)
        self.head = nn.Linear(4, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.embedding(tokens).mean(1))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(2, 2, num_layers=2, dropout=0.3, batch_first=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        out, (_, cell) = self.lstm(x)
        return self.head(torch.cat([out[:, -1], cell[-1]], 1))


class Loop(nn.Module):
    """One layer, called several times."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(3, 4)
        self.step = nn.Linear(4, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.enter(x)
        for _ in range(3):
            h = h + torch.tanh(self.step(h))
        return self.head(h)


class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return 2 * x * grad


class Custom(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.scale = nn.Parameter(torch.ones(4))
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.scale * Square.apply(self.first(x)))


class Branch(nn.Module):
    """A forward that depends on its data."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.one = nn.Linear(4, 3)
        self.other = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.first(x))
        return self.one(h) if h.sum() > 0 else self.other(h)


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(4, 2, 4, dropout=0.1, batch_first=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x).mean(1))


@dataclass(frozen=True)
class Model:
    """How to make a model, the shape of its input, and a layer for each bug."""

    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    layers: tuple[str, str, str]
    tokens: bool = False


MODELS = {
    "mlp": Model(
        lambda: nn.Sequential(
            nn.Linear(3, 5), nn.ReLU(inplace=True), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)
        ),
        (5, 3),
        ("2", "3", "4"),
    ),
    "mlp-norm": Model(
        lambda: nn.Sequential(
            nn.Linear(3, 6), nn.LayerNorm(6), nn.GELU(), nn.Dropout(0.3), nn.Linear(6, 3)
        ),
        (5, 3),
        ("1", "2", "0"),
    ),
    "cnn": Model(
        lambda: nn.Sequential(
            nn.Conv2d(1, 2, 3, padding=1),
            Residual(2),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(8, 3),
        ),
        (4, 1, 4, 4),
        ("1.bn1", "1.conv2", "2"),
    ),
    "group-norm": Model(
        lambda: nn.Sequential(
            nn.Conv2d(1, 4, 3),
            nn.GroupNorm(2, 4),
            nn.SiLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.ReLU(inplace=True),
            nn.Linear(4, 3),
        ),
        (3, 1, 4, 4),
        ("1", "3", "0"),
    ),
    "attention": Model(
        lambda: nn.Sequential(Attention(4, 2), nn.Flatten(), nn.Linear(12, 3)),
        (3, 3, 4),
        ("0", "0.qkv", "0.out"),
    ),
    "multihead": Model(Pooled, (3, 3, 4), ("attention", "norm", "head")),
    "encoder": Model(Encoder, (2, 3, 4), ("layer.norm1", "layer.self_attn", "layer")),
    "embedding": Model(Bag, (4, 5), ("embedding", "head", "embedding"), tokens=True),
    "lstm": Model(Recurrent, (3, 3, 2), ("lstm", "head", "lstm")),
    "loop": Model(Loop, (4, 3), ("step", "enter", "step")),
    "custom": Model(Custom, (4, 3), ("first", "head", "")),
    "branch": Model(Branch, (4, 3), ("first", "other", "first")),
}


class Wrong(torch.autograd.Function):
    """The identity, with a backward pass that has a bug."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, bug: str) -> Tensor:
        ctx.bug = bug
        return x.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        grad = grad.clone()
        if ctx.bug == "scaled":
            grad *= 1.01
        elif ctx.bug == "sign of a row":
            grad[1] *= -1
        else:
            grad[..., : (grad.shape[-1] + 1) // 2] = 0
        return grad, None


BUGS = ("scaled", "sign of a row", "zero block")


def put(bug: str, layer: nn.Module) -> None:
    """Puts a bug into the backward pass of a layer's first output."""
    kind = type(layer)

    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        output = kind.forward(self, *args, **kwargs)
        if isinstance(output, tuple):
            return Wrong.apply(output[0], bug), *output[1:]
        return Wrong.apply(output, bug)

    layer.__class__ = type(f"Wrong{kind.__name__}", (kind,), {"forward": forward})


def problem(
    name: str, train: bool, dtype: torch.dtype = torch.float32, seed: int = 0
) -> tuple[nn.Module, Tensor, Tensor]:
    """Returns a model, its input and the target of a cross-entropy."""
    torch.manual_seed(seed)
    model = MODELS[name]
    if model.tokens:
        x = torch.randint(0, 7, model.shape)
    else:
        x = torch.randn(model.shape).to(dtype).requires_grad_()
    return model.make().to(dtype).train(train), x, torch.randint(0, 3, (model.shape[0],))


def loss_of(model: nn.Module, x: Tensor, target: Tensor) -> Tensor:
    return functional.cross_entropy(model(x), target)
