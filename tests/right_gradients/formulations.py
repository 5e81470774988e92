"""Computes the four gradients of a problem in the ways that people compute them.

Each formulation is a function of a problem and a random generator that returns {"grad", "grad_logits", "grad_weight",
"grad_bias"} and a dict of what it drew. All are correct: they differ in where they round.
"""
import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch.nn import functional as F

FORMULATIONS = {}
HALF, ALL = ("bf16", "f16"), ("f64", "f32", "bf16", "f16")


class Underflow(Exception):
    """A formulation loses digits in subnormal numbers, so that its gradient is not right."""


def formulation(share, dtypes=ALL):
    """Registers a formulation, drawn `share` times as often as one of share 1, for problems in `dtypes`."""

    def register(function):
        FORMULATIONS[function.__name__] = (function, share, dtypes)
        return function

    return register


def draw(problem, random, families=None):
    """Returns the name of a formulation that suits the problem."""
    dtype = problem.recipe["dtype"]
    suited = [name for name, (_, _, dtypes) in FORMULATIONS.items() if dtype in dtypes]
    if families:
        suited = [name for name in suited if name in families] or suited
    shares = np.array([FORMULATIONS[name][1] for name in suited], dtype=float)
    return str(random.choice(suited, p=shares / shares.sum()))


# By autograd ----------------------------------------------------------------------------------------------------------


def layer_of(problem):
    return problem.x, problem.weight, problem.bias


def leaves(problem):
    return [None if leaf is None else leaf.clone().requires_grad_() for leaf in layer_of(problem)]


def named(x, z, weight, bias):
    gradients = {"grad": x, "grad_logits": z, "grad_weight": weight, "grad_bias": bias}
    return {name: gradient for name, gradient in gradients.items() if gradient is not None}


def by_autograd(problem, loss):
    x, weight, bias = leaves(problem)
    z = F.linear(x, weight, bias)
    z.retain_grad()
    loss(z).backward()
    return named(x.grad, z.grad, weight.grad, None if bias is None else bias.grad)


def torch_loss(problem, z, target=None, reduction=None):
    return F.cross_entropy(
        z,
        problem.target if target is None else target,
        None if problem.class_weight is None else problem.class_weight.to(z.dtype),
        ignore_index=problem.ignore_index,
        reduction=reduction or problem.reduction,
        label_smoothing=problem.smoothing,
    )


def loss_of_log_p(problem, log_p):
    if problem.soft or problem.smoothing:
        r, _, normalizer = problem.loss_terms(log_p.dtype)
        return -(r * log_p).sum() / normalizer
    return F.nll_loss(
        log_p, problem.target, problem.class_weight, ignore_index=problem.ignore_index, reduction=problem.reduction
    )


@formulation(5)
def cross_entropy(problem, random):
    return by_autograd(problem, lambda z: torch_loss(problem, z)), {}


@formulation(2, HALF)
def cross_entropy_of_float_logits(problem, random):
    def loss(z):
        if problem.soft:
            return torch_loss(problem, z.float(), problem.target.float())
        return torch_loss(problem, z.float())

    return by_autograd(problem, loss), {}


@formulation(2)
def log_softmax_nll(problem, random):
    return by_autograd(problem, lambda z: loss_of_log_p(problem, F.log_softmax(z, 1))), {}


@formulation(2)
def logsumexp(problem, random):
    def loss(z):
        lse = torch.logsumexp(z, 1)
        r, total, normalizer = problem.loss_terms(z.dtype)
        if problem.soft or problem.smoothing:
            return (total[:, 0] * lse - (r * z).sum(1)).sum() / normalizer
        index = torch.where(problem.target == problem.ignore_index, 0, problem.target)
        return (total[:, 0] * (lse - z.gather(1, index[:, None])[:, 0])).sum() / normalizer

    return by_autograd(problem, loss), {}


@formulation(1.5)
def log_of_softmax(problem, random):
    """log(softmax(z)) in two steps. The maximum is subtracted outside of the graph, or not at all."""
    form = str(random.choice(["max detached", "plain exp", "F.softmax"]))

    def loss(z):
        if form == "F.softmax":
            return loss_of_exp(problem, F.softmax(z, 1), 1)
        e = torch.exp(z - z.amax(1, keepdim=True).detach() if form == "max detached" else z)
        return loss_of_exp(problem, e, e.sum(1, keepdim=True))

    return by_autograd(problem, loss), {"form": form}


