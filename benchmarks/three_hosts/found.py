"""What was found on three hosts so far, kept in a file after every training."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from three_hosts.training import NETWORKS, STRATEGIES, Point, Setting, Training


@dataclass(frozen=True)
class Measured:
    """A training on one network in one round."""

    strategy: str
    network: str
    round: int
    training: Training

    @property
    def key(self) -> tuple[str, str, int]:
        return self.strategy, self.network, self.round

    def end(self, target: float) -> tuple[Point, bool]:
        """The first evaluation that reaches the target, and True; else the last one."""
        points = self.training.points
        reached = next((point for point in points if point.accuracy >= target), None)
        return reached or points[-1], reached is not None


@dataclass(frozen=True)
class Found:
    """All that was measured so far. traffic: bytes of a step, all hosts, by strategy."""

    setting: Setting
    measured: tuple[Measured, ...] = ()
    traffic: tuple[tuple[str, float], ...] = ()

    @classmethod
    def read(cls, path: Path | None, setting: Setting) -> Found:
        """What a file has, or nothing where there is none yet."""
        if path is None or not path.exists():
            return cls(setting)
        kept = json.loads(path.read_text())
        if kept["setting"] != asdict(setting):
            raise SystemExit(f"{path} has trainings of {kept['setting']}, not of {asdict(setting)}: take another file")
        measured = [
            Measured(each["strategy"], each["network"], each["round"], _training(each["training"]))
            for each in kept["measured"]
        ]
        return cls(setting, tuple(measured), tuple((name, sent) for name, sent in kept["traffic"]))

    def write(self, path: Path | None) -> Found:
        if path is not None:
            whole = path.with_name(f"{path.name}.new")
            whole.write_text(json.dumps(asdict(self)))
            whole.replace(path)
        return self


def _training(kept: dict[str, Any]) -> Training:
    return Training(tuple(Point(**point) for point in kept["points"]), kept["sent"])


def _place(cell: tuple[str, str]) -> tuple[int, int, str]:
    name, net = cell
    return list(NETWORKS).index(net), STRATEGIES.index(name) if name in STRATEGIES else len(STRATEGIES), name


@dataclass(frozen=True)
class Cell:
    """The medians of the rounds of a strategy on a network.

    training, whole: seconds to the target, without and with evaluations; what there was if `reached` is False, as it is
    if any round did not reach it. steps: of each round. sent: bytes until then, all hosts.
    """

    strategy: str
    network: str
    reached: bool
    training: float
    whole: float
    steps: tuple[int, ...]
    step_seconds: float
    sent: float


def cells(found: Found) -> list[Cell]:
    """The table by network and strategy, whatever was measured first."""
    rows = []
    for name, net in sorted({(each.strategy, each.network) for each in found.measured}, key=_place):
        these = [each for each in found.measured if (each.strategy, each.network) == (name, net)]
        ends = [each.end(found.setting.target) for each in these]
        points = [point for point, _ in ends]
        rows.append(
            Cell(
                name,
                net,
                all(reached for _, reached in ends),
                median(point.training for point in points),
                median(point.whole for point in points),
                tuple(point.step for point in points),
                median(point.training / point.step for point in points),
                median(each.training.sent for each in these),
            )
        )
    return rows
