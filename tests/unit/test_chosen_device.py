"""Which device a worker computes on, what carries its tensors, and what it can compute in."""

from __future__ import annotations

import pytest
import torch

from echelon.backend import GLOO, WITHOUT_NCCL, Backend, backend_of
from echelon.device import AUTO, CPU, chosen_device, computing_on, default_device
from echelon.errors import EchelonError
from echelon.train.precision import check_loss, check_precision

GPU = torch.device("cuda", 1)
with_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU on this machine")


def test_what_is_offered_is_taken_unless_another_is_wanted() -> None:
    assert chosen_device(AUTO, CPU, seen=0) == chosen_device("cpu", CPU) == chosen_device("cpu", GPU, seen=2) == CPU
    assert chosen_device(AUTO, GPU, seen=2) == chosen_device("cuda", GPU, seen=2) == GPU
    assert chosen_device("cuda", torch.device("cuda"), seen=1) == torch.device("cuda")


@pytest.mark.parametrize("seen", [0, 1])
@pytest.mark.parametrize("wanted", [AUTO, "cuda"])
def test_a_gpu_that_is_not_there_is_named(wanted: str, seen: int) -> None:
    with pytest.raises(EchelonError, match=rf"given the GPU 1, but torch .* sees {seen or 'none'}: .*--device cpu"):
        chosen_device(wanted, GPU, seen)


def test_a_gpu_that_is_wanted_where_there_is_none_is_refused() -> None:
    with pytest.raises(EchelonError, match=r"--device cuda needs a GPU, but torch .* sees none"):
        chosen_device("cuda", CPU)


@with_gpu
def test_ranks_share_the_gpus_of_their_host_in_turn() -> None:
    count = torch.cuda.device_count()
    assert [default_device(rank).index for rank in range(2 * count)] == [*range(count), *range(count)]
    last = torch.device("cuda", count - 1)
    with computing_on(last):
        assert torch.cuda.current_device() == count - 1
    assert torch.cuda.current_device() == 0


@pytest.mark.parametrize(
    ("cards", "remark"),
    [
        (["a", ""], "ranks [1] compute on the CPU"),
        (["a", "b", "a"], "ranks [0, 2] share a GPU"),
        (["a", WITHOUT_NCCL, "b"], "ranks [1] have a torch without NCCL"),
    ],
    ids=["not all have one", "one for two", "not all have NCCL"],
)
def test_without_a_gpu_for_each_rank_gloo_is_taken_and_said_why(cards: list[str], remark: str) -> None:
    backend = backend_of(cards)
    assert (backend.name, backend.has_nccl) == ("gloo", False)
    assert backend.remark.startswith(remark)


def test_nccl_takes_a_gpu_for_each_rank() -> None:
    assert backend_of(["", "", ""]) == GLOO == Backend("gloo")
    assert backend_of(["a", "b", "c"]).has_nccl
    assert not backend_of(["a", "b", "c"]).remark


def test_bf16_on_a_processor_that_has_none_is_remarked() -> None:
    assert "no instructions for bf16" in check_precision("bf16", CPU, "fpu avx2 avx512f amx_tile")
    for flags in ("fpu avx512f avx512_bf16", "fp asimd bf16", ""):
        assert check_precision("bf16", CPU, flags) == ""
    assert check_precision("fp32", CPU, "fpu") == ""


@with_gpu
def test_bf16_on_a_gpu_is_taken_or_refused_by_its_name() -> None:
    device = torch.device("cuda", 0)
    if torch.cuda.get_device_capability(device) >= (8, 0):
        assert check_precision("bf16", device) == ""
    else:
        with pytest.raises(EchelonError, match=torch.cuda.get_device_name(device)):
            check_precision("bf16", device)


def test_a_loss_that_is_added_up_in_half_precision_is_refused() -> None:
    check_loss(torch.ones(1))
    check_loss(torch.ones(1, dtype=torch.float64))
    for dtype in (torch.bfloat16, torch.float16):
        with pytest.raises(EchelonError, match=r"loss is torch\..*float16, .*\.float\(\)"):
            check_loss(torch.ones(1, dtype=dtype))
