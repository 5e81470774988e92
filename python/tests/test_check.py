"""The check of a linear layer with cross-entropy."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import layer
from torch.nn import functional

import gradprobe

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_asker_learns_that_ten_passes_were_summed() -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(4, 2)
    x, t = torch.randn(10, 4, requires_grad=True), torch.randint(0, 2, (10,))
    optimizer = torch.optim.SGD(layer.parameters(), lr=1e-3)
    for _ in range(10):
        optimizer.zero_grad()
        functional.cross_entropy(layer(x), t).backward()
        weight, bias = layer.weight.detach().clone(), layer.bias.detach().clone()
        optimizer.step()
    report = gradprobe.check(input=x, weight=weight, bias=bias, target=t, grad=x.grad)
    assert report.verdict == "fail"
    assert report.checks[0].findings[0].code == "accumulated"
    assert "x.grad = None" in report.checks[0].findings[0].fix
    assert repr(report) == "<Report FAIL: grad (accumulated)>"
    assert str(report).startswith("FAIL: grad is about 10 times the correct gradient")


def test_settings_have_torchs_names() -> None:
    torch.manual_seed(1)
    layer = torch.nn.Linear(6, 5)
    x, t = torch.randn(20, 6, requires_grad=True), torch.randint(0, 5, (20,))
    t[3] = -1
    settings: dict[str, Any] = {"reduction": "sum", "label_smoothing": 0.1, "ignore_index": -1}
    class_weight = torch.rand(5)
    functional.cross_entropy(layer(x), t, weight=class_weight, **settings).backward()
    arrays = {"input": x, "weight": layer.weight, "bias": layer.bias, "target": t, "grad": x.grad}
    arrays |= {"grad_weight": layer.weight.grad, "grad_bias": layer.bias.grad}
    arrays["class_weight"] = class_weight
    report = gradprobe.check(**arrays, **settings)
    assert report.passed, report
    assert [check.name for check in report.checks] == ["grad", "grad_weight", "grad_bias"]
    settings["label_smoothing"] = 0.0
    report = gradprobe.check(**arrays, **settings)
    assert report["grad"].findings[0].code == "label-smoothing-missing"
    # The words are Python's.
    assert "the file" not in report.headline + report.to_text()
    assert "--" not in report.to_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grad": None}, "no gradient to check: pass grad"),
        ({"weight": None}, "weight is missing"),
        ({"target": None}, "target is None"),
        ({"target": np.full(12, 9)}, r"target\[0\] is 9, but there are 4 classes"),
        ({"grad": np.ones((3, 5), np.float32)}, r"grad has shape \[3, 5\]"),
        ({"input": np.full((12, 5), np.nan)}, r"input\[0,0\] is NaN"),
        ({"reduction": "average"}, "invalid value 'average' for 'reduction'"),
        ({"rtol": -1.0}, "rtol is -1.0, but a tolerance must"),
        ({"label_smoothing": 2.0}, "label_smoothing is 2"),
        ({"rows": (5, 99)}, "rows is 5..99, but there are 12 rows"),
        ({"ignore_index": 0.5}, "ignore_index"),
    ],
)
def test_bad_input_raises_a_sentence(change: dict[str, Any], message: str) -> None:
    case = layer() | change
    del case["grad_logits"], case["grad_weight"]
    with pytest.raises(gradprobe.CaseError, match=message) as raised:
        gradprobe.check(**case)
    assert isinstance(raised.value, ValueError)
    assert "--" not in str(raised.value)


def test_an_unknown_device_raises(case: dict[str, Any]) -> None:
    with pytest.raises(gradprobe.DeviceError, match='no device matches "abacus"'):
        gradprobe.check(**case, device="abacus")


def test_devices_can_be_chosen(case: dict[str, Any]) -> None:
    devices = gradprobe.devices()
    assert devices[0].type == "cpu"
    software = next(device for device in devices if device.type == "software")
    report = gradprobe.check(**case, device=software.name)
    assert report.passed
    assert report.device == software.name


def test_files_and_arrays_have_the_same_report(tmp_path: Path, case: dict[str, Any]) -> None:
    path = tmp_path / "case.safetensors"
    gradprobe.save_case(path, **case, label_smoothing=0.1)
    of_file = gradprobe.check_file(path)
    of_arrays = gradprobe.check(**case, label_smoothing=0.1)
    assert of_file.verdict == of_arrays.verdict == "fail"
    for left, right in zip(of_file.checks, of_arrays.checks, strict=True):
        assert (left.worst, left.wrong) == (right.worst, right.wrong)
    with pytest.raises(FileNotFoundError):
        gradprobe.check_file(tmp_path / "missing.safetensors")
    with pytest.raises(gradprobe.CaseError, match="is not a readable safetensors file"):
        path.write_bytes(b"12345678")
        gradprobe.check_file(path)
    with pytest.raises(FileNotFoundError):
        gradprobe.save_case(tmp_path / "no" / "folder.safetensors", **case)


def test_the_numeric_gradient_is_kept_on_demand(case: dict[str, Any]) -> None:
    report = gradprobe.check(**case, numeric=True)
    numeric = np.asarray(report.numeric("grad"))
    assert numeric.shape == case["grad"].shape
    np.testing.assert_allclose(numeric, case["grad"], rtol=1e-5, atol=1e-9)
    with pytest.raises(gradprobe.CaseError, match="several gradients"):
        report.numeric()
    with pytest.raises(gradprobe.CaseError, match="was not kept"):
        gradprobe.check(**case).numeric("grad")


def test_parts_merge_to_the_whole() -> None:
    case = layer(n=300)
    del case["grad_weight"]
    case["grad"][7] *= 2
    whole = gradprobe.check(**case)
    parts = [gradprobe.check(**case, rows=(i, i + 100)) for i in (0, 100, 200)]
    merged = parts[0].merge(*parts[1:])
    for left, right in zip(whole.checks, merged.checks, strict=True):
        assert (left.verdict, left.wrong, left.worst) == (right.verdict, right.wrong, right.worst)
        assert left.entries == right.entries
    with pytest.raises(gradprobe.CaseError, match="cannot be merged"):
        whole.merge(gradprobe.check(**layer(n=20)))


def test_a_sweep_tells_a_wrong_gradient_from_a_large_step(case: dict[str, Any]) -> None:
    del case["grad_logits"], case["grad_weight"]
    (right,) = gradprobe.sweep(**case, eps_to=1e-4)
    assert right.conclusion is None
    assert [point.eps for point in right.points] == pytest.approx([1, 1e-1, 1e-2, 1e-3, 1e-4])
    case["grad"] = case["grad"] * np.float32(10)
    (wrong,) = gradprobe.sweep(**case, eps_to=1e-4)
    assert wrong.conclusion is not None
    assert wrong.conclusion.endswith("the gradient is wrong, not the step.")
    assert "forward-pass" in str(wrong)


def test_a_sweep_that_takes_long_is_left_out_unless_it_is_asked_for() -> None:
    arrays = layer(n=2000, d=100, k=50)
    with pytest.warns(UserWarning, match="grad_weight is not swept: each step needs all samples"):
        swept = gradprobe.sweep(**arrays, eps_from=1e-2, eps_to=1e-2)
    assert "grad_weight" not in [sweep.name for sweep in swept]
    with pytest.raises(gradprobe.CaseError, match="each step of its sweep needs"):
        gradprobe.sweep(**arrays, eps_from=1e-2, eps_to=1e-2, wrt="weight")


def test_a_service_checks_in_place_of_this_process(tmp_path: Path, case: dict[str, Any]) -> None:
    command = [sys.executable, "-m", "gradprobe", "serve", "--device", "cpu"]
    command += ["--data", str(tmp_path / "data"), "--listen", "127.0.0.1:0"]
    service = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert service.stdout is not None
        line = service.stdout.readline()
        url = next(word.rstrip(",;.") for word in line.split() if word.startswith("http://"))
        case["grad"] = case["grad"] * np.float32(3)
        here, there = gradprobe.check(**case), gradprobe.check(**case, server=url)
        assert there["grad"].worst == here["grad"].worst
        assert there["grad"].findings == here["grad"].findings
        with pytest.raises(gradprobe.CaseError, match="a service returns no numeric gradients"):
            gradprobe.check(**case, server=url, numeric=True)
        with pytest.raises(gradprobe.GradprobeError, match="rtol is -1"):
            gradprobe.check(**case, server=url, rtol=-1)
    finally:
        service.terminate()
        service.wait(timeout=30)
    with pytest.raises(gradprobe.GradprobeError):
        gradprobe.check(**case, server=url)
    with pytest.raises(gradprobe.CaseError, match="server: expected an address"):
        gradprobe.check(**case, server="nowhere")


LONG = """
    import signal, sys, threading, time
    import numpy as np
    import gradprobe
    random = np.random.default_rng(0)
    n, d, k = 4096, 1024, 200
    x, w = random.standard_normal((n, d)), random.standard_normal((k, d))
    t = random.integers(0, k, n)
    print("ready", flush=True)
    started = time.monotonic()
    try:
        gradprobe.check(input=x, weight=w, target=t, self_test=True, device="cpu",
                        method="forward-pass")
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


