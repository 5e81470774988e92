#!/usr/bin/env python3
"""Gives right gradients to gradprobe and counts its verdicts: none may fail.

  run.py --count 100000                 100,000 right gradients; exit code 1 if one fails
  run.py --count 10000 --promise        also scales each that passes by 1 ± 1.05 times the error that the pass says it
                                        would have detected; exit code 1 if one still passes
  run.py --seed 1 --only 7 --keep DIR   makes problem 7 of seed 1 again, and keeps its file

Two runs with the same seed make the same arrays. Requires: pip install -r requirements.txt
"""
import argparse
import itertools
import json
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

# One thread a process: set before torch, NumPy and JAX are loaded.
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1"}
os.environ |= {"JAX_PLATFORMS": "cpu", "JAX_ENABLE_X64": "1"}

import jax  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

import formulations  # noqa: E402
import problems  # noqa: E402
import promise  # noqa: E402
import tables  # noqa: E402

warnings.simplefilter("ignore", RuntimeWarning)  # NumPy's overflows: such gradients are left out

BATCH = 40  # files in one call of gradprobe; chosen
NAMES = {"input": "grad", "logits": "grad_logits", "weight": "grad_weight", "bias": "grad_bias"}


def main():
    options = arguments()
    torch.set_num_threads(1)
    started = time.time()
    if options.only is not None:
        results = [check_batch(options, options.only, options.only + 1)]
    else:
        results = drawn(options)
    result = tables.merge(results)
    result["seconds"] = round(time.time() - started, 1)
    result["command"] = " ".join(["run.py", *sys.argv[1:]])
    if options.json:
        Path(options.json).write_text(json.dumps(result, indent=1))
    print(tables.render(result, options.promise))
    alarms = any(row["verdict"] == "fail" for row in result["rows"])
    broken = any(row["verdict"] != "fail" for row in result["promises"])
    sys.exit(1 if alarms or broken or result["errors"] else 0)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000, help="gradients to draw [default: 10000]")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes [default: one a core]")
    parser.add_argument("--gradprobe", default="target/release/gradprobe", metavar="PATH")
    parser.add_argument("--device", default="cpu", help="gradprobe's --device [default: cpu]")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the files of gradients that fail")
    parser.add_argument("--json", metavar="FILE", help="write the counts and every verdict as JSON")
    parser.add_argument("--promise", action="store_true", help="also check scaled gradients, which must fail")
    parser.add_argument("--only", type=int, metavar="INDEX", help="make and keep one problem")
    parser.add_argument("--families", nargs="+", choices=list(formulations.FORMULATIONS), help="only these")
    return parser.parse_args()


def drawn(options):
    """Yields the results of batches in the order of their indices, until there are enough gradients or Ctrl-C."""
    context = multiprocessing.get_context("spawn")
    batches = ((options, first, first + BATCH) for first in itertools.count(0, BATCH))
    with context.Pool(options.jobs, prepare) as pool:
        waiting = [pool.apply_async(check_batch, next(batches)) for _ in range(2 * options.jobs)]
        gradients, shown = 0, time.time()
        try:
            while gradients < options.count:
                result = waiting.pop(0).get()
                waiting.append(pool.apply_async(check_batch, next(batches)))
                gradients += len(result["rows"])
                yield result
                if time.time() - shown > 30:
                    shown = time.time()
                    print(f"{gradients} of {options.count} gradients", file=sys.stderr)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)


def prepare():
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends the workers


def check_batch(options, first, after):
    """Makes the files of the problems from `first` to before `after`, checks them, and returns what was found."""
    result = {"rows": [], "promises": [], "excluded": Counter(), "errors": [], "cpu": -cpu_seconds()}
    with tempfile.TemporaryDirectory(prefix="right-gradients-") as folder:
        folder, recipes = Path(folder), {}
        for index in range(first, after):
            recipe, left_out = make(options, folder, index)
            result["excluded"].update(left_out)
            if recipe:
                recipes[recipe["file"]] = recipe
        for name, report in checked(options, folder, result):
            result["rows"] += [tables.row(recipes[name], check) for check in report["checks"]]
            failed = any(check["verdict"] == "fail" for check in report["checks"])
            if options.keep and (failed or options.only is not None):
                keep(options.keep, folder / name, recipes[name], report)
            if options.promise:
                result["promises"] += promise.scale(folder / name, folder / "scaled", NAMES, recipes[name], report)
        judge(options, folder / "scaled", result)
    # Each shape is compiled anew, and none comes again.
    jax.clear_caches()
    result["cpu"] += cpu_seconds()
    return result


