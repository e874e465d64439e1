"""`features`: any layer of a trained model as a column, from the command line."""

from __future__ import annotations

from pathlib import Path

from commands import Echelon

from echelon.data.manifest import open_dataset
from echelon.data.schema import Column


def test_layers_are_listed_then_one_is_written(echelon: Echelon, pictures: Path, tmp_path: Path) -> None:
    dataset, run, out = (tmp_path / name for name in ("dataset", "run", "out"))
    assert echelon("images", "prepare", pictures, dataset, "--size", "8x8").code == 0
    trained = echelon("images", "train", dataset, "--run", run, "--pad", 0, "--max-steps", 1, "--batch-size", 30)
    assert trained.code == 0, trained.err

    listed = echelon("images", "features", run, dataset)
    assert listed.code == 0, listed.err
    shapes = {words[0]: " ".join(words[2:]) for words in map(str.split, listed.out.splitlines()) if len(words) > 2}
    assert shapes["net.10"] == "64"
    assert shapes["net.0"] == "32 × 8 × 8"

    # Raw files are prepared as for an evaluation, for as long as they are needed.
    written = echelon("images", "features", run, pictures, out, "--layer", "net.10", "--workers", 2)
    assert written.code == 0, written.err
    features = open_dataset(str(out))
    assert (features.rows("train"), features.rows("test")) == (90, 31)
    assert features.schema.column("features") == Column("features", "float32", (64,))
    assert {"row", "key", "label"} < set(features.schema.names)
    for arguments, told in (
        ((out, "--layer", "net.10"), "already a dataset"),
        ((out, "--layer", "10"), "no layer '10'; there are: net.10, "),
        (("--layer", "net.10"), "features RUN SRC OUT --layer net.10"),
        ((out, "--layer", "net.10", "--overwrite", "--precision", "fp8"), "--precision must be fp32 or bf16"),
    ):
        refused = echelon("images", "features", run, dataset, *arguments)
        assert refused.code == 1
        assert told in refused.err
