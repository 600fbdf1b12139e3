"""Promise: a state is loaded whole or not at all, and a training goes on from it bit for bit."""

import pytest
import torch
from torch import nn

from sop_classify.training.state import load_tensors, tensors_of


class Small:
    """A network with statistics and its optimizer."""

    def __init__(self, seed):
        generator = torch.Generator().manual_seed(seed)
        self.network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
        for weight in self.network.parameters():
            weight.data = torch.randn(weight.shape, generator=generator)
        self.modules = {"network": self.network}
        self.optimizers = [torch.optim.SGD(self.network.parameters(), lr=0.1, momentum=0.9)]

    def step(self, seed):
        x = torch.randn(5, 3, generator=torch.Generator().manual_seed(seed))
        self.optimizers[0].zero_grad()
        self.network(x).square().sum().backward()
        self.optimizers[0].step()

    def state(self):
        tensors = tensors_of(self.modules, self.optimizers)
        return {name: tensor.clone() for name, tensor in tensors.items()}

    def load(self, state, *, trained=True):
        load_tensors(state, self.modules, self.optimizers, trained=trained)


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_it_goes_on_where_it_was():
    first, second = Small(0), Small(1)
    first.step(0)
    second.load(first.state() | {"loss.u": torch.zeros(9)})  # what is of others is left alone
    assert same(first.state(), second.state())
    first.step(1)
    second.step(1)
    assert same(first.state(), second.state())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimizer.0.0.momentum_buffer": torch.zeros(7)}, r"of shape \(7,\), for a weight of"),
        ({"optimizer.0.6.momentum_buffer": torch.zeros(2)}, "there is no such weight"),
        ({"optimizer.0.x.momentum_buffer": torch.zeros(2)}, "there is no such weight"),
        (None, "the state has nothing of optimizer 0"),
    ],
)
def test_nothing_of_a_state_that_does_not_fit_is_loaded(change, message):
    first, second = Small(0), Small(1)
    first.step(0)
    state, before = first.state(), second.state()
    if change is None:
        state = {name: tensor for name, tensor in state.items() if name.startswith("network.")}
    with pytest.raises(ValueError, match=message):
        second.load(state | (change or {}))
    assert same(second.state(), before)


def test_what_has_made_no_step_remembers_none():
    first, second = Small(0), Small(1)
    second.load(first.state(), trained=False)
    assert same(first.state(), second.state())
