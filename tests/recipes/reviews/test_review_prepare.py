"""JSON lines to datasets, by a real Spark."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from review_oracle import expected, words_of

from echelon.data.commit import SCRATCH, start
from echelon.data.manifest import Dataset
from echelon.data.span import span_batches
from echelon.data.storage import open_storage
from echelon.errors import DataError
from echelon.recipes.reviews import RECIPE, sources
from echelon.recipes.reviews.cleaning import Cleaning
from echelon.recipes.reviews.made import amazon, made_reviews, write_lines, yelp
from echelon.recipes.reviews.options import Fitting, PrepareOptions
from echelon.recipes.reviews.prepare import prepare
from echelon.recipes.reviews.settings import TrainOptions
from echelon.recipes.reviews.vocabulary import Vocabulary
from echelon.train.config import RunConfig

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SMALL = PrepareOptions(classes=5, length=20, words=150, test_fraction=0.3)


def review(text: str, stars: float, product: str | None = None) -> str:
    return json.dumps({"asin": product, "reviewText": text, "overall": stars})


SAME = [
    review("Same words, twice!", 2, "P1"),
    review("same words (TWICE)", 5, "P2"),
    review("Same words twice", 5, "P1"),
    review("A tie", 4, "P3"),
    review("a tie.", 2),
    review("...", 1, "P1"),
    review("No product at all", 3),
    review("", 3),
]


def raw(folder: Path) -> list[tuple[str, str]]:
    """Three files, one of them zipped and one in another folder; their lines by key."""
    made = [json.dumps(amazon(one)) for one in made_reviews(900, products=30)]
    files = {"a.jsonl": made[:500], "b/c.json": [*SAME[:2], *made[500:700], *SAME[2:]], "d.jsonl.gz": made[690:]}
    for name, lines in files.items():
        write_lines(folder / name, lines)
    return [(f"{name}:{number}", line) for name in sorted(files) for number, line in enumerate(files[name], 1)]


def rows_of(dataset: Dataset) -> dict[str, tuple[str, list[int], int, int, str, str]]:
    """By key, which may occur once: split, ids, length, label, product and text."""
    rows: dict[str, tuple[str, list[int], int, int, str, str]] = {}
    for split in dataset.splits:
        for batch in span_batches(dataset, split, None, 0, dataset.rows(split), 64):
            columns = [batch[name].tolist() for name in ("tokens", "length", "label")]
            texts = [batch.strings(name) for name in ("product", "text")]
            for key, *row in zip(batch.strings("key"), *columns, *texts, strict=True):
                assert key not in rows
                rows[key] = (split, *row)
    return rows


def vocabulary_of(dataset: Dataset) -> list[str]:
    return list(Vocabulary.from_asset(dataset.asset("words")).words)


def test_the_dataset_is_what_plain_python_makes_of_the_lines(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Traps: labels lost on the way, rows dropped, words of the test part in the vocabulary, a product on both sides,
    an order that is that of the files.
    """
    lines = raw(tmp_path / "raw")
    wanted = expected(lines, classes=5, length=20, words=150, test_fraction=0.3)
    monkeypatch.setattr(sources, "_LEAST_SPAN", 20_000)
    dataset = prepare(spark, str(tmp_path / "raw"), str(tmp_path / "one"), SMALL)
    found = rows_of(dataset)
    assert vocabulary_of(dataset) == wanted.words
    assert found == wanted.rows
    info = dataset.info
    assert (info["lines"], info["empty"], info["duplicates"]) == (len(lines), wanted.empty, wanted.duplicates)
    assert (info["malformed"], info["damaged"], info["problems"]["count"]) == (0, [], 0)
    for split, counts in info["counts"].items():
        labels = [row[3] for row in found.values() if row[0] == split]
        assert list(counts.values()) == [labels.count(label) for label in range(5)]
    of_product = {(row[4], row[0]) for row in found.values() if row[4]}
    assert len(of_product) == len({product for product, _ in of_product})
    assert len({split for _, split in of_product}) == 2
    order = [key for key in found if key.startswith("a.jsonl") and found[key][0] == "train"]
    assert order != sorted(order, key=lambda key: int(key.split(":")[1]))
    assert not list((tmp_path / "one").glob("_scratch*"))

    monkeypatch.setattr(sources, "_LEAST_SPAN", 1 << 30)
    again = prepare(spark, str(tmp_path / "raw"), str(tmp_path / "two"), SMALL)
    assert again.digest == dataset.digest, "the same lines in other tasks"


