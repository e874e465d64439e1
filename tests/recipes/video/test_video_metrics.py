"""GAP@20, mAP, Hit@1 and PERR against the public code of the challenge, written plainly, and against cases by hand."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from itertools import permutations

import numpy as np
import pytest
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import MultilabelAveragePrecision

from echelon.recipes.video.metrics.average_precision import average_precision
from echelon.recipes.video.metrics.names import GAP, HIT, MAP, PERR
from echelon.recipes.video.metrics.per_video import HitAtOne, PrecisionAtEqualRecall
from echelon.recipes.video.metrics.precision import GlobalAveragePrecision, MeanAveragePrecision, PrecisionPerLabel
from echelon.recipes.video.metrics.prior import label_prior
from echelon.recipes.video.metrics.ranking import top
from echelon.train.metrics import compute_merged, states_to_bytes

Ranking = Sequence[tuple[float, bool]]


def plain_average_precision(ranking: Ranking, positives: int) -> float:
    """`ap_at_n` of the public code, without its shuffle: of equal scores the first in the list comes first."""
    found, total = 0, 0.0
    for place, (_, hit) in enumerate(sorted(ranking, key=lambda one: -one[0]), 1):
        if hit:
            found += 1
            total += found / place
    return total / positives


def over_all_orders(ranking: Ranking, positives: int) -> float:
    """What that gives on average when the items are shuffled first."""
    each = [plain_average_precision(order, positives) for order in permutations(ranking)]
    return sum(each) / len(each)


def plain_top(scores: Sequence[float], count: int) -> list[int]:
    return sorted(range(len(scores)), key=lambda place: (-scores[place], place))[:count]


def plain_gap(scores: np.ndarray, targets: np.ndarray) -> float:
    pairs = [(row[i], bool(true[i])) for row, true in zip(scores, targets, strict=True) for i in plain_top(row, 20)]
    return plain_average_precision(pairs, int(targets.sum()))


def plain_map(scores: np.ndarray, targets: np.ndarray) -> float:
    each = [
        plain_average_precision(
            list(zip(scores[:, c], targets[:, c].astype(bool), strict=True)), int(targets[:, c].sum())
        )
        for c in range(scores.shape[1])
        if targets[:, c].any()
    ]
    return sum(each) / len(each)


def plain_hit(scores: np.ndarray, targets: np.ndarray) -> float:
    return float(np.mean([true[plain_top(row, 1)[0]] for row, true in zip(scores, targets, strict=True)]))


def plain_perr(scores: np.ndarray, targets: np.ndarray) -> float:
    """`calculate_precision_at_equal_recall_rate` of the public code."""
    total = 0.0
    for row, true in zip(scores, targets, strict=True):
        labels = int(true.sum())
        if labels:
            total += sum(true[i] for i in plain_top(row, labels)) / labels
    return total / len(scores)


PLAIN = {GAP: plain_gap, MAP: plain_map, HIT: plain_hit, PERR: plain_perr}


def metrics() -> dict[str, Metric]:
    return {
        GAP: GlobalAveragePrecision(), MAP: MeanAveragePrecision(), HIT: HitAtOne(), PERR: PrecisionAtEqualRecall(),
    }  # fmt: skip


def videos(count: int, labels: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores without ties, float32, and targets; some videos have no label and some labels no video."""
    rng = np.random.default_rng(seed)
    targets = (rng.random((count, labels)) < rng.permutation(np.resize([0.3, 0, 0.02], labels))).astype(np.float32)
    targets[0, 0] = 1
    distinct = (rng.permutation(count * labels).reshape(count, labels) + 0.5) / (count * labels)
    return (0.6 * distinct + 0.3 * targets * rng.random(targets.shape)).astype(np.float32), targets


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("labels", [1, 7, 20, 33], ids=lambda labels: f"{labels} labels")
def test_metrics_are_those_of_the_public_code_in_batches_and_merged(name: str, labels: int) -> None:
    scores, targets = videos(60, labels, seed=labels)
    parts, metric = [], metrics()[name]
    for rows in (range(1), range(1, 37), range(37, 60)):
        one = metrics()[name]
        for some in (metric, one):
            some.update(torch.from_numpy(scores[rows]), torch.from_numpy(targets[rows]))
        parts.append(states_to_bytes({name: one}))
    expected = PLAIN[name](scores, targets)
    assert 0 < expected < 1 or labels == 1
    assert float(metric.compute()) == pytest.approx(expected, rel=1e-6)
    for order in (parts, parts[::-1]):
        assert compute_merged({name: metrics()[name]}, order)[name] == pytest.approx(expected, rel=1e-6)


def test_map_is_that_of_torchmetrics_where_nothing_is_tied() -> None:
    scores, targets = videos(200, 9, seed=3)
    metric = MeanAveragePrecision()
    metric.update(torch.from_numpy(scores), torch.from_numpy(targets))
    occurring = targets.any(0)
    theirs = MultilabelAveragePrecision(int(occurring.sum()), average="macro")
    expected = theirs(torch.from_numpy(scores[:, occurring]), torch.from_numpy(targets[:, occurring]).long())
    assert float(metric.compute()) == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize("seed", range(12))
