"""The page of one run: whole, escaped, and sensible whatever state the run is in."""

from __future__ import annotations

import base64
import io
import os
import re
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from matplotlib.image import imread
from pages import checked, text_of
from stories import Story, WriteRun

from echelon.report.exhibits import ConfusionMatrix, Exhibit, Figures, Gallery, Passages, Sample
from echelon.report.history import AXES
from echelon.report.index import find_runs, runs
from echelon.report.page import run_page
from echelon.report.recorded import read_run
from echelon.report.render import write_page
from echelon.report.summary import figures
from echelon.report.tables import exhibit_table
from echelon.train.progress import Progress
from echelon.train.results import FAILED, RUNNING
from echelon.train.run import REPORT


def page_of(url: str, *exhibits: Exhibit) -> str:
    return checked(run_page(read_run(url), exhibits))


def test_a_finished_run_with_samples(finished: WriteRun) -> None:
    image = np.random.default_rng(0).integers(0, 256, (3, 8, 9), dtype=np.uint8)
    right, wrong = Sample(image, {"predicted": "cat<"}, True), Sample(image[:1], {}, False)
    page = page_of(finished(), Gallery("Some images", [right, wrong, Sample(None, {"text": "a & b"})]))
    assert re.search(r'class="figure">\s*0\.6785', page)
    assert "this run beats it" in page
    assert "0.2500" in page
    assert "did 5 epochs" in page
    assert re.search(r"<dt>rows per second</dt><dd>625<", page)
    assert "AllReduce" in page
    assert page.count('<svg class="plot"') == 4 * len(AXES)
    assert "Recoveries" not in page
    pictures = [base64.b64decode(code) for code in re.findall(r"data:image/png;base64,([^\"]+)", page)]
    assert len(pictures) == 2
    decoded = imread(io.BytesIO(pictures[0]))
    assert np.array_equal((decoded[..., :3] * 255).round().astype(np.uint8).transpose(2, 0, 1), image)
    assert "cat&lt;" in page
    assert "a &amp; b" in page
    assert "1 of these 2 are right" in page


def test_a_recipe_exhibits_texts_a_matrix_and_figures(finished: WriteRun) -> None:
    matrix = ConfusionMatrix(["good <b>", "bad", "never"], [[1234, 1, 0], [3, 7, 0], [0, 0, 0]])
    text = Sample(fields={"said": "good (97 %)"}, correct=False, text="not <i>good</i>\nat all")
    page = page_of(
        finished(),
        matrix,
        Passages("The worst mistakes", "What it was surest of.", [text]),
        Figures("Classes", "", ("class", "rows", "recall"), [("good", 1235, 0.99919)]),
    )
    assert page.index("Confusion matrix") < page.index("The worst mistakes") < page.index("<h2>Classes</h2>")
    assert "What it was surest of." in page
    assert "not &lt;i&gt;good&lt;/i&gt;" in page
    cells = re.findall(r"<td[^>]*--share: ([\d.]+)\">([\d,]+)<small>([^<]+)</small>", page)
    assert cells[0] == ("0.999", "1,234", "99.9 %")
    assert cells[3:5] == [("0.300", "3", "30.0 %"), ("0.700", "7", "70.0 %")]
    assert [share for share, _, _ in cells[6:]] == ["0.000"] * 3, "a class without rows divides by nothing"
    assert "good &lt;b&gt;" in page
    assert re.search(r'<td class="num">1,235</td><td class="num">0.9992</td>', page)
    table = exhibit_table(matrix)
    assert table is not None
    assert ["good", "<b>", "1,234", "1", "0"] in [line.split() for line in text_of(table).splitlines()]
    assert exhibit_table(Gallery("Pictures", [])) is None


def test_a_long_list_is_cut(finished: WriteRun, tmp_path: Path) -> None:
    story = Story(f"{tmp_path}/wordy", classes=[f"class {i}" for i in range(10_000)])
    page = page_of(story.folder.url)
    assert "class 39, … and 9,960 more" in page
    assert "class 40," not in page


def test_a_recovery_is_explained_and_its_text_is_escaped(recovered: str) -> None:
    page = page_of(recovered)
    assert "on &lt;host&gt; was killed" in page
    assert "&lt;b&gt;ship &amp; crew&lt;/b&gt;" in page
    assert "<host>" not in page
    assert "<b>ship" not in page
    assert "checkpoints from which" in page


def test_a_failed_run_shows_its_cause(tmp_path: Path) -> None:
    story = Story(f"{tmp_path}/failed")
    story.attempt(0, 57, evaluate_every=0)
    story.finish(Progress(), FAILED, "the loss is nan after step 58: try a lower learning rate or --clip-norm")
    page = page_of(story.folder.url)
    assert "the loss is nan after step 58" in page
    assert "Nothing was evaluated" in page
    assert re.search(r"<dt>steps</dt><dd>50 of 400", page), "the events know more than the checkpoint: there is none"


def test_the_metrics_are_in_the_order_of_the_learner(tmp_path: Path) -> None:
    """The first of them is what the run is judged by, and results.json is sorted."""
    story = Story(f"{tmp_path}/ordered", metrics=("recall", "accuracy", "loss"))
    story.finish(story.attempt(0, story.steps))
    assert [figure.metric for figure in figures(read_run(story.folder.url))] == ["recall", "accuracy", "loss"]


def test_a_running_run_shows_its_newest_figures(tmp_path: Path) -> None:
    story = Story(f"{tmp_path}/running")
    story.attempt(0, 150)
    story.finish(Progress(), RUNNING)
    page = page_of(story.folder.url)
    assert re.search(r"<dt>steps</dt><dd>150 of 400", page)
    assert f"{story.accuracy(120):.4f}" in page


def test_a_run_that_never_began(tmp_path: Path) -> None:
    page = page_of(Story(f"{tmp_path}/asked").folder.url)
    assert "not started" in page
    assert "<svg" not in page


@pytest.mark.parametrize("target", ["report.html", "new folder/report.html"])
def test_a_page_is_one_file(tmp_path: Path, target: str) -> None:
    write_page("<p>ü</p>", tmp_path / target)
    assert (tmp_path / target).read_text(encoding="utf-8") == "<p>ü</p>"


def test_a_page_is_written_beside_a_run_in_an_object_store(s3: str) -> None:
    """Also where the URL names its endpoint, as the one of a run does."""
    endpoint = urlsplit(os.environ["AWS_ENDPOINT_URL"])
    url = f"{s3}/report/one run?endpoint_override={endpoint.netloc}&scheme={endpoint.scheme}"
    story = Story(url)
    story.finish(story.attempt(0, 80))
    write_page("<p>a page</p>", story.folder.storage.url_of(REPORT))
    assert story.folder.storage.read(REPORT) == b"<p>a page</p>"
    (found,) = find_runs(url.replace("/one run", ""))
    assert found.name == "one run"
    assert found.results["steps"] == 80
    text = text_of(runs(f"{s3}/report"))
    assert any(line.split()[:3] == ["one", "run", "finished"] for line in text.splitlines())
