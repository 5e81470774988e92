#!/usr/bin/env python3
"""Writes data/: a small problem with correct gradients in each format, and a file for each kind of error; and
parts.in/: a case in two files, right and wrong.

Needs: pip install numpy safetensors
"""
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

DATA = Path(__file__).with_name("data")
SHAPES = {"n": 3, "d": 2, "k": 2}


def problem():
    x = np.array([[1.0, -2.0], [0.5, 0.25], [-1.5, 3.0]], dtype=np.float32)
    w = np.array([[0.5, -0.25], [1.0, 2.0]], dtype=np.float32)
    b = np.array([0.125, -0.5], dtype=np.float32)
    t = np.array([0, 1, 1], dtype=np.int64)
    z = x.astype(np.float64) @ w.T + b
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    p[np.arange(3), t] -= 1
    return {
        "input": x,
        "weight": w,
        "bias": b,
        "target": t,
        "grad": (p @ w / 3).astype(np.float32),
        "grad_logits": (p / 3).astype(np.float32),
    }


def save(name, metadata=None, without=(), **changed):
    tensors = {key: value for key, value in (problem() | changed).items() if key not in without}
    save_file(tensors, DATA / f"{name}.safetensors", metadata)


def with_value(name, index, value):
    array = problem()[name].copy()
    array[index] = value
    return {name: array}


def batch(labels=lambda t: t):
    """Returns 12 samples of 5 features and 3 classes, and the float64 gradient for `labels(target)`."""
    rng = np.random.default_rng(7)
    x, w, b = rng.normal(size=(12, 5)), rng.normal(size=(3, 5)), rng.normal(size=3)
    t = rng.integers(0, 3, size=12)
    z = x @ w.T + b
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    p[np.arange(12), labels(t)] -= 1
    return {"input": x, "weight": w, "bias": b, "target": t}, p @ w / 12


def save_wrong(name, gradient):
    tensors, _ = batch()
    save_file({**tensors, "grad": np.ascontiguousarray(gradient)}, DATA / f"wrong-{name}.safetensors")


def wrong_gradients():
    """Saves a gradient for each outcome of a diagnosis: sure, ambiguous, two causes, rows, unknown."""
    _, right = batch()
    _, shifted = batch(lambda t: (t + 1) % 3)
    save_wrong("sum", 12 * right)
    save_wrong("labels-and-passes", 10 * shifted)
    save_wrong("last-rows", right * (np.arange(12) < 9)[:, None])
    noise = np.random.default_rng(8).normal(size=right.shape)
    save_wrong("two-columns", right + noise * np.isin(np.arange(5), [1, 3]))


def gradients():
    """Returns the samples of batch() with the gradients of all four variables."""
    tensors, grad = batch()
    x, w, b, t = (tensors[name] for name in ["input", "weight", "bias", "target"])
    z = x @ w.T + b
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    p[np.arange(12), t] -= 1
    g = p / 12
    of_all = {"grad": grad, "grad_logits": g, "grad_weight": g.T @ x, "grad_bias": g.sum(0)}
    return {**tensors, **of_all, "logits": z}


def save_form(name, names, metadata=None, **changed):
    """Saves some of the arrays of gradients(), each in the form that a function in `changed` gives it."""
    tensors = {key: value for key, value in gradients().items() if key in names.split()}
    tensors |= {key: form(tensors[key]) if callable(form) else form for key, form in changed.items()}
    tensors = {key: np.ascontiguousarray(value) for key, value in tensors.items()}
    save_file(tensors, DATA / f"form-{name}.safetensors", metadata)


def with_wrong_entry(array, index):
    array = array.copy()
    array[index] += 1
    return array


def bfloat16(array):
    """Returns an array rounded to bfloat16 (half up), as float32."""
    return ((array.astype(np.float32).view(np.uint32) + 0x8000) & 0xFFFF0000).view(np.float32)