def test_tied_items_come_in_every_order_alike(seed: int) -> None:
    draw = random.Random(seed)
    ranking = [(draw.choice([0.1, 0.5, 0.9]), draw.random() < 0.5) for _ in range(6)] + [(0.5, True)]
    hits = [hit for _, hit in ranking]
    positives = sum(hits) + draw.randrange(3)
    found = average_precision(torch.tensor([score for score, _ in ranking]), torch.tensor(hits), positives)
    assert found == pytest.approx(over_all_orders(ranking, positives), rel=1e-12)


def test_a_large_tie_is_exact() -> None:
    """Against the sum over places, which the closed form replaces."""
    ahead, size, hits = 1000, 300_000, 7_000
    chance = hits / size
    b = (hits - 1) / (size - 1)
    expected = sum(chance * (1 + i * b) / (ahead + i + 1) for i in range(size)) / hits
    scores = torch.cat([torch.ones(ahead), torch.zeros(size)])
    true = torch.zeros(ahead + size, dtype=torch.bool)
    true[ahead : ahead + hits] = True
    assert average_precision(scores, true, hits) == pytest.approx(expected, rel=1e-9)


CASES = {
    # scores, targets, and GAP, mAP, Hit@1, PERR by hand
    "all right": ([[0.9, 0.1], [0.2, 0.8]], [[1, 0], [0, 1]], (1, 1, 1, 1)),
    "all wrong": ([[0.9, 0.1], [0.2, 0.8]], [[0, 1], [1, 0]], ((1 / 3 + 2 / 4) / 2, 1 / 2, 0, 0)),
    "no labels": ([[0.9, 0.1]], [[0, 0]], (math.nan, math.nan, 0, 0)),
    "a video without labels among others": ([[0.9, 0.1], [0.8, 0.2]], [[0, 0], [1, 0]], (1 / 2, 1 / 2, 1 / 2, 1 / 2)),
    "one label": ([[0.3], [0.6]], [[1], [1]], (1, 1, 1, 1)),
    "every label": ([[0.3, 0.6, 0.5]], [[1, 1, 1]], (1, 1, 1, 1)),
    "all tied: the first label is the answer": ([[0.5, 0.5]], [[0, 1]], ((1 + 1 / 2) / 2, 1, 0, 0)),
}


@pytest.mark.parametrize("case", CASES)
def test_cases_by_hand(case: str) -> None:
    scores, targets, expected = CASES[case]
    for (name, metric), value in zip(metrics().items(), expected, strict=True):
        metric.update(torch.tensor(scores), torch.tensor(targets, dtype=torch.float32))
        assert float(metric.compute()) == pytest.approx(value, nan_ok=True), name


def test_true_labels_beyond_the_twentieth_lower_gap() -> None:
    scores = torch.arange(30, 0, -1).float()[None] / 31
    targets = torch.zeros(1, 30)
    targets[0, [0, 25]] = 1
    metric = GlobalAveragePrecision()
    metric.update(scores, targets)
    assert float(metric.compute()) == pytest.approx(1 / 2)


@pytest.mark.filterwarnings("ignore:The ``compute`` method of metric")
def test_of_no_videos_nothing_is_said() -> None:
    found = compute_merged(metrics(), [states_to_bytes(metrics()), states_to_bytes(metrics())])
    assert all(math.isnan(value) for value in found.values())
    assert not len(PrecisionPerLabel().compute())


def test_the_figure_of_each_label() -> None:
    metric = PrecisionPerLabel()
    metric.update(torch.tensor([[0.9, 0.9, 0.1], [0.8, 0.1, 0.2]]), torch.tensor([[1.0, 0, 0], [0, 1, 0]]))
    assert metric.compute().tolist() == pytest.approx([1, 1 / 2, math.nan], nan_ok=True)


@pytest.mark.parametrize("count", [1, 3, 20, 50])
def test_equal_scores_of_a_video_keep_the_order_of_the_labels(count: int) -> None:
    rng = np.random.default_rng(count)
    scores = rng.integers(0, 4, (40, 33)).astype(np.float32)
    values, places = top(torch.from_numpy(scores), count)
    assert places.tolist() == [plain_top(row, count) for row in scores]
    assert torch.equal(values, torch.from_numpy(scores).gather(1, places))


@pytest.mark.parametrize("labels", [3, 20, 31])
def test_the_label_prior_is_what_the_metrics_say_of_it(labels: int) -> None:
    _, targets = videos(50, labels, seed=labels)
    rng = np.random.default_rng(labels)
    frequencies = sorted(rng.integers(1, 12, labels).tolist(), reverse=True)
    assert labels < 20 or len(set(frequencies)) < labels, "some labels are equally frequent"
    batches: list[Tensor] = [torch.from_numpy(targets[:17]), torch.from_numpy(targets[17:])]
    same = torch.tensor(frequencies, dtype=torch.float32).expand(50, -1)
    expected = {}
    for name, metric in metrics().items():
        metric.update(same, torch.from_numpy(targets))
        expected[name] = float(metric.compute())
    assert label_prior(frequencies, batches) == pytest.approx(expected, rel=1e-6)
