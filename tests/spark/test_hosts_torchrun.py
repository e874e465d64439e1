"""torchrun on two hosts apart, without Spark."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from distant import HERE, USUAL, Order
from hosts import NoNetwork, hosts_apart
from spark_learners import write_line

from echelon.train.checkpoint import newest
from echelon.train.run import RunFolder

SECONDS = 120.0


def asked(order: Order) -> dict[str, object]:
    """An order that torchrun's processes, or one driver, carry out."""
    return {
        "events": str(order.folder / "events.jsonl"), "run": order.place, "data": order.data, "master": None,
        "conf": {}, "workers": order.workers, "sync_every": 1, "server": False, "resume": False,
        "learner": {"pause": 0.0},
        "config": {**USUAL, "max_steps": 12},
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(2 * SECONDS)
def test_torchrun_on_two_hosts_trains_as_on_one(tmp_path: Path) -> None:
    apart = Order(tmp_path / "apart", write_line(str(tmp_path / "data")).url, "", "")
    together = replace(apart, folder=tmp_path / "together")
    for order in (apart, together):
        order.folder.mkdir()
        (order.folder / "order.json").write_text(json.dumps(asked(order)))
    script, python = str(HERE / "on_hosts.py"), [sys.executable, "-m", "torch.distributed.run"]
    alone = [*python, "--standalone", "--nproc-per-node=2", script, str(together.folder / "order.json")]
    done = subprocess.run(alone, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    with ExitStack() as stack:
        try:
            network = stack.enter_context(hosts_apart(2))
        except NoNetwork as error:
            pytest.skip(str(error))
        first = network.hosts[0].address
        processes = []
        for rank, host in enumerate(network.hosts):
            place = ["--nnodes=2", f"--node-rank={rank}", "--nproc-per-node=1", f"--master-addr={first}"]
            command = [*host.enter, *python, *place, "--master-port=29431", script, str(apart.folder / "order.json")]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            stack.callback(process.kill)
            processes.append(process)
        for process in processes:
            said, _ = process.communicate(timeout=SECONDS)
            assert process.returncode == 0, said[-3000:]
        sent = [host.sent() for host in network.hosts]
    found = [newest(RunFolder(order.place)) for order in (apart, together)]
    ours, theirs = (checkpoint.model() for checkpoint in found if checkpoint is not None)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert min(sent) > 12 * 20, f"gradients of 12 steps went between the hosts, not {sent} bytes"
