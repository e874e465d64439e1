"""What the command line writes: tables and results to the standard output, the rest to the standard error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from echelon.report.format import size

if TYPE_CHECKING:
    from echelon.data.manifest import Dataset

OUT = Console(highlight=False)
ERR = Console(stderr=True, highlight=False)


def tell(text: str) -> None:
    """Writes lines that are the result of a command."""
    OUT.print(escape(text), soft_wrap=True)


def say(text: str) -> None:
    """Writes a line that is no result."""
    ERR.print(escape(text), soft_wrap=True)


def complain(text: str) -> None:
    """Writes why a command failed."""
    ERR.print(f"[bold red]error:[/] {escape(text)}", soft_wrap=True)


def describe(dataset: Dataset, name: str | None = None) -> str:
    """Rows by split, what was converted, and what was left out and why, of a dataset.

    name: what to call it; default its URL.
    """
    rows = ", ".join(f"{split} {dataset.rows(split):,} rows" for split in dataset.splits)
    taken = size(sum(file.size for split in dataset.splits for file in dataset.manifest.files(split)))
    lines = [f"{name or dataset.url}: {rows}, {taken}"]
    converted = dataset.info.get("converted")
    lines += [f"{converted:,} were converted to the form of the others"] if converted else []
    problems = dataset.info.get("problems") or {"count": 0, "first": []}
    if problems["count"]:
        lines.append(f"{problems['count']:,} left out:")
        lines += [f"  {item}: {reason}" for item, reason in problems["first"][:5]]
        more = problems["count"] - len(problems["first"][:5])
        lines += [f"  … and {more:,} more, see _manifest.json"] if more > 0 else []
    return "\n".join(lines)
