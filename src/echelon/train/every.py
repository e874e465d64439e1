"""An interval in the units that users think in: steps, epochs or seconds."""

from __future__ import annotations

import re
from dataclasses import dataclass

from echelon.errors import EchelonError

_UNITS = {
    "step": "steps", "steps": "steps",
    "epoch": "epochs", "epochs": "epochs",
    "s": "seconds", "sec": "seconds", "second": "seconds", "seconds": "seconds",
}  # fmt: skip


@dataclass(frozen=True)
class Every:
    """`count` steps, epochs or seconds; a count of 0 means never."""

    count: int
    unit: str

    @classmethod
    def parse(cls, text: str) -> Every:
        """Reads "50steps", "1epoch", "30s" or "off".

        Raises:
            EchelonError: the text is none of these.
        """
        cleaned = text.strip().lower()
        if cleaned in ("off", "never", "0"):
            return cls(0, "steps")
        match = re.fullmatch(r"(\d+)\s*([a-z]+)", cleaned)
        if not match or match[2] not in _UNITS:
            raise EchelonError(f"'{text}' is no interval: write for example 50steps, 1epoch, 30s or off")
        return cls(int(match[1]), _UNITS[match[2]])

    def due(self, steps: tuple[int, int], steps_per_epoch: int, seconds: tuple[float, float]) -> bool:
        """Whether a multiple of the interval lies in the half-open span (before, now].

        Args:
            steps: global step at the last boundary and now. seconds: since the run began, likewise.
        """
        if not self.count:
            return False
        if self.unit == "seconds":
            return int(seconds[1] / self.count) > int(seconds[0] / self.count)
        period = self.count * (steps_per_epoch if self.unit == "epochs" else 1)
        return steps[1] // period > steps[0] // period

    def __str__(self) -> str:
        if not self.count:
            return "off"
        if self.unit == "seconds":
            return f"{self.count}s"
        return f"{self.count}{self.unit if self.count > 1 else self.unit[:-1]}"