def test_ctrl_c_ends_a_check_within_a_quarter_of_a_second() -> None:
    program = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(LONG)], stdout=subprocess.PIPE, text=True
    )
    assert program.stdout is not None
    assert program.stdout.readline() == "ready\n"
    time.sleep(1.0)
    assert program.poll() is None, "the check was too short to be interrupted"
    program.send_signal(signal.SIGINT)
    sent = time.monotonic()
    assert program.stdout.readline() == "interrupted\n"
    assert time.monotonic() - sent < 0.25
    # The abandoned work ends too, and the program with it.
    assert program.wait(timeout=20) == 0


def test_other_threads_run_during_a_check() -> None:
    import threading

    case = layer(n=4000, d=300, k=30)
    ticks = []
    done = threading.Event()

    def tick() -> None:
        while not done.wait(0.001):
            ticks.append(time.monotonic())

    thread = threading.Thread(target=tick)
    thread.start()
    started = time.monotonic()
    gradprobe.check(**case, method="forward-pass", device="cpu")
    ended = time.monotonic()
    done.set()
    thread.join()
    within = [at for at in ticks if started < at < ended]
    assert ended - started > 0.05
    assert len(within) > 5


def test_a_forked_process_is_refused_in_words(case: dict[str, Any]) -> None:
    gradprobe.check(**case)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            gradprobe.check(**case)
            text = "no error"
        except gradprobe.GradprobeError as error:
            text = str(error)
        os.write(write, text.encode())
        os._exit(0)
    os.close(write)
    assert os.waitpid(child, 0)[1] == 0
    assert "start processes by spawn" in os.read(read, 1000).decode()
    os.close(read)