def forms():
    """Saves right and wrong gradients in forms that are no matrices."""
    rows, labels = (lambda a: a.reshape(3, 4, 5)), (lambda a: a.reshape(3, 4))
    layer = "input weight bias target grad"
    save_form("sequences", layer, input=rows, grad=rows, target=labels)
    wrong = {"grad": lambda a: with_wrong_entry(rows(a), (1, 2, 3))}
    save_form("sequences-wrong", layer, input=rows, target=labels, **wrong)
    save_form("sequences-labels", layer, input=rows, grad=rows, target=lambda a: a.reshape(4, 3))
    save_form("sequences-range", layer, input=rows, grad=rows, target=lambda a: with_wrong_entry(labels(a), (1, 2)) + 9)
    pixels = lambda a: a.reshape(2, 2, 3, 3).transpose(0, 3, 1, 2)
    save_form("pixels", "logits target grad_logits", logits=pixels, grad_logits=pixels, target=lambda a: a.reshape(2, 2, 3))
    wrong = {"grad_logits": lambda a: with_wrong_entry(pixels(a), (1, 2, 0, 1))}
    save_form("pixels-wrong", "logits target grad_logits", logits=pixels, target=lambda a: a.reshape(2, 2, 3), **wrong)
    save_form("logits", "logits target grad_logits")
    save_form("logits-grad", "logits target", grad=gradients()["grad_logits"])
    save_form("logits-more", "logits target grad_logits grad_weight")
    all_of_layer = layer + " grad_weight grad_bias"
    save_form("weight-dk", all_of_layer, weight=np.transpose, grad_weight=np.transpose)
    wrong = {"grad_weight": lambda a: with_wrong_entry(a.T, (4, 1))}
    save_form("weight-dk-wrong", all_of_layer, weight=np.transpose, **wrong)
    save_form("weight-dk-grad", all_of_layer, weight=np.transpose)
    save_form("bias-row", all_of_layer, bias=lambda a: a[None], grad_bias=lambda a: a[None])
    sample_weight = np.array([1, 0, -2, 0.5] * 3)
    upstream = 12 * sample_weight[:, None]
    of_sum = {"grad_logits": lambda a: a * upstream}
    save_form("sample-weight", "logits target grad_logits", sample_weight=sample_weight, **of_sum)
    of_mean = {"grad_logits": lambda a: a * sample_weight[:, None]}
    save_form("sample-weight-mean", "logits target grad_logits", {"reduction": "mean"}, sample_weight=sample_weight, **of_mean)
    save_form("sample-weight-shape", "logits target grad_logits", sample_weight=sample_weight[:5])
    save_form("normalizer", layer, {"normalizer": "48"}, grad=lambda a: a / 4)
    save_form("normalizer-zero", layer, {"normalizer": "0"})
    single = {name: lambda a: a.astype(np.float32) for name in ["input", "weight", "bias"]}
    save_form("autocast", layer, **single, grad=bfloat16)
    save_form("computed-in", layer, {"computed_in": "torch.bfloat16"}, **single, grad=bfloat16)
    save_form("computed-in-int8", layer, {"computed_in": "int8"})
    save_form("weight-layout-word", layer, {"weight_layout": "torch"})
    save_form("one-class", layer, weight=lambda a: a[:1], bias=lambda a: a[:1], target=lambda a: 0 * a, grad=lambda a: 0 * a)


