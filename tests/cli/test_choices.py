"""Strategies by flags: each flag reaches the strategy that it is for, and no other takes it."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from echelon.cli.choices import StrategyOptions
from echelon.errors import EchelonError
from echelon.sync import AllReduce, Averaging, DiLoCo, ParameterServer, Strategy

FLAGS: dict[str, dict[str, Any]] = {
    "allreduce": {"find_unused_parameters": True, "compression": "powersgd", "powersgd_rank": 2},
    "averaging": {"sync_every": 7, "slow_momentum": 0.0, "slow_lr": 0.5},
    "diloco": {"sync_every": 7, "outer_lr": 0.5, "outer_momentum": 0.0, "exchange": "int8", "overlap": True},
    "server": {"sync_every": 7, "scale": "staleness"},
}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("allreduce", AllReduce(True, "powersgd", 2)),
        ("averaging", Averaging(7, 0.0, 0.5)),
        ("diloco", DiLoCo(7, 0.5, 0.0, "int8", True)),
        ("server", ParameterServer(7, "staleness")),
    ],
)
def test_flags_reach_their_strategy(name: str, expected: Strategy) -> None:
    assert StrategyOptions(strategy=name, **FLAGS[name]).chosen(10) == expected


def test_without_flags_the_defaults_hold() -> None:
    assert StrategyOptions().chosen(10) == AllReduce()
    assert StrategyOptions(strategy="averaging").chosen(12) == Averaging(12)
    assert StrategyOptions(strategy="diloco").chosen(12) == DiLoCo()
    assert StrategyOptions(strategy="server").chosen(12) == ParameterServer(12)
    assert StrategyOptions(sync_every=1).chosen(12) == AllReduce(), "which is what it does"


def test_every_option_is_tried() -> None:
    assert {f.name for f in fields(StrategyOptions)} == {"strategy"}.union(*FLAGS.values())


@pytest.mark.parametrize(
    ("name", "flag"), [(n, f) for n in FLAGS for f in sorted(set().union(*FLAGS.values())) if f not in FLAGS[n]]
)
def test_a_flag_of_another_strategy_is_refused_by_name(name: str, flag: str) -> None:
    value = next(flags[flag] for flags in FLAGS.values() if flag in flags)
    with pytest.raises(EchelonError) as refused:
        StrategyOptions(strategy=name, **{flag: value}).chosen(10)
    assert str(refused.value).startswith(f"--{flag.replace('_', '-')}")
    assert str(refused.value).endswith(f"not for {name}")


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"compression": "bf16", "powersgd_rank": 2}, "goes with the compression powersgd"),
        ({"compression": "powersgd", "powersgd_rank": 0}, "at least 1, got 0"),
        ({"strategy": "averaging", "slow_lr": 1.0}, "give both or neither"),
        ({"strategy": "averaging", "slow_momentum": 1.0}, "less than 1, got 1.0"),
        ({"strategy": "averaging", "slow_momentum": 0.5, "slow_lr": 0.0}, "greater than 0, got 0.0"),
        ({"strategy": "diloco", "sync_every": 0}, "at least one step"),
        ({"strategy": "diloco", "outer_lr": -1.0}, "greater than 0, got -1.0"),
        ({"strategy": "diloco", "outer_momentum": float("nan")}, "less than 1, got nan"),
        ({"strategy": "diloco", "exchange": "int4"}, "fp32, bf16, int8, got 'int4'"),
        ({"compression": "int8"}, "bf16, fp16, powersgd, got 'int8'"),
    ],
)
def test_values_that_make_no_sense_are_refused_with_the_value(flags: dict[str, Any], told: str) -> None:
    with pytest.raises(EchelonError, match=told):
        StrategyOptions(**flags).chosen(10)