@formulation(0.5)
def max_in_the_graph(problem, random):
    """The same with the maximum in the graph: the rounding errors of all classes meet at the largest logit."""

    def loss(z):
        e = torch.exp(z - z.amax(1, keepdim=True))
        return loss_of_exp(problem, e, e.sum(1, keepdim=True))

    return by_autograd(problem, loss), {}


def loss_of_exp(problem, e, total):
    """Returns the loss of p = e/total, unless a term e, e/total or e/total² that it needs is subnormal."""
    p = e / total
    needed = problem.loss_terms(torch.float64)[0] > 0
    if any((term[needed] < torch.finfo(p.dtype).tiny).any() for term in (e, p, p / total)):
        raise Underflow
    return loss_of_log_p(problem, torch.log(p))


@formulation(0.5)
def loss_scaled(problem, random):
    """Automatic mixed precision's loss scale: the loss times a power of two, the gradients divided by it."""
    scale = 2.0 ** int(random.integers(1, 11))
    gradients = by_autograd(problem, lambda z: torch_loss(problem, z) * scale)
    return {name: gradient / scale for name, gradient in gradients.items()}, {"scale": scale}


@formulation(2)
def micro_batches(problem, random):
    """Sums the gradients of parts of the batch, in the dtype as torch's .grad does, or in f32."""
    sums = torch.float32 if problem.half and random.random() < 0.5 else problem.dtype
    # In half precision, many parts summed in the dtype lose digits: that is a bug, not a formulation.
    parts = int(random.integers(2, 9 if sums.itemsize == 2 else 65))
    _, _, normalizer = problem.loss_terms(torch.float64)
    x, *parameters = leaves(problem)
    totals = [None if leaf is None else torch.zeros_like(leaf, dtype=sums) for leaf in parameters]
    logits = []
    for rows in torch.arange(problem.shape[0]).chunk(parts):
        z = F.linear(x[rows], *parameters)
        z.retain_grad()
        part = torch_loss(problem, z, problem.target[rows], "sum") / normalizer.to(z.dtype)
        part.backward()
        logits.append(z.grad)
        for leaf, total in zip(parameters, totals):
            if leaf is not None:
                total += leaf.grad
                leaf.grad = None
    weight, bias = (None if total is None else total.detach().to(problem.dtype) for total in totals)
    return named(x.grad, torch.cat(logits), weight, bias), {"parts": parts, "sums": str(sums)[6:]}


# Backward passes written by hand --------------------------------------------------------------------------------------


def accumulator(problem, random):
    """Returns the dtype in which a kernel computes: f32 for half precision, seldom the dtype itself."""
    if problem.half and random.random() < 0.75:
        return torch.float32
    return problem.dtype


def by_hand(problem, random, softmax):
    work = accumulator(problem, random)
    # Fused kernels do not store the logits: they are not rounded to half precision.
    fused = problem.half and work == torch.float32 and bool(random.random() < 0.4)
    layer = [None if leaf is None else leaf.to(work if fused else leaf.dtype) for leaf in layer_of(problem)]
    grad_z = logits_gradient(problem, softmax(F.linear(*layer).to(work)), work)
    weight = grad_z.T @ problem.x
    bias = None if problem.bias is None else grad_z.sum(0)
    return named(grad_z @ problem.weight, grad_z, weight, bias), {"work": str(work)[6:], "fused": fused}


def logits_gradient(problem, p, work):
    """Returns (R·p - r) / Z."""
    r, total, normalizer = problem.loss_terms(work)
    return ((total * p - r) / normalizer).to(problem.dtype)


@formulation(2.5)
def exp_minus_lse(problem, random):
    """The backward pass of flash attention and cut cross-entropy: softmax as exp(z - logsumexp)."""
    return by_hand(problem, random, lambda z: torch.exp(z - torch.logsumexp(z, 1, keepdim=True)))


