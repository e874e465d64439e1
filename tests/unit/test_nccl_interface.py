"""NCCL is bound to the interface that was found, and to no other."""

from __future__ import annotations

import os

import pytest

from echelon.backend import prepare_nccl


def test_nccl_takes_the_interface_and_none_whose_name_begins_like_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NCCL_SOCKET_IFNAME", "TORCH_NCCL_ASYNC_ERROR_HANDLING"):
        monkeypatch.setenv(name, "")
    prepare_nccl("eth1")
    # NCCL's documentation: "=" asks for the very name, without it for all names that begin so.
    assert os.environ["NCCL_SOCKET_IFNAME"] == "=eth1"