def main():
    DATA.mkdir(exist_ok=True)
    wrong_gradients()
    forms()
    save("right", {"reduction": "mean"})
    save("no-grad", without=["grad", "grad_logits"])
    save("no-bias", without=["bias", "grad", "grad_logits"])
    np.savez(DATA / "right.npz", **problem())
    np.savez_compressed(DATA / "compressed.npz", **problem())
    for name, array in problem().items():
        np.save(DATA / f"{name}.npy", array)
    np.save(DATA / "input-fortran.npy", np.asfortranarray(problem()["input"]))
    np.save(DATA / "input-bigendian.npy", problem()["input"].astype(">f4"))
    np.save(DATA / "target-bool.npy", problem()["target"].astype(bool))
    np.save(DATA / "input-complex.npy", problem()["input"].astype(np.complex64))

    save("sum", {"reduction": "sum"}, without=["grad", "grad_logits"])
    tensors = {name: problem()[name] for name in ["input", "weight", "bias", "target"]}
    np.savez(DATA / "sum.npz", reduction="sum", ignore_index=-100, label_smoothing=0.0, **tensors)
    np.savez(DATA / "label-smoothing.npz", label_smoothing=0.1, **tensors)
    ignored = tensors | {"target": np.array([0, -1, 1])}
    save_file(ignored, DATA / "ignore-index.safetensors", {"ignore_index": "-1"})
    save_file(ignored | {"target": np.array([-1, -1, -1])}, DATA / "all-ignored.safetensors", {"ignore_index": "-1"})
    probabilities = np.array([[0.75, 0.25], [0.5, 0.5], [0.0, 1.0]], dtype=np.float32)
    save_file(tensors | {"target": probabilities}, DATA / "probabilities.safetensors")
    save_file(tensors | {"target": -probabilities}, DATA / "probabilities-negative.safetensors")
    save_file(tensors | {"class_weight": np.array([0.5, 2], dtype=np.float32)}, DATA / "class-weight.safetensors")
    save("misnamed", without=["grad", "grad_logits"], x_grad=problem()["grad"])
    save("reduction-none", {"reduction": "none"})
    save("label-smoothing-range", {"label_smoothing": "1.5"})
    save("label-smoothing-text", {"label_smoothing": "some"})
    save("class-weight-shape", class_weight=np.ones(3, dtype=np.float32))
    save("class-weight-negative", class_weight=np.array([1, -1], dtype=np.float32))
    save("input-rank", input=np.zeros(3, dtype=np.float32))
    save("weight-shape", weight=np.zeros((3, 5), dtype=np.float32))
    save("bias-shape", bias=np.zeros(3, dtype=np.float32))
    save("one-hot", target=np.eye(2, dtype=np.int64)[problem()["target"]])
    save("whole-numbers", target=problem()["target"].astype(np.float32)[:, None])
    save("hyphen", {"label-smoothing": "0.1", "Reduction": "mean"})
    save("misspelt", {"label_smooting": "0", "format": "pt", "epoch": "3"}, labels=problem()["target"])
    save("target-shape", target=np.zeros((3, 3), dtype=np.int64))
    save("target-float", target=np.array([0, 1, 0.5], dtype=np.float32))
    save("target-not-one-hot", target=np.array([[1, 0], [0, 2], [0, 1]]))
    save("target-from-one", target=problem()["target"] + 1)
    save("target-range", **with_value("target", 2, 12))
    save("target-negative", **with_value("target", 1, -7))
    save("grad-shape", grad=np.zeros((2, 3), dtype=np.float32))
    save("grad-dtype", grad=np.zeros((3, 2), dtype=np.int32))
    save("input-bool", input=np.zeros((3, 2), dtype=bool))
    save("input-nan", **with_value("input", (1, 0), np.nan))
    save("weight-inf", **with_value("weight", (0, 1), np.inf))
    save("bias-inf", **with_value("bias", 1, -np.inf))
    save("grad-nan", **with_value("grad", (2, 1), np.nan))
    save("missing", without=["weight"])
    save("empty", input=np.zeros((0, 2), dtype=np.float32), target=np.zeros(0, dtype=np.int64))

    right = (DATA / "right.safetensors").read_bytes()
    (DATA / "truncated.safetensors").write_bytes(right[:-5])
    (DATA / "lying-header.safetensors").write_bytes((2**40).to_bytes(8, "little") + right[8:])
    (DATA / "nothing.safetensors").write_bytes(b"")
    (DATA / "truncated.npz").write_bytes((DATA / "right.npz").read_bytes()[:-30])
    (DATA / "truncated.npy").write_bytes((DATA / "input.npy").read_bytes()[:-4])
    (DATA / "model.pt").write_bytes(b"not read at all")
    case_in_parts("right", 1)
    case_in_parts("wrong", 3)


def case_in_parts(name, factor):
    folder = Path(__file__).with_name("parts.in") / name
    folder.mkdir(parents=True, exist_ok=True)
    tensors, gradient = batch()
    logits = np.linalg.lstsq(tensors["weight"].T, gradient.T, rcond=None)[0].T
    shared = {"weight": tensors["weight"], "bias": tensors["bias"], "grad_weight": logits.T @ tensors["input"]}
    save_file({key: np.ascontiguousarray(value) for key, value in shared.items()}, folder / "layer.safetensors")
    for part in range(2):
        rows = slice(6 * part, 6 * part + 6)
        own = {"input": tensors["input"][rows], "target": tensors["target"][rows], "grad": factor * gradient[rows]}
        save_file({key: np.ascontiguousarray(value) for key, value in own.items()}, folder / f"step-{part}.safetensors")


if __name__ == "__main__":
    main()
