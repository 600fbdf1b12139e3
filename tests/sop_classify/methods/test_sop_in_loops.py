"""Promise: what SOPLoss does in loops unlike its own: repeats, accumulation, AMP, compile."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sop_classify.methods.sop import FORMS, SOPLoss
from tests.helpers.command_line import python

F64 = torch.float64
NUMBER, CLASSES = 12, 4


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def made(dtype=F64, **options):
    """A loss whose u and v are neither tiny nor clamped."""
    usual = {"alpha_u": 0.5, "alpha_v": 0.7, "init": 0.3}
    loss = SOPLoss(NUMBER, CLASSES, **usual | options)
    return loss.to(dtype)


def batch(rows, *, seed=0, dtype=F64, labels=None):
    logits = torch.randn(rows, CLASSES, generator=gen(seed), dtype=dtype)
    if labels is None:
        labels = torch.randint(CLASSES, (rows,), generator=gen(seed + 1))
    return logits, labels


@pytest.mark.parametrize("form", ["projected", "paper"])
def test_an_example_that_is_there_twice_moves_by_both_gradients(form):
    """As SGD on a gathered row: the gradients of its copies add up, from one old value.

    So two equal copies in a batch of B are one step of twice the size, not two steps.
    """
    logits, labels = batch(6)
    logits[5], labels[5] = logits[0], labels[0]
    index = torch.tensor([3, 1, 4, 7, 9, 3])
    twice = made(form=form)
    start = twice.u.clone(), twice.v.clone()
    twice(logits, labels, index)
    once = made(form=form)
    once.alpha_u *= 5 / 6  # the same alpha/B in a batch of five
    once.alpha_v *= 5 / 6
    once(logits[:5], labels[:5], index[:5])
    for old, a, b in zip(start, (twice.u, twice.v), (once.u, once.v), strict=True):
        torch.testing.assert_close(a[3] - old[3], 2 * (b[3] - old[3]))
        torch.testing.assert_close(a[[1, 4, 7, 9]], b[[1, 4, 7, 9]])
        untouched = [0, 2, 5, 6, 8, 10, 11]
        torch.testing.assert_close(a[untouched], old[untouched], rtol=0, atol=0)


def test_an_example_that_is_there_twice_stays_within_one():
    """However large the sum of its steps is, the projection ends it at 1."""
    loss = made(alpha_u=1e6, alpha_v=1e6)
    logits, labels = batch(4)
    loss(logits, labels, torch.tensor([2, 2, 2, 2]))
    assert loss.u.abs().max() <= 1
    assert loss.v.abs().max() <= 1


@pytest.mark.parametrize("parts", [2, 4])
def test_accumulated_gradients_equal_those_of_the_whole_batch(parts):
    """With alpha for the size of the parts, as `alpha_for` gives it; the loss divided as usual."""
    logits, labels = batch(8)
    index = torch.arange(8)
    whole, divided = made(), made(alpha_u=0.5 / parts, alpha_v=0.7 / parts)
    a, b = (logits.clone().requires_grad_() for _ in range(2))
    whole(a, labels, index).backward()
    for rows in torch.arange(8).tensor_split(parts):
        (divided(b[rows], labels[rows], index[rows]) / parts).backward()
    torch.testing.assert_close(a.grad, b.grad)
    torch.testing.assert_close(whole.u, divided.u)
    torch.testing.assert_close(whole.v, divided.v)


def test_the_scale_of_the_loss_does_not_reach_u_and_v():
    """A GradScaler multiplies the loss by thousands; u and v are stepped without it."""
    logits, labels = batch(6)
    index = torch.arange(6)
    plain, scaled = made(), made()
    plain(logits.clone().requires_grad_(), labels, index).backward()
    (2**16 * scaled(logits.clone().requires_grad_(), labels, index)).backward()
    torch.testing.assert_close(plain.u, scaled.u, rtol=0, atol=0)
    torch.testing.assert_close(plain.v, scaled.v, rtol=0, atol=0)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("balance", [0.0, 0.1])
def test_logits_that_overflowed_leave_u_and_v_alone(bad, form, balance):
    """The loss says so, a GradScaler skips the step, and the next epoch finds u and v intact.

    The other examples move as in a batch that does not have the row, of which α/B is the same.
    """
    logits, labels = batch(6)
    logits[2, 1] = bad
    index = torch.arange(6)
    loss = made(form=form, balance=balance)
    usual = made(form=form, balance=balance, alpha_u=0.5 * 5 / 6, alpha_v=0.7 * 5 / 6)
    start = loss.u[2].clone(), loss.v[2].clone()
    assert not math.isfinite(loss(logits, labels, index))
    torch.testing.assert_close((loss.u[2], loss.v[2]), start, rtol=0, atol=0)
    others = torch.tensor([0, 1, 3, 4, 5])
    usual(logits[others], labels[others], others)
    torch.testing.assert_close(loss.u[others], usual.u[others])
    torch.testing.assert_close(loss.v[others], usual.v[others])


@pytest.mark.parametrize("bad", [False, True])
def test_with_a_grad_scaler_under_autocast(bad):
    """A step that the scaler skips moves no weight; u and v stay finite."""
    torch.manual_seed(0)
    network = nn.Linear(5, CLASSES)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    loss = made(torch.float32)
    images = torch.randn(6, 5, generator=gen())
    if bad:
        images[0, 0] = math.inf
    before = [p.clone() for p in network.parameters()]
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(network(images), batch(6)[1], torch.arange(6))
    assert value.dtype == torch.float32
    scaler.scale(value).backward()
    scaler.step(optimizer)
    scaler.update()
    moved = [not torch.equal(p, old) for p, old in zip(network.parameters(), before, strict=True)]
    assert moved == [not bad, not bad]
    assert (scaler.get_scale() < 2.0**10) == bad
    assert loss.u.isfinite().all()
    assert loss.v.isfinite().all()
    assert not torch.equal(loss.v[1], made(torch.float32).v[1])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the compiler
@pytest.mark.parametrize("options", [{}, {"balance": 0.1}])
def test_compiled_with_the_network(options):
    """The whole step compiled: loss, gradient, u and v are those of the plain one."""
    network = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, CLASSES)).double()
    images, (_, labels) = torch.randn(6, 5, generator=gen(), dtype=F64), batch(6)
    index = torch.tensor([3, 1, 4, 7, 9, 0])
    found = []
    for compiled in (False, True):
        loss = made(**options)

        def step(images, labels, index, loss=loss):
            return loss(network(images), labels, index)

        run = torch.compile(step, backend="aot_eager") if compiled else step
        for _ in range(3):
            network.zero_grad()
            value = run(images, labels, index)
            value.backward()
        found.append(
            (value.detach(), loss.u, loss.v, *(p.grad.clone() for p in network.parameters()))
        )
    torch.testing.assert_close(found[0], found[1])
    torch._dynamo.reset()


def test_the_compiler_is_not_imported_before_it_compiles():
    """It takes 1.5 s, and few compile."""
    program = (
        "import sys, torch\n"
        "from sop_classify import SOPLoss\n"
        "SOPLoss(2, 2)(torch.zeros(2, 2), torch.tensor([0, 1]), torch.tensor([0, 1]))\n"
        "print('torch._dynamo' in sys.modules)"
    )
    assert python("-c", program).stdout == "False\n"


@pytest.mark.parametrize("present", [[0], [0, 3], [0, 1, 2, 3]])
def test_classes_that_are_missing_in_a_batch(present):
    """v has a column for every class, whether the batch has it or not, and only its rows move.

    The balance is the mean over all classes, so a class without a prediction is pulled up.
    """
    labels = torch.tensor([present[i % len(present)] for i in range(6)])
    logits = -9 * torch.ones(6, CLASSES, dtype=F64)
    logits[torch.arange(6), labels] = 9
    index = torch.arange(6)
    loss = made(balance=0.1, init=1e-8)
    start = loss.u[6:].clone(), loss.v[6:].clone()
    leaf = logits.clone().requires_grad_()
    value = loss(leaf, labels, index)
    value.backward()
    mean = logits.softmax(1).mean(0)
    fit = F.cross_entropy(logits, labels)
    expected = fit - 0.1 * mean.clamp(1e-4, 1).log().mean()
    # The loss clamps probabilities of 1.5e-8 at 1e-4, which costs 3e-4.
    torch.testing.assert_close(value.detach(), expected, rtol=0, atol=5e-4)
    assert leaf.grad.isfinite().all()
    torch.testing.assert_close((loss.u[6:], loss.v[6:]), start, rtol=0, atol=0)
    # Nothing contradicts these labels, so nothing is given up.
    assert loss.v.abs().max() < 1e-6
