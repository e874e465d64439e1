"""A training as a driver of its own: on_hosts.py ORDER.json trains as it says.

What happens is appended to the file "events" of the order at once, as JSON lines with the time "at".
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from spark_learners import Unhurried

from echelon.api import fit
from echelon.sync import AllReduce, Averaging
from echelon.sync.server import ParameterServer
from echelon.train.config import RunConfig


def main(order: dict[str, Any]) -> None:
    every = order["sync_every"]
    strategy = ParameterServer(every) if order["server"] else Averaging(every) if every > 1 else AllReduce()
    with Path(order["events"]).open("a") as events:

        def on_event(event: dict[str, Any]) -> None:
            events.write(json.dumps({"at": time.time(), **event}) + "\n")
            events.flush()

        fit(
            Unhurried(**order["learner"]),
            order["data"],
            RunConfig(**order["config"]),
            strategy=strategy,
            workers=order["workers"],
            run=order["run"],
            resume=order["resume"],
            master=order["master"],
            conf=order["conf"],
            on_event=on_event,
        )


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
