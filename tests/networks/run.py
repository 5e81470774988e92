#!/usr/bin/env python3
"""Gives right and wrong gradients of random networks to gradprobe.

  run.py --count 1000                 right gradients of 1,000 networks; exit code 1 if a tensor fails
  run.py --count 500 --faults 1e-3    also one to three wrong layers in each; exit code 1 if another is accused, or
                                      if fewer than 98 % are named

Two runs with the same seed make the same arrays. Requires: pip install torch numpy safetensors
"""

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1"}

import numpy as np  # noqa: E402
import torch  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from nets import ACTIVATIONS, DTYPES, Net, Slip, forgotten_derivative, forgotten_mean, transposed_weight  # noqa: E402

KINDS = ("plain", "spike", "trained")
BATCH = 20  # files in one call of gradprobe; chosen
NAMED = 0.98  # share of the wrong layers that must be named


def finite(tensors):
    return all(value.isfinite().all() for value in tensors.values() if value.is_floating_point())


def draw_faults(net, size, rng):
    """Returns one to three faults, by the node or the parameter that they are in."""
    grads, values = net.gradients()
    candidates = []
    for node in net.nodes:
        name = node["name"]
        width = values[node["inputs"][0]].shape[1]
        column = int(rng.integers(width))
        change = {
            "factor": lambda g: g * (1 + size),
            "column": lambda g, c=column: torch.cat([g[:, :c], g[:, c : c + 1] * (1 + 20 * size), g[:, c + 1 :]], 1),
        }
        candidates += [(name, change[kind]) for kind in change]
        slip = slip_of(net, node)
        if slip is not None:
            candidates += [(name, Slip(slip))] * len(change)
        for key in ("weight", "bias"):
            if f"{name}.{key}" in net.trainable():
                candidates.append((f"{name}.{key}", lambda g: g * (1 + size)))
                candidates.append((f"{name}.{key}", zeroed(rng)))
    count = int(rng.integers(1, 4))
    return dict(candidates[place] for place in rng.permutation(len(candidates))[:count])


def slip_of(net, node):
    """Returns a mistake that people make in the backward pass of this layer, if there is one."""
    op, weight = node["op"], net.parameters.get(f"{node['name']}.weight")
    if op in ACTIVATIONS:
        return forgotten_derivative
    if op == "layer_norm":
        return forgotten_mean
    if op == "linear" and weight.shape[0] == weight.shape[1] > 1:
        return transposed_weight
    return None


def zeroed(rng):
    row = float(rng.random())

    def change(g):
        g = g.clone()
        g[int(row * len(g))] = 0
        return g

    return change


def effective(net, faults, grads):
    """Returns the nodes whose fault changes a gradient that the file shows, given what they were handed."""
    named = set()
    for key, change in faults.items():
        node = key.split(".")[0]
        right, _ = net.gradients({k: v for k, v in faults.items() if k != key})
        both = grads[key] if "." in key else grads[next(n for n in net.nodes if n["name"] == key)["inputs"][0]]
        alone = right[key] if "." in key else right[next(n for n in net.nodes if n["name"] == key)["inputs"][0]]
        if not torch.equal(both, alone):
            named.add(node)
    return named


