"""The caller's random generators: seeded inside, and afterwards as they were."""

import pytest
import torch

from overparam.modes import seeded


def test_what_is_drawn_depends_on_the_seed_alone_and_the_caller_goes_on():
    torch.manual_seed(1)
    torch.rand(3)
    before = torch.get_rng_state()
    with seeded(7, torch.device("cpu")):
        first = torch.rand(4)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    with seeded(7, torch.device("cpu")):
        assert torch.equal(torch.rand(4), first)
    with pytest.raises(KeyError):  # also after an error
        with seeded(7, torch.device("cpu")):
            raise KeyError
    after = torch.rand(2)
    torch.manual_seed(2)
    assert torch.equal(torch.rand(2), after)
    assert torch.equal(torch.manual_seed(7).get_state(), torch.default_generator.get_state())


def test_other_devices_are_not_seeded(monkeypatch):
    def seed(*arguments):
        raise AssertionError("a device of the caller's was seeded")

    for module in (torch.cuda, torch.mps, torch.xpu):
        for name in ("manual_seed", "manual_seed_all"):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, seed)
    with seeded(3, torch.device("cpu")):
        torch.rand(1)
