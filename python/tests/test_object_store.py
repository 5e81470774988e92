"""Cases in an object store: S3, as moto serves it on a port of this machine."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import boto3
import pytest
from conftest import layer
from moto.server import ThreadedMotoServer
from test_distributed import settled, write

import gradprobe
from gradprobe import distributed

SECRET = "a-secret-key"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a case in files, which lie in tmp_path / "run" too."""
    monkeypatch.setenv("AWS_ENDPOINT", server)
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "an-id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    write(tmp_path / "run", wrong=True)
    client = boto3.client("s3", endpoint_url=server, region_name="us-east-1")
    client.create_bucket(Bucket="bucket")
    for file in (tmp_path / "run").iterdir():
        client.upload_file(str(file), "bucket", f"some runs/7/{file.name}")
    return "s3://bucket/some runs/7/"


def test_a_case_in_s3_is_that_in_files(bucket: str, tmp_path: Path) -> None:
    here = settled(distributed.check(tmp_path / "run", device="cpu"))
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=spawned) as pool:
        for source in (bucket, bucket + "*.safetensors"):
            there = distributed.check(source, client=pool, parts=5, device="cpu")
            assert SECRET not in there.to_json() + there.to_html()
            text = json.dumps(settled(there)).replace(bucket, str(tmp_path / "run") + "/")
            assert json.loads(text) == here


def test_a_file_in_s3_is_checked(bucket: str, server: str, tmp_path: Path) -> None:
    case = tmp_path / "case.safetensors"
    arrays = layer(seed=1, n=9, d=5, k=4)
    arrays["grad"][3] = 0
    gradprobe.save_case(case, **arrays)
    client = boto3.client("s3", endpoint_url=server, region_name="us-east-1")
    client.upload_file(str(case), "bucket", "case.safetensors")
    there = gradprobe.check_file("s3://bucket/case.safetensors", device="cpu")
    assert there.checks[0].wrong == 5
    assert settled(there)["checks"] == settled(gradprobe.check_file(case, device="cpu"))["checks"]


def test_what_cannot_be_read_is_said(bucket: str) -> None:
    with pytest.raises(OSError, match="there is no such object"):
        gradprobe.check_file(bucket + "none.safetensors")
    with pytest.raises(gradprobe.CaseError, match=r"no \.safetensors or \.npz object is there"):
        distributed.check("s3://bucket/empty/")
    with pytest.raises(gradprobe.CaseError, match="Credentials are taken from environment") as info:
        gradprobe.check_file(f"https://me:{SECRET}@host/case.safetensors")
    assert SECRET not in str(info.value)