def test_equal_texts_are_one_row_with_the_rating_that_most_gave(spark: SparkSession, tmp_path: Path) -> None:
    made = [json.dumps(amazon(one)) for one in made_reviews(50)]
    write_lines(tmp_path / "x.jsonl", [*SAME, *made])
    killed = open_storage(str(tmp_path / "data"))
    start(killed)
    killed.write(f"{SCRATCH}/split=train/part-00000.parquet", b"what a killed prepare left")
    dataset = prepare(spark, str(tmp_path / "x.jsonl"), str(tmp_path / "data"), SMALL)
    found = rows_of(dataset)
    assert found["x.jsonl:1"][3:] == (4, "P1", "Same words, twice!")
    assert found["x.jsonl:4"][3] == 1, "of as many the lower one"
    assert {f"x.jsonl:{number}" for number in (2, 3, 5, 6, 8)}.isdisjoint(found)
    assert (dataset.info["duplicates"], dataset.info["empty"]) == (3, 2)
    assert not killed.list(SCRATCH)


def test_bad_lines_are_counted_named_and_left_out_and_too_many_stop_the_job(
    spark: SparkSession, tmp_path: Path
) -> None:
    """Trap: a bare except that hides bad files."""
    lines = [json.dumps(yelp(one)) for one in made_reviews(200)]
    lines[3], lines[40] = '{"text": "cut', '{"text": null, "stars": 3, "business_id": "b"}'
    write_lines(tmp_path / "raw" / "a.jsonl", lines)
    write_lines(tmp_path / "raw" / "b.jsonl.gz", [json.dumps(yelp(one)) for one in made_reviews(3000, seed=1)])
    zipped = (tmp_path / "raw" / "b.jsonl.gz").read_bytes()
    (tmp_path / "raw" / "b.jsonl.gz").write_bytes(zipped[: len(zipped) // 2])
    dataset = prepare(spark, str(tmp_path / "raw"), str(tmp_path / "data"), PrepareOptions(words=100))
    info = dataset.info
    assert info["damaged"] == ["b.jsonl.gz"]
    assert info["malformed"] == 2
    assert 1000 < info["lines"] < 2200
    reasons = dict(info["problems"]["first"])
    assert info["problems"]["count"] == len(reasons) == 3
    assert "not JSON" in reasons["a.jsonl:4"]
    assert "'text' is missing" in reasons["a.jsonl:41"]
    assert "ends too early" in reasons["b.jsonl.gz"]
    rows = sum(dataset.rows(split) for split in dataset.splits)
    assert rows == info["lines"] - 2 - info["empty"] - info["duplicates"]
    assert info["fields"] == {"text": "text", "rating": "stars", "product": "business_id"}
    with pytest.raises(DataError, match=r"2 of \d+ lines .* are malformed, .*a\.jsonl:4: it is not JSON"):
        prepare(spark, str(tmp_path / "raw"), str(tmp_path / "none"), PrepareOptions(max_malformed=0.0001))


def test_a_split_that_is_given_stays_and_what_is_tested_on_is_not_trained_on(
    spark: SparkSession, tmp_path: Path
) -> None:
    made = [json.dumps(amazon(one)) for one in made_reviews(300)]
    write_lines(tmp_path / "train" / "a.jsonl", made[:200])
    write_lines(tmp_path / "test" / "b.jsonl", [*made[200:], *made[:5]])
    dataset = prepare(spark, str(tmp_path), str(tmp_path / "data"), PrepareOptions(length=30))
    assert {split: dataset.rows(split) for split in dataset.splits} == {"test": 105, "train": 195}
    counted: set[str] = {word for line in made[5:200] for word in words_of(json.loads(line)["reviewText"])[:30]}
    assert set(vocabulary_of(dataset)) == counted


def test_reviews_for_a_model_get_its_words_and_are_all_there_in_their_order(
    spark: SparkSession, tmp_path: Path
) -> None:
    """Trap: a test on a part of the test set; also what cannot be measured has a prediction."""
    lines: list[dict[str, Any]] = [
        {"text": "the dress is NOT good", "stars": 1},
        {"text": "good", "stars": 5},
        {"text": "good", "stars": 4},
        {"text": "?!"},
        {"text": "unknown words"},
    ]
    write_lines(tmp_path / "x.jsonl.gz", [json.dumps(line) for line in lines])
    fitting = Fitting(("good", "not"), 3, ("negative", "positive"), Cleaning(stop_words=True))
    options = PrepareOptions(classes=5, length=100, rating_field="stars")
    dataset = prepare(spark, str(tmp_path / "x.jsonl.gz"), str(tmp_path / "data"), options, fitting=fitting)
    assert dataset.splits == ("test",)
    (batch,) = span_batches(dataset, "test", None, 0, 5, 10)
    assert batch["tokens"].tolist() == [[2, 4, 3], [3, 1, 1], [3, 1, 1], [2, 1, 1], [2, 2, 1]]
    assert batch["length"].tolist() == [3, 1, 1, 1, 2]
    assert batch["label"].tolist() == [0, 1, 1, -1, -1]
    assert batch.strings("key") == [f"x.jsonl.gz:{number}" for number in range(1, 6)]
    assert batch.strings("text") == [line["text"] for line in lines]
    assert dataset.info["counts"] == {"test": {"negative": 1, "positive": 2}}
    assert (dataset.info["unlabelled"], dataset.info["empty"]) == (2, 1)
    assert dataset.info["cleaning"] == {"stop_words": True, "negations": False}
    assert vocabulary_of(dataset) == ["good", "not"]


def test_a_model_finds_reviews_in_the_fields_of_those_that_it_was_trained_on(
    spark: SparkSession, tmp_path: Path
) -> None:
    """Commands that use a run have no flags for the names of fields."""
    lines = [{"said": review.text, "score": review.stars, "shop": "s", "text": "?"} for review in made_reviews(60)]
    write_lines(tmp_path / "x.jsonl", lines)
    named = PrepareOptions(text_field="said", rating_field="score", product_field="none", test_fraction=0.2)
    trained_on = prepare(spark, str(tmp_path / "x.jsonl"), str(tmp_path / "one"), named)
    learner = RECIPE.learner(trained_on, TrainOptions(), RunConfig(epochs=1, batch_size=20).resolved(1))
    dataset = RECIPE.prepare(
        spark, str(tmp_path / "x.jsonl"), str(tmp_path / "two"), PrepareOptions(), fitting=learner, overwrite=False
    )
    (batch,) = span_batches(dataset, "test", None, 0, 60, 60)
    assert batch.strings("text") == [line["said"] for line in lines]
    assert batch["label"].tolist() == [int(line["score"] > 3) for line in lines]
    write_lines(tmp_path / "y.jsonl", [{"body": "good"}])
    with pytest.raises(DataError, match=r"none of the fields said, reviewText, .* which have body: give lines"):
        RECIPE.prepare(
            spark,
            str(tmp_path / "y.jsonl"),
            str(tmp_path / "three"),
            PrepareOptions(),
            fitting=learner,
            overwrite=False,
        )


@pytest.mark.parametrize(
    ("content", "options", "reason"),
    [
        ([{"review": "a", "score": 1}], {}, "none of the fields reviewText, text, review_body .* have review, score"),
        ([{"text": "a", "stars": 1}], {"text_field": "body"}, "no field 'body' .* --text-field"),
        ([{"text": "a", "stars": 1}], {"product_field": "shop"}, "no field 'shop' .* --product-field"),
        ([["text", "a"]], {}, "none of the first lines .* is a JSON object"),
    ],
)
def test_fields_that_are_not_there_are_told_before_anything_is_read(
    spark: SparkSession, tmp_path: Path, content: list[Any], options: dict[str, str], reason: str
) -> None:
    write_lines(tmp_path / "x.jsonl", [json.dumps(line) for line in content])
    with pytest.raises(DataError, match=reason):
        prepare(spark, str(tmp_path / "x.jsonl"), str(tmp_path / "data"), PrepareOptions(**options))
    assert not (tmp_path / "data").exists()


def test_a_folder_without_reviews_says_what_is_supported(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("nice")
    (tmp_path / "empty.jsonl.gz").write_bytes(b"")
    with gzip.open(tmp_path / ".hidden.jsonl.gz", "wt") as file:
        file.write("{}")
    with pytest.raises(DataError, match=r"no reviews were found .* 3 files, .* Supported is JSON lines"):
        prepare(spark, str(tmp_path), str(tmp_path / "data"), PrepareOptions())


@pytest.mark.slow
def test_real_reviews_are_all_there(spark: SparkSession, shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "reviews" / "clothing_reviews.jsonl"
    dataset = prepare(spark, str(source), str(tmp_path / "data"), PrepareOptions())
    with open(source, encoding="utf-8") as file:
        lines = {f"{source.name}:{number}": json.loads(line) for number, line in enumerate(file, 1)}
    texts = {tuple(words_of(line["text"])) for line in lines.values()} - {()}
    rows = rows_of(dataset)
    assert len(rows) == len(texts)
    assert dataset.info["lines"] == len(lines)
    words = vocabulary_of(dataset)
    for key, (_, ids, length, label, product, text) in rows.items():
        assert (text, product) == (lines[key]["text"], lines[key]["product_id"])
        told = words_of(text)[:100]
        assert length == len(told)
        assert all(words[number - 3] == word for number, word in zip(ids, told) if number > 2)
        assert label == int(lines[key]["stars"] > 3) or dataset.info["duplicates"]
