"""A user's own recipe, by the commands of docs/recipes.md and from a folder of the user's."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sklearn.datasets import load_wine

from echelon.data.manifest import open_dataset
from echelon.data.span import span_batches
from echelon.data.storage import open_storage
from echelon.errors import DataError, EchelonError
from echelon.recipes import find_recipe, short_name

PROJECT = Path(__file__).resolve().parents[2]
EXAMPLE = PROJECT / "examples" / "tables.py"
PAGE = (PROJECT / "docs" / "recipes.md").read_text()
BROKEN = [["12.0", "", "Anna"], ["1", "2"], [*["nan"] * 13, "Anna"], [*["1"] * 13, ""]]

# One process for all commands, as they would follow each other in a script: Spark and torch start once. The script is
# not in the folder of the recipe, so that what finds the recipe is the current folder.
SCRIPT = """
import sys
from echelon.cli import app
for command in eval(sys.argv[1]):
    sys.argv = ["echelon", *command]
    app.build(command)(command, standalone_mode=False)
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A user's folder: the recipe, and 178 wines in two files with four broken rows."""
    folder = tmp_path / "home"
    (folder / "wines").mkdir(parents=True)
    shutil.copy(EXAMPLE, folder)
    wine = load_wine()
    rows = [[*row, ["Anna", "Bela", "Carl"][number]] for row, number in zip(wine.data, wine.target, strict=True)]
    for name, part in (("a.csv", rows[::2]), ("b.csv", [*rows[1::2], *BROKEN])):
        with (folder / "wines" / name).open("w", newline="") as file:
            csv.writer(file).writerows([[*wine.feature_names, "grower"], *part])
    return folder


def run(home: Path, commands: list[list[str]]) -> subprocess.CompletedProcess[str]:
    script = home.parent / "script.py"
    script.write_text(SCRIPT)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, str(script), repr(commands)],
        cwd=home, env={**environment, "COLUMNS": "200"}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def keys(folder: Path) -> list[str]:
    dataset = open_dataset(str(folder))
    return [
        key
        for split in dataset.splits
        for batch in span_batches(dataset, split, ("key",), 0, dataset.rows(split), 1000)
        for key in batch.strings("key")
    ]


@pytest.mark.slow
@pytest.mark.timeout(320)
def test_the_commands_of_the_page_go_from_tables_to_predictions(home: Path) -> None:
    (block,) = blocks("console")
    commands = [shlex.split(line)[1:] for line in block.splitlines()]
    assert [command[1] for command in commands[:-1]] == ["columns", "prepare", "train", "evaluate", "predict"]

    done = run(home, commands)

    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    assert "a.csv: alcohol, malic_acid" in done.stdout
    dataset = open_dataset(str(home / "dataset"))
    assert sum(dataset.rows(split) for split in dataset.splits) == 178
    assert 0.2 < dataset.rows("test") / 178 < 0.4
    assert dataset.info["problems"]["count"] == len(BROKEN)
    assert "4 left out" in done.stderr
    for number in range(91, 95):
        assert f"b.csv:{number}: " in done.stderr, "each broken row is named by its line"
    asked = json.loads((home / "runs" / "wine" / "config.json").read_text())
    assert (asked["recipe"], asked["learner"]["type"]) == ("tables:RECIPE", "tables:TableLearner")
    assert (asked["learner"]["fields"]["hidden"], asked["workers"]) == (16, 2)
    results = json.loads((home / "runs" / "wine" / "results.json").read_text())
    assert results["metrics"]["accuracy"] > 0.85 > results["baseline"]["accuracy"] + 0.3
    assert f"{results['metrics']['accuracy']:.4f}" in done.stdout, "evaluate says what training said last"
    unlabelled = f"b.csv:{91 + len(BROKEN) - 1}"
    wanted = [*keys(home / "dataset"), unlabelled]
    assert sorted(keys(home / "predictions")) == sorted(wanted), "every good row once; a prediction needs no class"
    assert (home / "runs" / "wine" / "report.html").exists()

    (home / "new").mkdir()
    with (home / "wines" / "a.csv").open(newline="") as file, (home / "new" / "c.csv").open("w", newline="") as new:
        csv.writer(new).writerows(row[:-1] for row in csv.reader(file))
    done = run(home, [["tables:RECIPE", verb, "runs/wine", *rest]
                      for verb, *rest in (("predict", "new", "news"), ("evaluate", "new"))])  # fmt: skip
    assert len(keys(home / "news")) == 89, done.stderr[-4000:]
    assert "89 of 89 rows to measure on have no class in the column 'grower'" in done.stderr

    config = home / "runs" / "wine" / "config.json"
    config.write_text(config.read_text().replace("tables:RECIPE", "gone:RECIPE"))
    done = run(home, [["report", "runs/wine", "--out", "alone.html"]])
    assert done.returncode == 0, done.stderr
    assert "the report has no sample predictions: the recipe gone:RECIPE cannot be imported" in done.stderr
    assert (home / "alone.html").exists()