@formulation(1)
def softmax_by_hand(problem, random):
    def softmax(z):
        e = torch.exp(z - z.amax(1, keepdim=True))
        return e / e.sum(1, keepdim=True)

    return by_hand(problem, random, softmax)


@formulation(1.5)
def online_softmax(problem, random):
    """Running maximum and sum over blocks of classes."""
    block = whole_block(problem, random)
    by_lse = bool(random.random() < 0.5)

    def softmax(z):
        top = torch.full((z.shape[0], 1), -torch.inf, dtype=z.dtype)
        total = torch.zeros_like(top)
        for part in z.split(block, 1):
            new = torch.maximum(top, part.amax(1, keepdim=True))
            total = total * torch.exp(top - new) + torch.exp(part - new).sum(1, keepdim=True)
            top = new
        return torch.exp(z - (top + torch.log(total))) if by_lse else torch.exp(z - top) / total

    gradients, drawn = by_hand(problem, random, softmax)
    return gradients, drawn | {"block": block, "lse": by_lse}


def whole_block(problem, random):
    """Returns a block of classes, at most 64 blocks."""
    k = problem.shape[2]
    return max(-(-k // 64), int(random.integers(1, k + 1)))


@formulation(1.5)
def sharded_softmax(problem, random):
    """Vocabulary parallel: each rank has some of the classes; maxima and sums are reduced over the ranks."""
    ranks = int(random.choice([2, 4, 8]))

    def softmax(z):
        shards = z.chunk(ranks, 1)
        top = torch.stack([shard.amax(1) for shard in shards]).amax(0)[:, None]
        parts = [torch.exp(shard - top) for shard in shards]
        total = torch.stack([part.sum(1) for part in parts]).sum(0)[:, None]
        return torch.cat([part / total for part in parts], 1)

    gradients, drawn = by_hand(problem, random, softmax)
    return gradients, drawn | {"ranks": ranks}


@formulation(2)
def chunked(problem, random):
    """Liger: chunks of rows, with the gradient of weight and bias summed over the chunks."""
    work = torch.float32 if problem.half else problem.dtype
    wide = bool(random.random() < 0.5) or not problem.half
    chunks = int(random.integers(2, 65 if wide else 9))
    r, total, normalizer = problem.loss_terms(work)
    sums = torch.float32 if wide and problem.half else problem.dtype
    weight = torch.zeros(problem.weight.shape, dtype=sums)
    bias = torch.zeros(problem.weight.shape[0], dtype=sums)
    inputs, logits = [], []
    for rows in torch.arange(problem.shape[0]).chunk(chunks):
        z = F.linear(problem.x[rows], problem.weight, problem.bias).to(work)
        p = torch.softmax(z, 1)
        grad_z = ((total[rows] * p - r[rows]) / normalizer).to(problem.dtype)
        logits.append(grad_z)
        inputs.append(grad_z @ problem.weight)
        weight += (grad_z.to(sums).T @ problem.x[rows].to(sums)) if wide else grad_z.T @ problem.x[rows]
        bias += grad_z.to(sums).sum(0)
    weight, bias = weight.to(problem.dtype), bias.to(problem.dtype)
    gradients = named(torch.cat(inputs), torch.cat(logits), weight, None if problem.bias is None else bias)
    return gradients, {"chunks": chunks, "sums": str(sums)[6:]}


@formulation(2)
def split_k(problem, random):
    """Matrix products as sums of partial products, in f32 or in the dtype."""
    wide = bool(random.random() < 0.5)
    parts = int(random.integers(2, 33 if wide else 9))
    sums = torch.float32 if wide and problem.half else problem.dtype

    def product(a, b):
        pieces = zip(a.chunk(parts, 1), b.chunk(parts, 0))
        total = None
        for left, right in pieces:
            piece = left.to(sums) @ right.to(sums)
            total = piece if total is None else total + piece
        return total.to(problem.dtype)

    z = product(problem.x, problem.weight.T)
    z = z if problem.bias is None else z + problem.bias
    work = torch.float32 if problem.half else problem.dtype
    grad_z = logits_gradient(problem, torch.softmax(z.to(work), 1), work)
    bias = None if problem.bias is None else grad_z.sum(0)
    gradients = named(product(grad_z, problem.weight), grad_z, product(grad_z.T, problem.x), bias)
    return gradients, {"parts": parts, "sums": str(sums)[6:]}


# NumPy and JAX --------------------------------------------------------------------------------------------------------


@formulation(2, ("f64", "f32"))  # NumPy sums f16 in f16, and loses digits
def numpy_cs231n(problem, random):
    x, weight = problem.x.numpy(), problem.weight.numpy()
    r, total, normalizer = (term.numpy() for term in problem.loss_terms(problem.dtype))
    scores = x.dot(weight.T)
    if problem.bias is not None:
        scores = scores + problem.bias.numpy()
    scores = scores - scores.max(1, keepdims=True)
    p = np.exp(scores)
    p = p / p.sum(1, keepdims=True)
    grad_z = (total * p - r) / normalizer
    bias = None if problem.bias is None else grad_z.sum(0)
    gradients = named(grad_z.dot(weight), grad_z, grad_z.T.dot(x), bias)
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in gradients.items()}, {}


# Classes up to which XLA (jaxlib 0.10.2, CPU) compiles f64 rightly. Measured: at n = 2 to 6 and d = 3, 5 or 6 the
# compiled z - max(z) of z = x @ weight.T is off by up to 10 with 20,000 classes, and exact with 8,000.
XLA_CLASSES = 8000


@formulation(1)
def jax_grad(problem, random):
    def array(tensor):
        wide = tensor.double().numpy() if tensor.is_floating_point() else tensor.numpy()
        return jnp.asarray(wide, dtype=str(tensor.dtype)[6:])

    n, _, k = problem.shape
    form = str(random.choice(["log_softmax", "logsumexp", "one-hot"]))
    plain = not (problem.soft or problem.smoothing)
    work = torch.float32 if problem.half else problem.dtype
    terms = [array(term) for term in problem.loss_terms(work if form == "one-hot" else problem.dtype)]
    index = None if problem.soft else array(torch.where(problem.target == problem.ignore_index, 0, problem.target))

    def loss(x, weight, bias, shift, r, total, normalizer, index):
        z = x @ weight.T + bias + shift
        if form == "logsumexp":
            lse = jax.scipy.special.logsumexp(z, axis=1)
            if plain:
                own = jnp.take_along_axis(z, index[:, None], 1)[:, 0]
                return jnp.sum(total[:, 0] * (lse - own)) / normalizer
            return jnp.sum(total[:, 0] * lse - jnp.sum(r * z, 1)) / normalizer
        log_p = jax.nn.log_softmax(z)
        if form == "log_softmax" and plain:
            own = jnp.take_along_axis(log_p, index[:, None], 1)[:, 0]
            return -jnp.sum(total[:, 0] * own) / normalizer
        return -jnp.sum(r * log_p) / normalizer

    compiled = bool(random.random() < 0.9) and not (problem.dtype == torch.float64 and k > XLA_CLASSES)
    gradient = jax.grad(loss, argnums=(0, 1, 2, 3))
    gradient = jax.jit(gradient) if compiled else gradient
    bias = torch.zeros(k, dtype=problem.dtype) if problem.bias is None else problem.bias
    shift = torch.zeros(n, k, dtype=problem.dtype)  # has the gradient of the logits
    results = gradient(*map(array, (problem.x, problem.weight, bias, shift)), *terms, index)
    x, weight, bias, z = (torch.from_numpy(np.array(g, dtype=np.float64)).to(problem.dtype) for g in results)
    return named(x, z, weight, None if problem.bias is None else bias), {"form": form, "jit": compiled}


# With settings that the file must declare -----------------------------------------------------------------------------


@formulation(0.5, ("f32",))
def autocast(problem, random):
    x, weight, bias = leaves(problem)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        z = F.linear(x, weight, bias)
        z.retain_grad()
        loss = torch_loss(problem, z.float())
    loss.backward()
    gradients = named(x.grad, z.grad.float(), weight.grad, None if bias is None else bias.grad)
    return gradients, {"metadata": {"computed_in": "bf16"}}
