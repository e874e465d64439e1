"""A recurrent network over texts on two workers of unequal speed: rows are dealt again, and their order stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gang import train
from oracle import plans
from review_learner import NotedReviews

from echelon.data.manifest import Dataset
from echelon.data.write import write_dataset
from echelon.recipes.reviews.columns import PAD, schema_of
from echelon.train.config import RunConfig

ROWS, LENGTH, IDS, LANES, FACTOR = 480, 60, 50, 24, 3
CONFIG = RunConfig(
    epochs=8, batch_size=96, lanes=LANES, seed=1, prefetch=2, eval_every="off", checkpoint_every="off",
    fault=f"slow:1x{FACTOR}", balance="10steps", step_deadline=30,
)  # fmt: skip


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    random = np.random.default_rng(0)
    lengths = random.integers(1, LENGTH + 1, ROWS)
    tokens = random.integers(2, IDS, (ROWS, LENGTH)).astype(np.uint16)
    tokens[np.arange(LENGTH) >= lengths[:, None]] = PAD
    rows = {"tokens": tokens, "length": lengths, "label": (tokens[:, 0] > 25).astype(np.int64)}
    rows["key"] = [f"reviews:{i}" for i in range(ROWS)]
    url = str(tmp_path_factory.mktemp("reviews") / "dataset")
    return write_dataset(url, schema_of(LENGTH, IDS, text=False), {"train": [rows]}, row_group_mb=0.01)


def test_the_slow_worker_reads_fewer_reviews_and_every_batch_stays(tmp_path: Path, reviews: Dataset) -> None:
    learner = NotedReviews(
        classes=["negative", "positive"], words=[], ids=IDS, length=LENGTH, cleaning={}, total_steps=40,
        counts=[ROWS, ROWS], embedding=16, hidden=16, dense=8,
    )  # fmt: skip
    training = train(tmp_path, reviews, learner, CONFIG)
    first, *_, final = training.events("balance")
    assert first["lanes"] == [LANES // 2, LANES // 2]
    assert final["next_lanes"][1] < LANES // 2, "the slow worker has given some of its lanes away"
    rows = [len(step) for step in training.rows_of(1)]
    assert rows[0] == 48
    assert rows[-1] < 48
    expected = [sorted(plan.read(range(LANES), step, step + 1).rows.tolist())
                for plan, step in plans(reviews, training.job.config)]  # fmt: skip
    assert [sorted(step.rows) for step in training.steps()] == expected
