"""Cases in many files, on executors, Dask and Ray."""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import layer
from safetensors.numpy import save_file

import gradprobe
from gradprobe import distributed

FILES, ROWS, FEATURES, CLASSES = 16, 64, 24, 6


def write(folder: Path, wrong: bool, files: int = FILES) -> dict[str, Any]:
    """Writes a case in many files. Returns the arrays of the whole."""
    arrays = layer(seed=7, n=files * ROWS, d=FEATURES, k=CLASSES)
    logits = arrays["grad_logits"].astype(np.float64)
    arrays["bias"] = np.zeros(CLASSES, np.float32)
    arrays["grad_bias"] = logits.sum(0).astype(np.float32)
    if wrong:
        arrays["grad"] *= np.float32(2)
        arrays["grad_weight"][3] = 0
    shared = ("weight", "bias", "grad_weight", "grad_bias")
    folder.mkdir()
    save_file({name: arrays[name] for name in shared}, folder / "layer.safetensors")
    for file in range(files):
        rows = slice(file * ROWS, (file + 1) * ROWS)
        own = {name: array[rows].copy() for name, array in arrays.items() if name not in shared}
        save_file(own, folder / f"step-{file:02}.safetensors")
    return arrays


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    root = tmp_path_factory.mktemp("cases")
    for wrong in (False, True):
        write(root / str(wrong), wrong)
    return {wrong: root / str(wrong) for wrong in (False, True)}


def settled(report: gradprobe.Report) -> Any:
    """Returns a report without the seconds that it took."""
    document = json.loads(report.to_json())
    for name in ("seconds", "check_seconds", "command"):
        document.pop(name, None)
    return document


@pytest.fixture(scope="module")
def whole(folders: dict[bool, Path]) -> dict[bool, Any]:
    """The reports of one process."""
    check = distributed.check
    return {wrong: settled(check(path, device="cpu")) for wrong, path in folders.items()}


def spawned() -> Executor:
    return ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn"))


def test_a_case_in_files_is_that_in_one(tmp_path: Path) -> None:
    for wrong in (False, True):
        arrays = write(tmp_path / str(wrong), wrong)
        one = gradprobe.check(**arrays, device="cpu")
        many = distributed.check(tmp_path / str(wrong), device="cpu")
        for left, right in zip(one.checks, many.checks, strict=True):
            assert (left.name, left.verdict, left.wrong) == (right.name, right.verdict, right.wrong)
            assert left.entries == right.entries
            # Sums are added in another order, and bounds are those of each file.
            assert right.detectable == pytest.approx(left.detectable, rel=0.5)
        codes = [[finding.code for finding in check.findings] for check in many.checks]
        assert codes[0] == (["accumulated"] if wrong else [])


@pytest.mark.parametrize("wrong", [False, True])
@pytest.mark.parametrize("client", ["threads", "processes"])
def test_executors_give_the_report_of_one_process(
    folders: dict[bool, Path], whole: dict[bool, Any], wrong: bool, client: str
) -> None:
    with ThreadPoolExecutor(2) if client == "threads" else spawned() as executor:
        report = distributed.check(
            folders[wrong], client=executor, device="cpu", parts=5, in_flight=2
        )
    assert settled(report) == whole[wrong]


def test_results_merge_in_any_order(folders: dict[bool, Path], whole: dict[bool, Any]) -> None:
    for parts in (1, 3, 7, 16, 99):
        plan = distributed.plan(folders[True], parts=parts, device="cpu")
        assert len(plan.parts) == min(parts, FILES)
        results = [distributed.run(part) for part in plan.parts]
        random.Random(parts).shuffle(results)
        merge = distributed.Merge(plan)
        for result in results:
            merge.add(result)
        assert settled(merge.report()) == whole[True]


@pytest.fixture(scope="module")
def dask_client() -> Iterator[Any]:
    from dask.distributed import Client, LocalCluster

    options = {"threads_per_worker": 1, "dashboard_address": None, "host": "127.0.0.1"}
    with LocalCluster(n_workers=2, processes=True, **options) as cluster, Client(cluster) as client:
        yield client


