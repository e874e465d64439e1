"""Runs benchmarks one after another, each in a process of its own, and says at the end which held their limits.

    python benchmarks            # all of them
    python benchmarks step loading

Exits with 1 if a limit was missed or a benchmark failed. One that could not be measured, as without a network, is told
and never counts as held.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from measured import HELD, MISSED, NOT_MEASURED, WORDS, console
from rich.table import Table

HERE = Path(__file__).parent
SHARED = {"__main__", "measured"}
DEADLINE = 1800.0
FAILED = "[red]FAILED[/red]"


def run(name: str) -> tuple[str, float]:
    """The word for a benchmark and how many seconds it took."""
    begin = time.perf_counter()
    console().rule(name)
    try:
        status = subprocess.run([sys.executable, HERE / f"{name}.py"], timeout=DEADLINE, check=False).returncode
    except subprocess.TimeoutExpired:
        return f"{FAILED}: not done within {DEADLINE:g} s", time.perf_counter() - begin
    return WORDS.get(status, f"{FAILED}: exit status {status}"), time.perf_counter() - begin


def main() -> int:
    names = sorted({path.stem for path in HERE.glob("*.py")} - SHARED)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(names)}; all if none is given")
    chosen = parser.parse_args().names or names
    if unknown := sorted(set(chosen) - set(names)):
        parser.error(f"there is no benchmark {', '.join(unknown)}: choose of {', '.join(names)}")
    found = {name: run(name) for name in chosen}
    table = Table("benchmark", "limits", "took", title="All benchmarks", title_justify="left", title_style="bold")
    for name, (word, seconds) in found.items():
        table.add_row(name, word, f"{seconds:.0f} s")
    console().print(table)
    fine = {WORDS[HELD], WORDS[NOT_MEASURED]}
    return HELD if all(word in fine for word, _ in found.values()) else MISSED


if __name__ == "__main__":
    sys.exit(main())