def run_batch(task):
    options, start, end = task
    torch.set_num_threads(1)
    counts = Counter()
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        expected = {}
        for number in range(start, end):
            dtype = list(DTYPES)[number % 4] if options.arithmetic == "plain" else "f32"
            kind = KINDS[number // 4 % 3]
            rng = np.random.default_rng([options.seed, number])
            faults = {}
            try:
                net = Net(options.seed * 10_000_000 + number, dtype, kind, options.arithmetic)
                if options.faults:
                    size = options.faults if dtype in ("f32", "f64") else 0.2
                    faults = draw_faults(net, size, rng)
                grads, values = net.gradients(faults)
                named = effective(net, faults, grads)
            except RuntimeError:  # binary_cross_entropy of NaN
                counts["not finite"] += 1
                continue
            kept = grads
            if options.hidden == "none":
                kept = {k: v for k, v in grads.items() if k == "input" or "." in k}
            tensors = net.tensors(kept)
            if options.values:
                tensors |= {f"value.{k}": v.detach() for k, v in values.items() if k != "input"}
            if not finite(tensors):
                counts["not finite"] += 1
                continue
            path = Path(folder) / f"{number}.safetensors"
            save_file(tensors, path, {"model": json.dumps(net.model())})
            expected[str(path)] = (number, dtype, kind, named, net)
        if not expected:
            return counts, failed
        report = Path(folder) / "report.json"
        command = [options.gradprobe, "check", *expected, "--device", "cpu", "--quiet", "--json", str(report)]
        done = subprocess.run(command, capture_output=True, text=True)
        if not report.exists():
            return Counter({"no report": 1}), [(start, done.stderr[-2000:])]
        files = json.loads(report.read_text())
        files = files.get("files", [files])
        for file in files:
            number, dtype, kind, named, net = expected[file.get("file") or next(iter(expected))]
            if "error" in file:
                counts[dtype, "error"] += 1
                failed.append((number, dtype, kind, file["error"]))
                continue
            document = file.get("report", file)
            wrong = {}
            for check in document["checks"]:
                counts[dtype, check["verdict"]] += 1
                if check["verdict"] == "fail":
                    worst = check["worst"][0]
                    ratio = abs(worst["analytic"] - worst["numeric"]) / max(worst["tolerance"], 1e-300)
                    wrong.setdefault(check["layer"], []).append((check["tensor"], round(ratio, 2)))
                elif check["verdict"] == "pass":
                    detected = 1e-4 if dtype in ("f32", "f64") else 0.2
                    counts[dtype, "sharp"] += float(check["detectable"]) <= detected
            counts[dtype, "faults"] += len(named)
            counts[dtype, "named"] += len(named & set(wrong))
            accused = set(wrong) - named
            counts[dtype, "others accused"] += len(accused)
            if accused:
                ops = {node["name"]: node["op"] for node in net.nodes}
                failed.append((number, dtype, kind, net.loss, {k: (ops.get(k), wrong[k]) for k in accused}))
            if named - set(wrong):
                ops = {node["name"]: node["op"] for node in net.nodes}
                failed.append((number, dtype, kind, "missed", {k: ops[k] for k in named - set(wrong)}))
            if options.keep and (accused or named - set(wrong)):
                Path(options.keep).mkdir(exist_ok=True)
                os.rename(file.get("file") or next(iter(expected)), Path(options.keep) / f"{number}.safetensors")
    return counts, failed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--gradprobe", default="target/release/gradprobe")
    parser.add_argument("--count", type=int, default=400, help="networks")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", type=float, default=0, help="size of the errors of wrong layers in f32 and f64")
    parser.add_argument("--arithmetic", choices=("plain", "autocast", "tf32"), default="plain", help="of matrix products")
    parser.add_argument("--hidden", choices=("all", "none"), default="all", help="gradients of hidden values in the file")
    parser.add_argument("--values", action="store_true", help="the file holds the values too")
    parser.add_argument("--keep", help="folder for files with a wrong result")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    tasks = [(options, start, min(start + BATCH, options.count)) for start in range(0, options.count, BATCH)]
    counts, failed = Counter(), []
    with multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
        for more, cases in pool.imap_unordered(run_batch, tasks):
            counts.update(more)
            failed += cases
    names = ("pass", "inconclusive", "fail", "sharp", "faults", "named", "others accused", "error")
    print("| dtype |", " | ".join(names), "|")
    for dtype in DTYPES:
        print(f"| {dtype} |", " | ".join(str(counts[dtype, name]) for name in names), "|")
    print({k: v for k, v in counts.items() if isinstance(k, str)})
    for case in failed[:40]:
        print(case)
    of_all = {name: sum(counts[dtype, name] for dtype in DTYPES) for name in names}
    is_named = of_all["named"] >= NAMED * of_all["faults"]
    is_right = of_all["others accused"] + of_all["error"] + counts["no report"] == 0
    sys.exit(0 if is_named and is_right and of_all["pass"] else 1)


if __name__ == "__main__":
    main()
