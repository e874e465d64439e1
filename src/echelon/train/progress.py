"""Where a run is and what it has cost so far; stored with every checkpoint."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from echelon.sync.protocol import Tally
from echelon.train.balance import Balance
from echelon.train.stopping import Stopping


@dataclass(frozen=True)
class Progress:
    """Counted over all ranks and all attempts that led here.

    step: global steps done. seconds: of training. rows: consumed. bytes_sent: over all ranks. reading, computing,
    synchronising: seconds, mean over the ranks. metrics: of the newest evaluation. balance: of the workers' lanes;
    empty where they stay as they are. stopped_by: why training ended, or ""; never stored with a checkpoint, since a
    run may go on after its end.
    """

    step: int = 0
    seconds: float = 0.0
    rows: int = 0
    bytes_sent: float = 0.0
    reading: float = 0.0
    computing: float = 0.0
    synchronising: float = 0.0
    metrics: dict[str, float] = field(default_factory=dict)
    baseline: dict[str, float] = field(default_factory=dict)
    stopping: Stopping = field(default_factory=Stopping)
    balance: Balance = field(default_factory=Balance)
    stopped_by: str = ""

    def after(self, step: int, total: Tally, ranks: int) -> Progress:
        """The progress at a boundary, given the tally summed over the ranks."""
        return replace(
            self,
            step=step,
            seconds=max(self.seconds, total.seconds),
            rows=self.rows + round(total.rows),
            bytes_sent=self.bytes_sent + total.sent,
            reading=self.reading + total.reading / ranks,
            computing=self.computing + total.computing / ranks,
            synchronising=self.synchronising + total.synchronising / ranks,
        )

    def told(self, before: Progress) -> dict[str, Any]:
        """What an event "train" says of all until now, and of the speed since an earlier progress."""
        return {
            "rows": self.rows,
            "rows_per_second": (self.rows - before.rows) / max(self.seconds - before.seconds, 1e-9),
            "bytes_sent": self.bytes_sent,
            "seconds_reading": self.reading,
            "seconds_computing": self.computing,
            "seconds_synchronising": self.synchronising,
        }

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Progress:
        stopping, balance = Stopping.from_json(values["stopping"]), values.get("balance")
        return cls(**{**values, "stopping": stopping, "balance": Balance.from_json(balance) if balance else Balance()})