def cpu_seconds():
    """Returns the processor time of this process and of the gradprobes that it ran."""
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in usage)


def make(options, folder, index):
    """Writes the file of a problem. Returns its recipe, or `None`, and the numbers of gradients left out by reason."""
    problem, random = problems.draw(options.seed, index)
    family = formulations.draw(problem, random, options.families)
    recipe = problem.recipe | {"family": family, "file": f"{options.seed}-{index:06}-{family}.safetensors"}
    try:
        gradients, details = formulations.FORMULATIONS[family][0](problem, random)
    except formulations.Underflow:
        return None, {"underflow": len(NAMES) - (problem.bias is None)}
    recipe |= details
    if reason := undefined(problem):
        return None, {reason: len(gradients)}
    # Infinities and NaN are what an overflow leaves: nobody calls them right.
    right = {name: gradient for name, gradient in gradients.items() if torch.isfinite(gradient).all()}
    if right:
        tensors = {name: tensor.detach().contiguous() for name, tensor in (problem.tensors() | right).items()}
        recipe["metadata"] = problem.metadata() | details.get("metadata", {})
        save_file(tensors, folder / recipe["file"], recipe["metadata"])
    return recipe if right else None, {"not finite": len(gradients) - len(right)}


def undefined(problem):
    """Returns the reason if the loss is a mean over nothing, or its normalizer overflows the dtype.

    In f16 torch's gradient is then zero or infinite. Nothing else is left out but what is not finite: the gradient
    itself is never compared with a right one, which could hide a false alarm.
    """
    _, total, normalizer = problem.loss_terms(torch.float64)
    if normalizer == 0:
        return "mean of nothing"
    if max(normalizer.item(), total.max().item()) > torch.finfo(problem.dtype).max:
        return "overflow"
    return None


def checked(options, folder, result):
    """Runs gradprobe on a folder. Yields the name and the report of each file, and notes the files that it refuses."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        return
    command = [options.gradprobe, "check", *files, "--device", options.device, "--json", "-"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.stdout:
        document = json.loads(done.stdout)
        entries = document.get("files", [{"report": document}])
    elif len(files) == 1:
        entries = [{"error": done.stderr.strip()}]
    else:
        raise SystemExit(f"gradprobe failed with exit code {done.returncode}: {done.stderr.strip()[-2000:]}")
    for file, entry in zip(files, entries, strict=True):
        if "report" in entry:
            yield file.name, entry["report"]
            continue
        result["errors"].append({"file": file.name, "error": entry["error"]})
        if options.keep:
            options.keep.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, options.keep)


def keep(target, file, recipe, report):
    target.mkdir(parents=True, exist_ok=True)
    shutil.copy(file, target)
    rows = [tables.row(recipe, check) for check in report["checks"]]
    text = json.dumps({"recipe": recipe, "checks": rows}, indent=1)
    (target / file.name).with_suffix(".json").write_text(text + "\n")


def judge(options, folder, result):
    """Checks the scaled gradients of a batch, and completes their rows with the verdicts."""
    verdicts = {}
    for name, report in checked(options, folder, result):
        verdicts |= {(name, check["wrt"]): check["verdict"] for check in report["checks"]}
        if options.keep and any(check["verdict"] != "fail" for check in report["checks"]):
            options.keep.mkdir(parents=True, exist_ok=True)
            shutil.copy(folder / name, options.keep)
    for row in result["promises"]:
        row["verdict"] = verdicts.get((row["file"], row["wrt"]), "error")


if __name__ == "__main__":
    main()
