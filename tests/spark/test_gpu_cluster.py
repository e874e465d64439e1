"""GPUs that Spark gives away: a real cluster whose discovery script names some that are not there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from cluster import standalone_cluster

NAMES = ["11", "12", "13"]


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_every_worker_has_a_gpu_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "discover.sh"
    script.write_text(f"#!/bin/sh\necho '{json.dumps({'name': 'gpu', 'addresses': NAMES})}'\n")
    script.chmod(0o755)
    monkeypatch.setenv(
        "SPARK_WORKER_OPTS",
        f"-Dspark.worker.resource.gpu.amount={len(NAMES)} -Dspark.worker.resource.gpu.discoveryScript={script}",
    )
    with standalone_cluster(tmp_path, workers=1, cores=4) as master:
        driver = str(Path(__file__).with_name("gpu_cluster.py"))
        done = subprocess.run(
            [sys.executable, driver, master, str(tmp_path)], capture_output=True, text=True, timeout=280
        )
    assert done.returncode == 0, done.stderr[-3000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    assert sorted(seen["devices"]) == [f"cuda:{name}" for name in NAMES]
    assert seen["tasks"] == NAMES
    assert "4 workers need 4 task slots at once" in seen["too many"]
    assert "has 3: use at most 3 workers" in seen["too many"]
    if torch.cuda.device_count() < 12:
        assert "this worker was given the GPU 1" in seen["refused"]
        assert "--device cpu" in seen["refused"]
    assert seen["trained on"] == ["cpu"]
    assert seen["evaluated"] == 128
