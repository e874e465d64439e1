"""The command that writes a dataset as the old HDF5 tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from echelon.data.manifest import open_dataset
from echelon.recipes.reviews import hdf5


def export_hdf5(
    dataset: Annotated[str, typer.Argument(help="a dataset that prepare wrote (path or URL)", metavar="DATASET")],
    file: Annotated[Path, typer.Argument(help="HDF5 file to write", metavar="FILE")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace what is there")] = False,
) -> str:
    """Writes a dataset as the old HDF5 tables: a row of word ids and the label for each review, a table a split."""
    rows = hdf5.export_hdf5(open_dataset(dataset), file, overwrite=overwrite)
    return f"{file}: " + ", ".join(f"{split} {count:,} rows" for split, count in rows.items())
