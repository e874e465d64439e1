"""Learning rates over a training, and the named settings."""

import math

import pytest

from echelon.errors import EchelonError
from echelon.recipes.images.models.choice import MODELS
from echelon.recipes.images.options import ImagesOptions, PrepareOptions
from echelon.recipes.images.settings import defaults_of, solver_for
from echelon.recipes.images.solvers import SOLVERS, remark_on, solver_of
from echelon.train.config import RunConfig
from echelon.train.schedules import SCHEDULES, rate


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("total", [1, 2, 7, 400])
@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.9])
def test_every_schedule_is_a_positive_fraction_of_the_peak_at_each_step(schedule, total, warmup):
    rates = [rate(schedule, step, total, warmup) for step in range(total)]
    assert all(0 < r <= 1 for r in rates)
    assert rate(schedule, total + 5, total, warmup) == rates[-1]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_schedule_is_stretched_by_the_number_of_steps_alone(schedule):
    short = [rate(schedule, step, 50, 0.2) for step in range(50)]
    long = [rate(schedule, step, 1000, 0.2) for step in range(1000)]
    for step in range(50):
        assert short[step] == pytest.approx(long[20 * step], abs=0.1)


def test_one_cycle_rises_then_falls_to_nothing():
    rates = [rate("one-cycle", step, 200, 0.25) for step in range(200)]
    peak = rates.index(1.0)
    assert peak == 49
    assert rates[0] == pytest.approx(1 / 25, abs=0.03)
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert rates[-1] < 0.001


def test_the_cosine_is_one_half_in_its_middle():
    assert rate("cosine", 50, 100, 0.0) == pytest.approx(0.5)
    assert rate("cosine", 25, 100, 0.0) == pytest.approx(0.5 + math.sqrt(0.5) / 2)


def test_step_is_caffes_two_solver_files_in_one():
    """4,000 iterations at 1e-3 and 1,000 at 1e-4 (examples/cifar10/train_quick.sh)."""
    assert [rate("step", step, 5000, 0.0) for step in (0, 3999, 4000, 4999)] == [1.0, 1.0, 0.1, 0.1]


def test_the_original_solver_of_quick_is_that_of_caffe_and_sparknet():
    solver = SOLVERS["quick-caffe"]
    assert (solver.lr, solver.momentum, solver.weight_decay, solver.bias_lr) == (1e-3, 0.9, 4e-3, 2.0)
    assert (solver.batch_size, solver.batch_size_per_worker) == (None, 100)
    assert (solver.scale, solver.init, solver.pad, solver.mirror) == (1.0, "caffe", 0, False)
    defaults = dict(defaults_of(ImagesOptions(solver="quick-caffe")))
    assert defaults.pop("sync_every") == 10
    assert RunConfig(**defaults).resolved(3).batch_size == 300


def test_step_takes_a_tenth_after_every_so_many_steps():
    """bvlc_reference_caffenet/solver.prototxt: stepsize 100000, gamma 0.1, max_iter 450000."""
    total = 450_000
    rates = [rate("step", step, total, 0.0, 100_000) for step in (0, 99_999, 100_000, 299_999, 300_000, 449_999)]
    assert rates == pytest.approx([1.0, 1.0, 0.1, 0.01, 0.001, 0.0001])
    assert rate("step", 90, 100, 0.0, 100_000) == 1.0


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(("total", "step_every"), [(90_000, 100_000), (100, 100), (101, 100), (100, 0), (7, 3)])
def test_a_rate_that_will_never_fall_is_told_and_no_other(schedule, total, step_every):
    falls = min(rate(schedule, step, total, 0.0, step_every) for step in range(total)) < 1
    told = remark_on(schedule, total, step_every)
    assert bool(told) == (schedule == "step" and not falls)
    if told:
        assert f"after {step_every:,} steps" in told
        assert f"has {total:,} (set --step-every, such as {total * 2 // 9} " in told


def test_the_remark_names_the_step_of_the_original_for_its_own_number_of_steps():
    assert "such as 99999 " in remark_on("step", 449_999, 450_000)


def test_poly_is_the_root_of_what_is_left():
    """bvlc_googlenet/quick_solver.prototxt: base_lr * (1 - iter / max_iter) ^ 0.5, max_iter 2400000."""
    total = 2_400_000
    for step, expected in ((0, 1.0), (600_000, 0.75**0.5), (1_800_000, 0.5), (2_399_999, (1 / total) ** 0.5)):
        assert rate("poly", step, total, 0.0) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["caffenet-caffe", "alexnet-caffe", "googlenet-caffe"])
