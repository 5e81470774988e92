"""Times a case in many files on one and two workers: `python python/tests/clusters.py`.

Prints the seconds of one process, of executors, of Dask and of Ray, and the size and the time of
merging of many small parts. All files are links to one, so that the disk need not hold them all.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from conftest import layer
from safetensors.numpy import save_file

from gradprobe import distributed

FEATURES, CLASSES = 784, 10


def write(folder: Path, files: int, rows: int) -> None:
    """Writes a case whose files are all the same."""
    arrays = layer(seed=1, n=rows, d=FEATURES, k=CLASSES)
    logits = arrays.pop("grad_logits").astype(np.float64)
    del arrays["grad_weight"]
    arrays["grad"] = arrays["grad"] / np.float32(files)
    shared = {
        "weight": arrays.pop("weight"),
        "grad_weight": (logits.T @ arrays["input"].astype(np.float64)).astype(np.float32),
    }
    save_file(shared, folder / "layer.safetensors")
    save_file(arrays, folder / "step-000000.safetensors")
    for file in range(1, files):
        os.link(folder / "step-000000.safetensors", folder / f"step-{file:06}.safetensors")


def timed(call: Any, repeat: int) -> float:
    seconds = []
    for _ in range(repeat):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def times(folder: Path, repeat: int) -> None:
    def check(client: Any = None) -> None:
        report = distributed.check(folder, client=client, device="cpu", progress=False)
        assert report.verdict == "pass", report

    print(f"this process: {timed(check, repeat):.2f} s")
    os.environ["RAYON_NUM_THREADS"] = "1"
    context = multiprocessing.get_context("spawn")
    for workers in (1, 2):
        with ProcessPoolExecutor(workers, mp_context=context) as executor:
            check(executor)
            seconds = timed(lambda: check(executor), repeat)
            print(f"{workers} processes of one thread: {seconds:.2f} s")

    from dask.distributed import Client, LocalCluster

    options = {"threads_per_worker": 1, "dashboard_address": None, "host": "127.0.0.1"}
    with LocalCluster(n_workers=2, processes=True, **options) as cluster, Client(cluster) as client:
        check(client)
        print(f"Dask, 2 workers of one thread: {timed(lambda: check(client), repeat):.2f} s")

    os.environ["RAY_AUTH_MODE"] = "disabled"
    import ray

    ray.init(num_cpus=2, include_dashboard=False, _node_ip_address="127.0.0.1", log_to_driver=False)
    check("ray")
    print(f"Ray, 2 workers of one thread: {timed(lambda: check('ray'), repeat):.2f} s")
    ray.shutdown()


def merging(folder: Path) -> None:
    started = time.perf_counter()
    plan = distributed.plan(folder, device="cpu")
    print(f"{len(plan.parts)} parts planned in {time.perf_counter() - started:.2f} s")
    task = sum(len(part.index) for part in plan.parts) / len(plan.parts)
    merge = distributed.Merge(plan)
    running, seconds, size = 0.0, 0.0, 0
    for part in plan.parts:
        started = time.perf_counter()
        result = distributed.run(part)
        ran = time.perf_counter()
        merge.add(result)
        running += ran - started
        seconds += time.perf_counter() - ran
        size += len(result)
    report = merge.report()
    print(f"run one by one in {running:.2f} s")
    print(f"a task has {task:.0f} bytes, a result {size / len(plan.parts) / 1024:.0f} KiB")
    print(f"merged in {seconds:.2f} s: {1e3 * seconds / len(plan.parts):.2f} ms each; {report!r}")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--files", type=int, default=64)
    parser.add_argument(
        "--rows", type=int, default=16_384, help="rows of a file, of 6,272 bytes each"
    )
    parser.add_argument("--parts", type=int, default=10_000, help="small parts that are merged")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only", choices=("times", "merging"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.only != "merging":
            write(Path(folder), options.files, options.rows)
            times(Path(folder), options.repeat)
    with tempfile.TemporaryDirectory() as folder:
        if options.only != "times":
            write(Path(folder), options.parts, 2)
            merging(Path(folder))


if __name__ == "__main__":
    main()