@pytest.fixture(scope="module")
def ray_client() -> Iterator[str]:
    # Without it, Ray writes a token to the home folder.
    os.environ["RAY_AUTH_MODE"] = "disabled"
    import ray

    options = {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    ray.init(num_cpus=2, log_to_driver=False, **options)
    yield "ray"
    ray.shutdown()


@pytest.mark.parametrize("wrong", [False, True])
@pytest.mark.parametrize("engine", ["dask", "ray"])
def test_clusters_give_the_report_of_one_process(
    request: pytest.FixtureRequest,
    folders: dict[bool, Path],
    whole: dict[bool, Any],
    engine: str,
    wrong: bool,
) -> None:
    client = request.getfixturevalue(f"{engine}_client")
    assert settled(distributed.check(folders[wrong], client=client, device="cpu")) == whole[wrong]


def slowly(folder: Path) -> Any:
    """Returns a function that runs a part, and leaves time to kill its worker, by its id."""
    run = distributed.run

    def slow(part: distributed.Part) -> str:
        (folder / f"worker-{os.getpid()}").touch()
        time.sleep(0.2)
        return run(part)

    return slow


def kill_first(folder: Path) -> None:
    """Kills the first worker that leaves its id."""
    deadline = time.monotonic() + 60
    while not (marks := list(folder.glob("worker-*"))):
        assert time.monotonic() < deadline, "no worker began a part"
        time.sleep(0.02)
    os.kill(int(marks[0].name.removeprefix("worker-")), signal.SIGKILL)


@pytest.mark.parametrize("engine", ["dask", "ray"])
def test_a_worker_that_is_killed_loses_nothing(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    folders: dict[bool, Path],
    whole: dict[bool, Any],
    engine: str,
) -> None:
    client = request.getfixturevalue(f"{engine}_client")
    for pickle in ("cloudpickle", "ray.cloudpickle"):
        importlib.import_module(pickle).register_pickle_by_value(sys.modules[__name__])
    monkeypatch.setattr(distributed, "run", slowly(tmp_path))
    killer = threading.Thread(target=kill_first, args=(tmp_path,))
    killer.start()
    report = distributed.check(folders[True], client=client, device="cpu")
    killer.join()
    assert len(list(tmp_path.glob("worker-*"))) > 2, "no other worker took over"
    assert settled(report) == whole[True]


def test_a_part_that_fails_for_good_leaves_rows_missing(
    monkeypatch: pytest.MonkeyPatch, folders: dict[bool, Path]
) -> None:
    run, tries = distributed.run, []

    def failing(part: distributed.Part) -> str:
        if part.number == 3:
            tries.append(part)
            raise OSError("the disk is gone")
        return run(part)

    monkeypatch.setattr(distributed, "run", failing)
    with (
        ThreadPoolExecutor(2) as executor,
        pytest.warns(UserWarning, match="part 3 failed: OSError: the disk is gone"),
    ):
        report = distributed.check(folders[False], client=executor, device="cpu")
    assert len(tries) == 5
    assert (report.verdict, report.passed) == ("inconclusive", False)
    assert "960 of 1,024 rows" in report.headline
    assert any("rows 0 to 63 of" in note and "step-03" in note for note in report.notes)
    assert [check.name for check in report.checks] == ["grad", "grad_logits"]


def test_an_interruption_leaves_the_parts_that_are_done(
    monkeypatch: pytest.MonkeyPatch, folders: dict[bool, Path]
) -> None:
    run = distributed.run

    def interrupted(part: distributed.Part) -> str:
        if part.number == 2:
            raise KeyboardInterrupt
        return run(part)

    monkeypatch.setattr(distributed, "run", interrupted)
    with pytest.warns(UserWarning, match="interrupted"):
        report = distributed.check(folders[False], device="cpu")
    assert report.verdict == "inconclusive"
    assert "128 of 1,024 rows" in report.headline


def test_a_case_that_cannot_be_checked_raises(tmp_path: Path, folders: dict[bool, Path]) -> None:
    with pytest.raises(gradprobe.CaseError, match="holds no"):
        distributed.check(tmp_path)
    with pytest.raises(gradprobe.CaseError, match=r"client is 'spark', but must be"):
        distributed.check(folders[False], client="spark")
    with pytest.raises(gradprobe.CaseError, match="parts"):
        distributed.check(folders[False], parts=0)
    with pytest.raises(gradprobe.CaseError, match="rol"):
        distributed.check(folders[False], rol=1e-3)
    save_file({"input": np.zeros((2, 3), np.float32)}, tmp_path / "a.safetensors")
    with pytest.raises(gradprobe.CaseError, match=r"a\.safetensors holds no tensor named weight"):
        distributed.check(tmp_path)


def test_settings_reach_the_parts(folders: dict[bool, Path]) -> None:
    report = distributed.check(folders[False], device="cpu", reduction="sum", wrt="logits")
    (check,) = report.checks
    assert check.findings[0].code == "mean-instead-of-sum"
    report = distributed.check(folders[True], device="cpu", rtol=10, wrt=["input"])
    assert report.verdict != "fail"
