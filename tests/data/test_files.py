"""What a user means by a URL: a folder, a file, or a pattern."""

from __future__ import annotations

from pathlib import Path

import pytest

from echelon.data.files import files_at, is_hidden
from echelon.data.storage import open_storage

NAMES = ("a.json", "b.json.gz", "c d/e.json", "c d/f/g.json", "h(1).json")
PATTERNS = [
    ("", NAMES),
    ("a.json", ("a.json",)),
    ("c d/f", ("g.json",)),
    ("*.json", ("a.json", "h(1).json")),
    ("b*", ("b.json.gz",)),
    ("*/*.json", ("c d/e.json",)),
    ("c*", ("c d/e.json", "c d/f/g.json")),
    ("c d/*.json", ("e.json",)),
    ("**/g.json", ("c d/f/g.json",)),
    ("h(*).json", ("h(1).json",)),
    ("nothing*", ()),
]


@pytest.mark.parametrize(("pattern", "names"), PATTERNS)
def test_the_files_of_a_folder_a_name_or_a_pattern(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, names: tuple[str, ...]
) -> None:
    for name in NAMES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    monkeypatch.chdir(tmp_path)
    for url in (f"{tmp_path}/{pattern}", f"file://{tmp_path}/{pattern}", pattern or "."):
        storage, entries = files_at(url)
        assert tuple(entry.path for entry in entries) == names
        for entry in entries:
            assert storage.read(entry.path).decode().endswith(entry.path)
            assert entry.size == len(storage.read(entry.path))


def test_a_pattern_of_objects(s3: str) -> None:
    for name in NAMES:
        open_storage(f"{s3}/patterns").write(name, name.encode())
    for pattern, names in PATTERNS[3:]:
        assert tuple(entry.path for entry in files_at(f"{s3}/patterns/{pattern}")[1]) == names


@pytest.mark.parametrize(
    ("path", "hidden", "underlined"),
    [
        ("a/b.jsonl", False, False),
        (".a/b.jsonl", True, True),
        ("a/.b.jsonl", True, True),
        ("_SUCCESS", False, True),
        ("_temporary/0/part.json", False, True),
        ("a/_DSC0001.jpg", False, True),
        ("a_b/c.d_e", False, False),
    ],
)
def test_what_is_hidden(path, hidden, underlined):
    assert is_hidden(path) is hidden
    assert is_hidden(path, underlined=True) is underlined
