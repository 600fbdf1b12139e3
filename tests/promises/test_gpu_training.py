"""Promise: CUDA trains as the CPU does, and nothing in the loop waits for it."""

import pytest
import torch

from sop_classify.methods.build import training_for
from sop_classify.methods.sop import SOPLoss
from tests.helpers.labels import noisy, run, small_data, small_recipe

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.parametrize("method", ["ce", "sop", "sop+"])
@pytest.mark.parametrize("compile", [False, True])
def test_every_method_learns(method, compile):
    data = small_data()
    recipe = small_recipe(method, "epochs=6", "ema=0.8")
    training = training_for(data, data.train_labels, recipe, device="cuda", compile=compile)
    *_, last = run(training, data)
    assert last.test_accuracy > 0.9


def test_the_loss_is_the_cpus():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(32, 10, generator=generator)
    labels = torch.randint(10, (32,), generator=generator)
    index = torch.randperm(100, generator=generator)[:32]
    losses = [SOPLoss(100, 10, init=0.1, balance=0.1).to(device) for device in ("cpu", "cuda")]
    values = [loss(*(x.to(loss.u.device) for x in (logits, labels, index))) for loss in losses]
    torch.testing.assert_close(values[1].cpu(), values[0])
    torch.testing.assert_close(losses[1].u.cpu(), losses[0].u)
    torch.testing.assert_close(losses[1].v.cpu(), losses[0].v)


def test_a_step_does_not_wait_for_the_device(monkeypatch):
    data = small_data()
    training = training_for(data, noisy(data.train_labels, 30), small_recipe(), device="cuda")
    observe, steps = training.observe, []

    def watched(logits, index):
        result = observe(logits, index)
        if not steps:  # from the end of the first step to that of the third, the last
            torch.cuda.set_sync_debug_mode("error")
        steps.append(len(index))
        if len(steps) == 3:
            torch.cuda.set_sync_debug_mode("default")
        return result

    monkeypatch.setattr(training, "observe", watched)
    try:
        next(training.epochs())
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(steps) == 3


def test_a_state_moves_between_devices():
    data = small_data()
    recipe = small_recipe("sop", "epochs=2")
    first = training_for(data, data.train_labels, recipe, device="cuda")
    next(first.epochs())
    second = training_for(data, data.train_labels, recipe, device="cpu")
    second.load_state_dict({name: value.cpu() for name, value in first.state_dict().items()})
    (last,) = second.epochs()
    assert last.epoch == 2
