"""What is drawn is what was told."""

from __future__ import annotations

import numpy as np
import pytest
from stories import WriteRun

from echelon.report import format
from echelon.report.history import AXES, Axis, Curve, History, Point
from echelon.report.palette import DARK, LIGHT
from echelon.report.panels import panels
from echelon.report.plots import MOST_POINTS, Line, Look, Reference, inline_svg, line_figure
from echelon.report.recorded import read_run
from echelon.train.run import RunFolder

KEYS: dict[Axis, str] = {"steps": "step", "seconds": "seconds", "epochs": "epoch", "bytes": "bytes_sent"}


@pytest.mark.parametrize("axis", AXES)
def test_the_lines_of_a_run_are_its_events(finished: WriteRun, axis: Axis) -> None:
    url = finished()
    events = RunFolder(url).events()
    train = [event for event in events if event["kind"] == "train"]
    shown = {panel.title: panel for panel in panels(read_run(url).history, "accuracy")}
    assert [*shown] == ["accuracy", "loss", "rows per second", "learning rate"]
    for title, key in (("loss", "loss"), ("rows per second", "rows_per_second"), ("learning rate", "rate")):
        line = shown[title].lines(axis)[0]
        assert list(line.x) == [event[KEYS[axis]] for event in train]
        assert list(line.y) == [event[key] for event in train]
    accuracy = shown["accuracy"].lines(axis)[0]
    assert list(accuracy.y) == [e["metrics"]["accuracy"] for e in events if e["kind"] == "evaluate"]
    assert shown["accuracy"].references[0].value == 0.25
    drawn = shown["loss"].figure(axis).axes[0].get_lines()
    factor = max(event[KEYS[axis]] for event in train) / max(drawn[0].get_xdata())
    assert np.allclose(np.asarray(drawn[0].get_xdata()) * factor, [event[KEYS[axis]] for event in train])
    assert np.allclose(drawn[0].get_ydata(), [event["loss"] for event in train])


def test_captions_say_what_is_seen(finished: WriteRun) -> None:
    run = read_run(finished())
    captions = {panel.title: panel.caption for panel in panels(run.history)}
    best = max(run.history.metric("accuracy").points, key=lambda point: point.value)
    assert captions["accuracy"] == f"On test, 10 evaluations; best {best.value:.4f} at step {best.steps}."
    assert captions["loss"] == "Training: mean between two reports. Test: at each evaluation."


def test_a_loss_over_decades_has_a_logarithmic_axis_with_plain_numbers() -> None:
    points = tuple(Point(step, step, step, 0.0, 100.0 / 2**step) for step in range(10))
    (panel,) = panels(History(loss=Curve(points)))
    assert panel.look.log_y
    assert "Logarithmic axis" in panel.caption
    text = inline_svg(panel.figure("steps"), "loss", salt="a")
    assert ">100<" in text
    assert ">10<" in text
    assert "$" not in text


def test_long_lines_are_thinned_without_losing_a_spike() -> None:
    y = np.sin(np.arange(20_000) / 500)
    y[7_777], y[12_345], y[13] = 40.0, -40.0, np.nan
    axes = line_figure([Line("loss", np.arange(20_000).tolist(), y.tolist())], "steps").axes[0]
    drawn = axes.get_lines()[0]
    assert len(drawn.get_xdata()) <= MOST_POINTS
    assert (np.nanmin(drawn.get_ydata()), np.nanmax(drawn.get_ydata())) == (-40.0, 40.0)
    assert (drawn.get_xdata()[0], drawn.get_xdata()[-1]) == (0, 19_999)


def test_a_drawing_follows_the_theme_and_its_texts_are_escaped() -> None:
    lines = [Line("<a & b>", [0, 1], [1.0, 2.0]), Line("_hidden", [0, 1], [2.0, 1.0])]
    text = inline_svg(line_figure(lines, "steps", references=[Reference("$x$", 1.5)]), 'a "title"', salt="a")
    assert "&lt;a &amp; b&gt;" in text
    assert "_hidden" in text
    assert "$x$" in text
    assert 'aria-label="a &quot;title&quot;"' in text
    assert "var(--series-1)" in text
    assert not [colour for colour in LIGHT.values() if colour in text]
    assert LIGHT.keys() == DARK.keys()


def test_values_that_are_no_numbers_are_left_out() -> None:
    figure = line_figure(
        [Line("loss", [1, 2, 3], [1.0, float("nan"), float("inf")])], "seconds", look=Look(from_zero=True)
    )
    inline_svg(figure, "loss", salt="a")
    inline_svg(line_figure([Line("loss", [], [])], "bytes"), "nothing", salt="b")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (format.number(1234567.0), "1,234,567"),
        (format.number(3.14159), "3.14"),
        (format.number(None), "—"),
        (format.metric(0.5), "0.5000"),
        (format.metric(0.00012345), "0.0001234"),
        (format.metric(34567.8), "34,568"),
        (format.metric(1.5e12), "1.5e+12"),
        (format.difference(-0.25), "−0.2500"),
        (format.difference(0.0), "±0.0000"),
        (format.difference(2500.0), "+2,500"),
        (format.difference(None), "—"),
        (format.seconds(0.5), "0.50 s"),
        (format.seconds(59.96), "1 min 00 s"),
        (format.seconds(3600 * 2 + 61), "2 h 01 min"),
        (format.size(999.0), "999 B"),
        (format.size(1e3), "1 kB"),
        (format.size(960e6), "960 MB"),
        (format.size(0.0), "0 B"),
        (format.percent(1, 3), "33.3 %"),
        (format.place("s3://bucket/one%20run?scheme=http"), "s3://bucket/one run"),
        (format.place("/runs/what?100%25"), "/runs/what?100%25"),
    ],
)
def test_values_are_written_for_people(text: str, expected: str) -> None:
    assert text == expected