def test_importing_gradprobe_imports_no_array_library() -> None:
    code = "import sys, gradprobe; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = set(run.stdout.split())
    assert not modules & {"numpy", "torch", "jax", "pytest"}


def test_a_missing_numpy_is_told_in_words() -> None:
    code = """
import sys
sys.modules["numpy"] = None
import gradprobe
try:
    gradprobe.check_function(lambda x: x**2, 2.0, 4.0)
except gradprobe.GradprobeError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "check_function needs NumPy: pip install numpy\n"


@pytest.mark.parametrize("words", [["gradprobe"], [sys.executable, "-m", "gradprobe"]])
def test_the_command_is_that_of_the_program(words: list[str]) -> None:
    if words == ["gradprobe"]:
        words = [str(Path(sys.executable).with_name("gradprobe"))]
    environment = {**os.environ, "NO_COLOR": "1"}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*words, *arguments], capture_output=True, text=True, env=environment, check=False
        )

    assert run("--version").stdout.startswith("gradprobe ")
    checked = run("check", str(EXAMPLES / "digits.safetensors"), "--device", "cpu")
    assert checked.returncode == 0
    assert checked.stdout.startswith("PASS: grad is right")
    refused = run("check", "missing.safetensors")
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: cannot read missing.safetensors: ")
