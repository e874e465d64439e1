"""Tensors in one piece of memory: the same numbers as tensor by tensor."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from echelon.errors import EchelonError
from echelon.server.bundle import ALIGNMENT, Bundle, Form
from echelon.server.exchanged import Exchanged
from echelon.server.state import GlobalState, kinds_of


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    "tensors",
    [
        {"a": _normal(3, 5), "b": _normal(7), "c": torch.tensor(2.5)},
        {
            "a": _normal(3).bfloat16(),
            "many": torch.arange(5),
            "yes": torch.tensor([True, False]),
            "none": _normal(0, 4),
        },
        {"across": _normal(4, 6).T, "last": _normal(2, 3, 4, 4).to(memory_format=torch.channels_last)},
        {"none": _normal(0)},
    ],
)
def test_a_bundle_has_the_tensors_that_it_was_made_of_and_zeros_between_them(tensors: dict[str, Tensor]) -> None:
    bundle = Bundle.of(tensors)
    torch.testing.assert_close(dict(bundle), tensors, rtol=0, atol=0)
    assert all(place % ALIGNMENT == 0 for place in bundle.form.places)
    copy = bundle.copied()
    for tensor in bundle.values():
        tensor.zero_()
    assert not bundle.memory.any()
    torch.testing.assert_close(dict(copy), tensors, rtol=0, atol=0)


def _model(buffers: bool) -> nn.Module:
    torch.manual_seed(0)
    middle = nn.BatchNorm1d(5) if buffers else nn.Tanh()
    return nn.Sequential(nn.Linear(3, 5), middle, nn.Linear(5, 1))


@pytest.mark.parametrize("buffers", [False, True])
@pytest.mark.parametrize("factor", [1.0, 0.5])
def test_a_change_in_one_vector_is_applied_as_one_tensor_by_tensor(buffers: bool, factor: float) -> None:
    model = _model(buffers)
    states = [GlobalState(model.state_dict(), kinds_of(model)) for _ in range(2)]
    change = {name: _normal(*t.shape, seed=n).to(t.dtype) for n, (name, t) in enumerate(model.state_dict().items())}
    for state, given in zip(states, (Bundle.of(change), change), strict=True):
        state.check(given)
        state.apply(given, factor)
    before, (vector, single) = dict(model.state_dict()), [dict(state.snapshot) for state in states]
    torch.testing.assert_close(vector, single, rtol=0, atol=0)
    torch.testing.assert_close(vector["0.weight"], before["0.weight"] + factor * change["0.weight"])


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf")])
def test_a_vector_with_one_number_that_is_not_finite_is_refused_by_name(wrong: float) -> None:
    model = _model(False)
    change = Bundle.empty(Form.of(model.state_dict()))
    change.memory.zero_()
    change["2.weight"][0, 3] = wrong
    with pytest.raises(EchelonError, match=r"a change of 2\.weight is not finite"):
        GlobalState(model.state_dict(), kinds_of(model)).check(change)


def test_numbers_whose_sum_overflows_are_finite() -> None:
    model = _model(False)
    change = Bundle.of({name: torch.full_like(tensor, 3e38) for name, tensor in model.state_dict().items()})
    GlobalState(model.state_dict(), kinds_of(model)).check(change)


def test_a_change_of_what_is_not_trained_is_refused() -> None:
    model = _model(False)
    model[0].weight.requires_grad_(False)
    state = GlobalState(model.state_dict(), kinds_of(model))
    with pytest.raises(EchelonError, match="a change is of 4 tensors"):
        state.check(Bundle.of(model.state_dict()))


@pytest.mark.parametrize("buffers", [False, True])
def test_a_model_takes_what_is_given_and_gives_back_the_way_from_there(buffers: bool) -> None:
    model, given = _model(buffers), Bundle.of({k: v + 1 for k, v in _model(buffers).state_dict().items()})
    exchanged = Exchanged(model)
    for _ in range(2):
        exchanged.take(given)
        torch.testing.assert_close(dict(model.state_dict()), dict(given), rtol=0, atol=0)
        with torch.no_grad():
            model[0].weight.add_(0.25)
            if buffers:
                model[1].running_mean = model[1].running_mean * 2  # another tensor, as a module may make it
        change = exchanged.change(given)
        torch.testing.assert_close(change["0.weight"], torch.full((5, 3), 0.25))
        assert not change["2.bias"].any()
        if buffers:
            torch.testing.assert_close(change["1.running_mean"], 2 * given["1.running_mean"])


def test_a_model_that_keeps_its_state_in_another_form_is_loaded_by_itself() -> None:
    class Doubled(nn.Linear):
        """Its state dict has twice the weight."""

        def _save_to_state_dict(self, destination: dict, prefix: str, keep_vars: bool) -> None:
            super()._save_to_state_dict(destination, prefix, keep_vars)
            destination[f"{prefix}weight"] = nn.Parameter(destination[f"{prefix}weight"].detach() * 2)

        def _load_from_state_dict(self, state: dict, prefix: str, *rest: object) -> None:
            state[f"{prefix}weight"] = state[f"{prefix}weight"] / 2
            super()._load_from_state_dict(state, prefix, *rest)

    model = Doubled(3, 2)
    given = Bundle.of({name: torch.full_like(tensor, 6.0) for name, tensor in model.state_dict().items()})
    exchanged = Exchanged(model)
    for _ in range(2):
        with torch.no_grad():
            model.weight.zero_()
        exchanged.take(given)
        assert model.weight.eq(3).all()
