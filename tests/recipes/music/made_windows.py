"""Datasets of music as `prepare` writes them, of codes that are made here, without sound and without Spark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echelon.data.manifest import Dataset
from echelon.data.write import write_dataset
from echelon.recipes.music.columns import CODE_COUNTS, PAIR_COUNTS, schema_of
from echelon.recipes.music.mulaw import CODES, SILENCE, encode

Codes = NDArray[np.uint8]


def tones(songs: int, length: int, rate: int = 8000, seed: int = 0) -> list[Codes]:
    """Songs of one tone with some noise: the code before does not tell whether it rises or falls, the two before do."""
    random = np.random.default_rng(seed)
    made = []
    for _ in range(songs):
        pitch, phase = random.uniform(200, 400), random.uniform(0, 2 * np.pi)
        sound = 0.8 * np.sin(2 * np.pi * pitch * np.arange(length) / rate + phase)
        made.append(encode((sound + random.normal(0, 0.003, length)).astype(np.float32)))
    return made


def noise(songs: int, length: int, seed: int = 0, codes: int = CODES) -> list[Codes]:
    """Songs in which every code is drawn anew. codes: how many there are to draw from, which lie far apart."""
    random, step = np.random.default_rng(seed), CODES // codes
    return [(random.integers(0, codes, length) * step + step // 2).astype(np.uint8) for _ in range(songs)]


def echoes(songs: int, length: int, seed: int = 0, codes: int = 8, lag: int = 3, fresh: float = 0.05) -> list[Codes]:
    """Songs in which each code is the one so many before it, but for some that are drawn anew: of the code right before
    it nothing is to be learned.
    """
    made = noise(songs, length, seed, codes)
    random = np.random.default_rng(seed + 1)
    for song in made:
        for place in np.flatnonzero(random.uniform(size=length) >= fresh):
            if place >= lag:
                song[place] = song[place - lag]
    return made


def pairs_by_hand(songs: Sequence[Codes]) -> NDArray[np.int64]:
    """How often each code follows each other one in whole songs, each of which silence precedes, int64 [256, 256]."""
    counts = np.zeros((CODES, CODES), np.int64)
    for song in songs:
        before = SILENCE
        for code in song.tolist():
            counts[before, code] += 1
            before = code
    return counts


def music_dataset(
    folder: Path,
    splits: Mapping[str, Sequence[Codes]],
    *,
    window: int = 100,
    context: int = 32,
    rate: int = 8000,
    normalised: bool = True,
) -> Dataset:
    """Songs cut into windows."""
    rows: dict[str, list[dict[str, list[object]]]] = {}
    for split, songs in splits.items():
        columns: dict[str, list[object]] = {name: [] for name in schema_of().names}
        for number, song in enumerate(songs):
            for offset in range(0, len(song), window):
                before, name = min(context, offset), f"{split}{number}.wav"
                values = (song[offset - before : offset + window], before, name, offset, f"{name}@{offset}")
                for column, value in zip(schema_of().names, values, strict=True):
                    columns[column].append(value)
        rows[split] = [columns]
    pairs = pairs_by_hand(splits.get("train", []))
    info = {
        "recipe": "music",
        "rate": rate,
        "window": window,
        "context": context,
        "normalised": normalised,
        "counts": {split: len(columns["context"]) for split, (columns,) in rows.items()},
    }
    assets = {PAIR_COUNTS: pairs, CODE_COUNTS: pairs.sum(0)}
    return write_dataset(str(folder), schema_of(), rows, info=info, assets=assets, row_group_mb=0.05)
