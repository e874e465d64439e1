"""Models that are made to be loaded."""

import pytest
import torch
from torch import nn

from echelon.train.blank import blank_parameters

INITIALISATIONS = {
    "uniform": nn.init.uniform_,
    "normal": nn.init.normal_,
    "Xavier, uniform": nn.init.xavier_uniform_,
    "Xavier, normal": nn.init.xavier_normal_,
    "He, uniform": nn.init.kaiming_uniform_,
    "He, normal": nn.init.kaiming_normal_,
}


class Model(nn.Module):
    """With a layer of each kind that draws, and what is random but stored nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(9, 8), nn.Conv2d(3, 4, 5), nn.Embedding(7, 6), nn.LSTM(5, 4)])
        generator = torch.Generator().manual_seed(3)
        self.register_buffer("fixed", torch.empty(6).normal_(generator=generator), persistent=False)
        self.scale = torch.empty(2).uniform_(1, 2, generator=generator)


@pytest.mark.parametrize("initialise", INITIALISATIONS.values(), ids=INITIALISATIONS)
def test_no_parameter_is_drawn(initialise):
    weight = nn.Parameter(torch.full((4, 6), 9.0), requires_grad=False)
    with blank_parameters():
        state = torch.get_rng_state()
        initialise(weight)
        assert (torch.get_rng_state() == state).all()
    drawn = weight.clone()
    initialise(weight)
    assert (weight != drawn).any()


def test_a_loaded_model_is_the_one_that_was_stored():
    torch.manual_seed(0)
    stored, state = Model(), torch.get_rng_state()
    with blank_parameters():
        made = Model()
    assert (torch.get_rng_state() == state).all()
    made.load_state_dict(stored.state_dict())
    for name, value in stored.state_dict().items():
        assert (made.state_dict()[name] == value).all(), name
    assert (made.fixed == stored.fixed).all()
    assert (made.scale == stored.scale).all()


def test_errors_in_a_model_leave_parameters_as_usual_behind():
    with pytest.raises(ZeroDivisionError), blank_parameters():
        1 / 0  # noqa: B018
    weight = nn.Parameter(torch.full((3,), 9.0), requires_grad=False)
    nn.init.normal_(weight)
    assert (weight != 9).all()