def test_the_original_solvers_of_imagenet_are_those_of_caffe(name):
    """solver.prototxt of bvlc_reference_caffenet and bvlc_alexnet, quick_solver.prototxt of bvlc_googlenet; lr_mult and
    decay_mult of their layers; batches and rounds of SparkNet.
    """
    solver = SOLVERS[name]
    assert (solver.optimizer, solver.lr, solver.momentum) == ("sgd", 0.01, 0.9)
    assert (solver.bias_lr, solver.bias_decay) == (2.0, 0.0)
    assert (solver.scale, solver.init, solver.pad, solver.mirror) == (1.0, "caffe", 0, True)
    assert (solver.warmup, solver.label_smoothing, solver.batch_size) == (0.0, 0.0, None)
    of_its_own = (solver.weight_decay, solver.schedule, solver.step_every, solver.batch_size_per_worker)
    if name == "googlenet-caffe":
        assert of_its_own == (2e-4, "poly", 0, 64)
        assert solver.sync_every == 40
    else:
        assert of_its_own == (5e-4, "step", 100_000, 256)
        assert solver.sync_every == 50


def test_epochs_of_the_original_solvers_are_their_iterations_over_imagenet():
    rows = 1_281_167
    for name, iterations, batch in (("caffenet-caffe", 450_000, 256), ("googlenet-caffe", 2_400_000, 32)):
        assert SOLVERS[name].epochs == round(iterations * batch / rows)


def test_large_images_are_evaluated_a_few_at_a_time():
    for name in ("caffenet", "alexnet-caffe", "googlenet"):
        config = RunConfig(**{k: v for k, v in defaults_of(ImagesOptions(solver=name)).items() if k != "sync_every"})
        assert config.eval_batch_size == 50
    assert defaults_of(ImagesOptions())["eval_batch_size"] == RunConfig().eval_batch_size


def test_each_model_has_a_default_solver_and_each_solver_a_model():
    assert solver_of("quick", None).model == "quick"
    assert solver_of("resnet", None) is SOLVERS["resnet"]
    assert solver_of(None, None) is SOLVERS["quick"]
    assert solver_of(None, "resnet").model == "resnet"
    for name, solver in SOLVERS.items():
        assert solver_of(solver.model, name) is solver
    assert list(dict.fromkeys(solver.model for solver in SOLVERS.values())) == list(MODELS)
    for model in MODELS:
        assert solver_of(model, None) is SOLVERS[model]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "vgg"}, "--model vgg is unknown; there are: quick, resnet"),
        ({"model": "resnet", "solver": "quick"}, "--solver quick does not exist for the model resnet"),
        ({"solver": "quik"}, "--solver quik does not exist; there are: quick, quick-caffe, resnet"),
        ({"lr": -0.1}, "--lr must be at least 0"),
        ({"momentum": 1.0}, "--momentum must be at least 0 and below 1"),
        ({"width": 12}, "--width must be at most 8 or a multiple of 8"),
        ({"step_every": -5}, "--step-every must not be negative, got -5"),
        ({"depth": 0}, "--depth must be at least 1"),
        ({"crop": -1}, "--crop must not be negative"),
        ({"label_smoothing": 1.0}, "--label-smoothing"),
    ],
)
def test_a_wrong_option_is_answered_with_what_is_right(options, message):
    with pytest.raises(EchelonError, match=message):
        solver_for(ImagesOptions(**options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": "big"}, "--size must be width x height"),
        ({"size": "0x4"}, "--size"),
        ({"test_fraction": 1.0}, "below 1"),
    ],
)
def test_a_wrong_option_of_prepare_is_answered_with_what_is_right(options, message):
    with pytest.raises(EchelonError, match=message):
        PrepareOptions(**options)


def test_sizes_are_given_as_width_x_height():
    assert PrepareOptions(size="320X200").height_width == (200, 320)


def test_an_option_changes_its_setting_and_nothing_else():
    changed = solver_for(ImagesOptions(model="resnet", lr=0.5, mirror=False, pad=0))
    assert (changed.lr, changed.mirror, changed.pad) == (0.5, False, 0)
    assert solver_for(ImagesOptions(model="caffenet", solver="caffenet-caffe", step_every=30)).step_every == 30
    assert (changed.momentum, changed.schedule) == (SOLVERS["resnet"].momentum, SOLVERS["resnet"].schedule)