def test_every_piece_of_code_on_the_page_is_in_the_example() -> None:
    code = EXAMPLE.read_text()
    shown = blocks("python")
    assert len(shown) >= 8
    for block in shown:
        assert block in code, f"this is not in {EXAMPLE.name}:\n{block}"


def test_a_recipe_is_found_in_the_current_folder_and_nothing_else_is_taken_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_recipe_parts.py").write_text(
        "from echelon.recipes.images import ImagesRecipe\nRECIPE = ImagesRecipe()\nnumber = 3\n"
    )
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    with pytest.raises(EchelonError, match="cannot be imported: No module named 'own_recipe_parts'"):
        find_recipe("own_recipe_parts:RECIPE")
    monkeypatch.chdir(tmp_path)
    assert find_recipe("own_recipe_parts:RECIPE") is sys.modules["own_recipe_parts"].RECIPE
    for name, told in (
        ("number", "number is a int, not a Recipe"),
        ("absent", "cannot be imported"),
        ("ImagesRecipe", r"is a class: write RECIPE = ImagesRecipe\(\) below it"),
    ):
        with pytest.raises(EchelonError, match=told):
            find_recipe(f"own_recipe_parts:{name}")
    with pytest.raises(EchelonError, match="there is no recipe 'own'; there are: images"):
        find_recipe("own")


def test_runs_are_called_by_the_module() -> None:
    assert [short_name(name) for name in ("images", "tables:RECIPE", "my.own.tables:RECIPE")] == [
        "images",
        "tables",
        "tables",
    ]


def test_cells_with_line_breaks_are_whole_and_rows_named_by_their_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLE.parent))
    from tables import require, table

    text = '\ufeffa,label\n1,"x\r\ny"\n2,p\u2028q\n3,z\n'
    (tmp_path / "t.csv").write_bytes(text.encode())
    rows = table(open_storage(str(tmp_path)), "t.csv")
    found = [(row["a"], row["label"], rows.line_num) for row in rows]
    assert found == [("1", "x\r\ny", 3), ("2", "p\u2028q", 4), ("3", "z", 5)]
    with pytest.raises(DataError, match=r"t\.csv has no column grower, but a, label: "):
        require(rows, "t.csv", ("grower",))


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("import json\njson.loads(None).x\n", r"TypeError: .*json"),
        ("RECIPE = undefined\n", r"NameError: name 'undefined' is not defined \(.*faulty_recipe.py:1\)"),
        ("x = None\nRECIPE = x.y\n", r"AttributeError: .*faulty_recipe.py:2\)"),
        ("RECIPE = (\n", r"SyntaxError: .*faulty_recipe.py, line 1"),
        ("import absent_module_of_it\n", r"ModuleNotFoundError: No module named 'absent_.*faulty_recipe.py:1\)"),
    ],
)
def test_an_error_in_the_module_of_a_recipe_is_told_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, told: str
) -> None:
    (tmp_path / "faulty_recipe.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(EchelonError, match=f"the recipe faulty_recipe:RECIPE cannot be imported: {told}") as caught:
        find_recipe("faulty_recipe:RECIPE")
    assert caught.value.__cause__ is not None, "the traceback can be had"
