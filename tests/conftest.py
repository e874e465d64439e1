"""What all tests may use: the shared data sets, where there are any, a real S3 server, and a real Spark."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SHARED_DATA = "ECHELON_TEST_DATA"
START_SECONDS = 20.0


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of the data sets that some tests read: $ECHELON_TEST_DATA, or ../shared/data beside the project."""
    folder = Path(os.environ.get(SHARED_DATA) or Path(__file__).resolve().parents[2] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"there is no folder {folder}: set {SHARED_DATA}")
    return folder


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """local[2,8] in this process: two slots, and eight tries of a task."""
    from echelon.spark.session import session

    made = session("local[2,8]", workers=2)
    yield made
    made.stop()


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a bucket on an S3 server of this session's own. Its endpoint and keys are in the environment.

    All tests share the bucket, so each works in a folder of its own.
    """
    root = tmp_path_factory.mktemp("s3")
    (root / "files" / "tests").mkdir(parents=True)
    key, secret = secrets.token_hex(8), secrets.token_hex(16)
    server = subprocess.Popen(
        [
            *(str(Path(sys.executable).parent / "rclone"), "serve", "s3", str(root / "files")),
            *("--addr", "127.0.0.1:0", "--config", "", "--cache-dir", str(root / "cache")),
        ],
        env={**os.environ, "RCLONE_AUTH_KEY": f'"{key},{secret}"'},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("AWS_ENDPOINT_URL", _endpoint(server))
            environment.setenv("AWS_ACCESS_KEY_ID", key)
            environment.setenv("AWS_SECRET_ACCESS_KEY", secret)
            environment.setenv("AWS_REGION", "us-east-1")
            environment.setenv("AWS_EC2_METADATA_DISABLED", "true")
            # The server does not understand the trailing checksums that the SDK sends by default.
            environment.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "WHEN_REQUIRED")
            yield "s3://tests"
    finally:
        server.terminate()
        server.wait(START_SECONDS)


def _endpoint(server: subprocess.Popen[str]) -> str:
    """The address that the system gave the server, from what it says when it is ready; its log is drained for good."""
    said: list[str] = []
    found: list[str] = []
    ready = threading.Event()

    def drain() -> None:
        assert server.stderr is not None
        for line in server.stderr:
            said.append(line)
            if not found and (address := re.search(r"http://127\.0\.0\.1:\d+", line)):
                found.append(address.group())
                ready.set()
        ready.set()

    threading.Thread(target=drain, name="s3 server's log", daemon=True).start()
    ready.wait(START_SECONDS)
    assert found, f"the S3 server did not start within {START_SECONDS:g} s: {''.join(said[-5:])}"
    return found[0]
