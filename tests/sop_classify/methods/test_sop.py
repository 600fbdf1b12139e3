"""Promise: SOPLoss is the published loss, and its u, v move as autograd and SGD would move them."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader, TensorDataset

from overparam.sparse_corruption import descend
from sop_classify.data.image_data import Indexed
from sop_classify.methods.catalogue import recipe_for
from sop_classify.methods.sop import (
    SOPLoss,
    activation_epochs,
    alpha_for,
    alpha_ratio,
    class_balance,
    consistency,
)
from sop_classify.recipes import with_settings

F64 = torch.float64
ROWS = 8
HARD = ["projected", "released", "paper"]  # with the network's first choice in L_MSE
FORMS = ["posterior", *HARD]
# Tiny, growing, near the clamp, and beyond it, where the released form freezes. Not 1 itself: what
# gradient torch.clamp passes there depends on the version of PyTorch.
MAGNITUDES = [1e-8, 0.03, 0.5, 0.97, 1.3]


def gen(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def factors(shape: tuple[int, int], form: str, *, generator: torch.Generator) -> Tensor:
    """u or v with every magnitude and both signs; the projected form never passes 1."""
    allowed = torch.tensor(MAGNITUDES if form == "released" else MAGNITUDES[:-1], dtype=F64)
    magnitude = allowed[torch.randint(len(allowed), shape, generator=generator)]
    return torch.where(torch.rand(shape, generator=generator) < 0.5, -magnitude, magnitude)


def literal(
    logits: Tensor, labels: Tensor, index: Tensor, strong: Tensor, module: SOPLoss
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Loss, logits' gradient and the next u, v, written down from the paper; autograd does it all.

    Released: every part descends in u and v. Paper: u descends the cross entropy alone, v the
    squared error alone, then both are projected (Algorithm 1). Projected: the first, then that.
    Posterior: the same, with a belief in place of the hard prediction.
    """
    classes = logits.shape[1]
    logits = logits.clone().requires_grad_()
    u, v = module.u.clone().requires_grad_(), module.v.clone().requires_grad_()
    y = F.one_hot(labels, classes).to(F64)
    up = torch.clamp(u[index] ** 2 * y, 0, 1)
    down = torch.clamp(v[index] ** 2 * (1 - y), 0, 1)
    p = F.softmax(logits, dim=1)
    q = torch.clamp(p + up - down.detach(), min=1e-4)
    q = torch.clamp(F.normalize(q, p=1, dim=1), 1e-4, 1.0)
    said = F.one_hot(logits.argmax(1), classes).to(F64)
    if module.form == "posterior":
        said = p.detach() * (y / 2 + (1 - y) / 2 / (classes - 1))  # Bayes
        said = said / said.sum(1, keepdim=True)
    cross_entropy = torch.mean(-torch.sum(y * torch.log(q), dim=1))
    squared = F.mse_loss(said + up - down, y, reduction="sum") / len(y)
    mean = torch.clamp((p if module.form == "paper" else q).mean(0), 1e-4, 1.0)
    balance = -(torch.log(mean) / classes).sum()
    divergence = F.kl_div(F.log_softmax(strong, 1), p.detach(), reduction="none").sum(1).mean()
    loss = cross_entropy + squared + module.balance * balance + module.consistency * divergence

    (grad,) = torch.autograd.grad(loss, logits, retain_graph=True)
    of_u, of_v = (cross_entropy, squared) if module.form == "paper" else (loss, loss)
    (u.grad,) = torch.autograd.grad(of_u, u, retain_graph=True)
    (v.grad,) = torch.autograd.grad(of_v, v)
    if module.class_guard:
        chosen, labelled = module.shares
        pace = torch.ones(len(u), 1, dtype=F64)
        pace[index, 0] = torch.clamp(chosen / labelled / module.class_guard, max=1)[labels]
        u.grad, v.grad = u.grad * pace, v.grad * pace
    if module.alpha_warmup:
        seen = min(1.0, float(module.seen) / ROWS / module.alpha_warmup)
        u.grad, v.grad = u.grad * seen, v.grad * seen
    torch.optim.SGD([u], lr=module.alpha_u).step()
    torch.optim.SGD([v], lr=module.alpha_v).step()
    u, v = u.detach(), v.detach()
    if module.form != "released":
        u, v = u.clamp(-1, 1), v.clamp(-1, 1)
    return loss.detach(), grad, u, v


@settings(derandomize=True, max_examples=200, deadline=None)
@given(
    st.integers(0, 2**31),
    st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=6),
    st.integers(2, 6),
    st.sampled_from([0.1, 2.0, 8.0, 40.0]),  # at the last, p is 1 or below the clamp at 1e-4
    st.sampled_from(FORMS),
    st.sampled_from([0.0, 0.1, 3.0]),
    st.sampled_from([0.0, 0.9]),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.sampled_from([0.0, 0.5, 10.0]),
)
def test_equals_autograd_and_sgd_in_float64(
    seed, rows, classes, scale, form, balance, weight, guard, warmup
):
    generator = gen(seed)
    module = SOPLoss(
        ROWS,
        classes,
        alpha_u=3.0,
        alpha_v=11.0,
        balance=balance,
        consistency=weight,
        form=form,
        class_guard=guard,
        alpha_warmup=warmup,
    ).double()
    if warmup:
        module.seen.fill_(seed % 100)
    if guard:
        shares = torch.rand(2, classes, generator=generator, dtype=F64) + 0.05
        module.shares.copy_(shares / shares.sum(1, keepdim=True))
    module.u.copy_(factors((ROWS, 1), form, generator=generator))
    module.v.copy_(factors((ROWS, classes), form, generator=generator))
    before = module.u.clone(), module.v.clone()
    index = torch.tensor(rows)
    logits = torch.randn(len(rows), classes, generator=generator, dtype=F64) * scale
    strong = torch.randn(len(rows), classes, generator=generator, dtype=F64) * scale
    # A row named twice is one example in two views: its label is the same.
    labels = torch.randint(classes, (ROWS,), generator=generator)[index]

    expected, grad, u, v = literal(logits, labels, index, strong, module)
    logits.requires_grad_()
    loss = module(logits, labels, index, strong)
    loss.backward()

    torch.testing.assert_close(loss.detach(), expected, rtol=1e-10, atol=1e-13)
    torch.testing.assert_close(logits.grad, grad, rtol=1e-10, atol=1e-13)
    torch.testing.assert_close(module.u, u, rtol=1e-10, atol=1e-20)
    torch.testing.assert_close(module.v, v, rtol=1e-10, atol=1e-20)
    others = torch.tensor([i for i in range(ROWS) if i not in rows], dtype=torch.int64)
    assert torch.equal(module.u[others], before[0][others])
    assert torch.equal(module.v[others], before[1][others])


@pytest.mark.parametrize("form", FORMS)
def test_labels_of_a_class_that_is_never_chosen_are_kept(form):
    """The network has not found class 2, and chooses 0 whatever it sees; a label 1 is given up."""
    logits = torch.tensor([[0.8, 0.15, 0.05]], dtype=F64).log().expand(4, 3)
    labels, index = torch.tensor([0, 1, 2, 2]), torch.arange(4)
    given_up = {}
    for guard in (0.0, 0.5):
        module = SOPLoss(4, 3, alpha_v=1.0, class_guard=guard, init=0.03, form=form).double()
        if guard:  # an epoch in which class 1 was chosen as often as it is a label
            module.shares.copy_(torch.tensor([[0.7, 0.3, 0.0], [0.3, 0.3, 0.4]], dtype=F64))
            module.num_examples = 10**9  # whose shares last
        for _ in range(60):
            module(logits.clone().requires_grad_(), labels, index)
        given_up[guard] = module.parts(labels)[1].sum(1) > 0.5
    assert given_up[0.0].tolist() == [False, True, True, True]
    assert given_up[0.5].tolist() == [False, True, False, False]


def test_shares_are_those_of_the_last_epoch():
    """m and q go from even ones to the means of the batches, by a step of a batch's share of N."""
    module = SOPLoss(40, 2, class_guard=0.5).double()
    logits = torch.tensor([[3.0, 0.0], [0.0, 1.0], [torch.nan, 0.0], [2.0, 1.0]], dtype=F64)
    labels, index = torch.tensor([0, 1, 1, 0]), torch.arange(4)
    module(logits.requires_grad_(), labels, index)
    # Chosen are 0, 1, 0; the row that is not finite counts as its label, 1.
    even = torch.tensor([0.5, 0.5], dtype=F64)
    torch.testing.assert_close(module.shares, torch.stack([even, even]))
    module(logits[:1], labels[:1], index[:1])
    weight = 1 / 40
    expected = even * (1 - weight) + torch.tensor([1.0, 0.0], dtype=F64) * weight
    torch.testing.assert_close(module.shares, torch.stack([expected, expected]))
    before = module.shares.clone()
    module.eval()(logits, labels, index)
    assert torch.equal(module.shares, before)
    assert set(module.state_dict()) == {"u", "v", "shares"}
    assert set(SOPLoss(40, 2).state_dict()) == {"u", "v"}  # as the published loss


@pytest.mark.parametrize("form", FORMS)
def test_late_contradictions_count_more(form):
    """Two labels are contradicted in four epochs of eight: one in the first, one in the last."""
    module = SOPLoss(2, 3, alpha_v=1.0, alpha_warmup=8, init=0.03, form=form).double()
    agree, contradict = torch.eye(3, dtype=F64)[:2].mul(0.9).add(0.03).log()
    labels, index = torch.zeros(2, dtype=torch.int64), torch.arange(2)
    paces = []
    for epoch in range(8):
        paces.append(module.rates["alpha_v"])
        logits = torch.stack([contradict, agree] if epoch < 4 else [agree, contradict])
        module(logits.requires_grad_(), labels, index)
    early, late = module.v[:, 1].tolist()
    assert late > 2 * early
    assert paces == [i / 8 for i in range(8)]
    module.eval()(logits, labels, index)
    assert module.rates["alpha_v"] == 1.0
    assert set(module.state_dict()) == {"u", "v", "seen"}


@pytest.mark.parametrize("form", FORMS)
def test_a_label_that_only_the_second_clamp_holds(form):
    """Just above 1e-4 before the division by a sum above 1, below it after: with many classes."""
    classes = 200
    p = torch.full((1, classes), 1e-9, dtype=F64)
    p[0, :2] = torch.tensor([1.005e-4, 1.0])
    logits = p.log()
    module = SOPLoss(1, classes, alpha_u=3.0, alpha_v=11.0, balance=3.0, form=form).double()
    module.u.fill_(0.001)
    strong = torch.zeros_like(logits)
    label, index = torch.tensor([0]), torch.tensor([0])
    expected, _, u, v = literal(logits, label, index, strong, module)
    raw = (logits.softmax(1) + module.u**2 * F.one_hot(label, classes)).clamp(min=1e-4)
    assert raw[0, 0] > 1e-4 > raw[0, 0] / raw.sum()
    torch.testing.assert_close(module(logits, label, index), expected, rtol=1e-10, atol=0)
    torch.testing.assert_close(module.u, u, rtol=1e-10, atol=0)
    torch.testing.assert_close(module.v, v, rtol=1e-10, atol=0)


def one_example(classes: int = 4, **options) -> SOPLoss:
    return SOPLoss(1, classes, **options).double()


def contradict(module: SOPLoss, label: int = 0, predicted: int = 1, confidence: float = 30) -> None:
    """One visit of the only example, with `predicted` predicted whatever its label."""
    logits = torch.zeros(1, module.v.shape[1], dtype=F64)
    logits[0, predicted] = confidence
    module(logits, torch.tensor([label]), torch.tensor([0]))


def test_a_confident_contradiction_gives_no_gradient_to_the_network_and_grows_v_and_u_by_hand():
    logits = torch.tensor([[0.0, 30.0, 0.0, 0.0]], dtype=F64, requires_grad=True)
    module = one_example(alpha_u=0.05, alpha_v=0.1)
    loss = module(logits, torch.tensor([0]), torch.tensor([0]))
    loss.backward()
    # q = (ε, 1, ε, ε) / (1 + 3ε), and its label's entry is raised to ε again.
    assert loss.item() == pytest.approx(2 - math.log(1e-4), rel=1e-12)
    assert (logits.grad == 0).all()
    # Only L_MSE is left, of which û = V = 0 makes both factors 1 + 4α/B.
    assert module.u.item() == pytest.approx(1e-8 * 1.2, rel=1e-12)
    assert module.v.tolist()[0] == pytest.approx([1e-8, 1.4e-8, 1e-8, 1e-8], rel=1e-12)


def test_in_the_paper_form_u_waits_where_the_cross_entropy_is_held():
    module = one_example(alpha_u=0.05, alpha_v=0.1, form="paper")
    start = module.u.clone()
    contradict(module)
    assert torch.equal(module.u, start)
    assert module.v[0, 1].item() == pytest.approx(1.4e-8, rel=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_beyond_one_the_released_form_freezes_and_the_others_live(form):
    module = one_example(alpha_u=0.2, alpha_v=0.5, form=form)
    module.u.fill_(0.9)
    module.v.fill_(0.9)
    for _ in range(2):
        contradict(module, confidence=1.0)
    largest = module.u.abs().max().item(), module.v[0, 1].item()
    if form == "released":
        frozen = module.u.clone(), module.v[0, 1].clone()
        assert frozen[1] > 1
    else:
        assert max(largest) <= 1
    for _ in range(3):
        contradict(module, predicted=0, confidence=5.0)  # the network now agrees with the label
    if form == "released":
        assert torch.equal(module.v[0, 1], frozen[1])
    else:
        assert module.v[0, 1] < 0.9


@pytest.mark.parametrize("form", HARD)
def test_exactly_one_is_not_frozen(form):
    """Saturated entries rest there; the released code's PyTorch passed a gradient at the clamp."""
    module = one_example(alpha_u=0.01, alpha_v=0.01, form=form)
    module.v.fill_(1.0)
    contradict(module, predicted=2, confidence=1.0)
    assert module.v[0, 2] == 1  # V = 1 explains the prediction wholly
    assert module.v[0, [1, 3]].tolist() == pytest.approx([0.96, 0.96])  # 1 − 4α: nothing does these
    contradict(module, predicted=0, confidence=1.0)
    assert module.v[0, 2].item() == pytest.approx(0.96)


def test_u_at_exactly_one_is_not_frozen():
    module = one_example(alpha_u=0.01, alpha_v=0)
    module.u.fill_(1.0)
    logits = torch.zeros(1, 4, dtype=F64)
    logits[0, 0] = 1
    p = math.e / (math.e + 3)
    module(logits, torch.tensor([0]), torch.tensor([0]))
    # Sum of p + U is 2; the network agrees, so û = 1 + U − 1.
    assert module.u.item() == pytest.approx(1 - 0.02 * (1 / 2 - 1 / (p + 1) + 2))


@settings(derandomize=True, max_examples=50, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 9), st.integers(2, 12), st.sampled_from(HARD))
def test_from_the_tiny_start_it_is_cross_entropy_plus_a_hard_error(seed, batch, classes, form):
    logits = torch.randn(batch, classes, generator=gen(seed), dtype=F64)  # every p above 1e-4
    labels = torch.randint(classes, (batch,), generator=gen(seed + 1))
    wrong = (logits.argmax(1) != labels).to(F64).mean()
    loss = SOPLoss(batch, classes, form=form).double()(logits, labels, torch.arange(batch))
    expected = F.cross_entropy(logits, labels) + 2 * wrong
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)


def test_the_posterior_form_ends_at_the_expected_error_of_the_label():
    p = torch.tensor([[0.3, 0.6, 0.1]], dtype=F64)
    module = one_example(3, alpha_u=0, alpha_v=0.1, init=0.01, form="posterior")
    loss = module(p.log(), torch.tensor([0]), torch.tensor([0]))
    # At even odds of an error the given label counts twice against each of the two others.
    r = torch.tensor([[6 / 13, 6 / 13, 1 / 13]], dtype=F64)
    s = torch.tensor([[1e-4, -1e-4, -1e-4]], dtype=F64)
    q = (p + s)[0, 0] / (p + s).sum()
    y = torch.tensor([[1.0, 0, 0]], dtype=F64)
    assert loss.item() == pytest.approx(-q.log().item() + (r + s - y).square().sum().item())
    for _ in range(500):
        module(p.log(), torch.tensor([0]), torch.tensor([0]))
    _, down = module.parts(torch.tensor([0]))
    assert down[0].tolist() == pytest.approx([0, 6 / 13, 1 / 13])


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_a_label_that_is_as_probable_as_any_other_is_an_even_bet(classes):
    module = one_example(classes, alpha_u=0, alpha_v=0.1, init=0.01, form="posterior")
    for _ in range(500 * classes):
        module(torch.zeros(1, classes, dtype=F64), torch.tensor([0]), torch.tensor([0]))
    _, down = module.parts(torch.tensor([0]))
    assert down[0, 1:].tolist() == pytest.approx([1 / 2 / (classes - 1)] * (classes - 1))


@pytest.mark.parametrize("form", FORMS)
def test_names_of_classes_and_order_of_examples_do_not_matter(form):
    generator = gen(0)
    batch, classes = 7, 5
    order = torch.randperm(batch, generator=generator)
    names = torch.randperm(classes, generator=generator)  # the new class k is the old names[k]
    ours, theirs = (
        SOPLoss(batch, classes, balance=0.1, consistency=0.9, form=form).double() for _ in range(2)
    )
    ours.u.copy_(factors((batch, 1), form, generator=generator))
    ours.v.copy_(factors((batch, classes), form, generator=generator))
    theirs.u.copy_(ours.u)
    theirs.v.copy_(ours.v[:, names])
    weak, strong = torch.randn(2, batch, classes, generator=generator, dtype=F64)
    labels = torch.randint(classes, (batch,), generator=generator)
    first = ours(weak, labels, torch.arange(batch), strong)
    second = theirs(
        weak[order][:, names], names.argsort()[labels[order]], order, strong[order][:, names]
    )
    torch.testing.assert_close(first, second)
    torch.testing.assert_close(theirs.u, ours.u)
    torch.testing.assert_close(theirs.v, ours.v[:, names])


@settings(derandomize=True, max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 5), max_size=9), st.booleans(), st.integers(0, 2**31))
def test_descend_equals_sgd(rows, whole, seed):
    start = torch.randn(6, 3, generator=gen(seed), dtype=F64)
    index = None if whole else torch.tensor(rows, dtype=torch.int64)
    grad = torch.randn(6 if whole else len(rows), 3, generator=gen(seed + 1), dtype=F64)
    ours, theirs = start.clone(), start.clone().requires_grad_()
    picked = theirs if index is None else theirs[index]
    (picked**2 * grad).sum().backward()
    torch.optim.SGD([theirs], lr=0.3).step()
    assert descend(ours, grad, lr=0.3, index=index) is None
    torch.testing.assert_close(ours, theirs.detach(), rtol=1e-12, atol=1e-15)


def test_u_and_v_are_state_and_no_optimizer_can_reach_them():
    module = SOPLoss(6, 3, generator=gen(0))
    assert list(module.parameters()) == []
    assert {k: tuple(x.shape) for k, x in module.state_dict().items()} == {"u": (6, 1), "v": (6, 3)}
    other = SOPLoss(6, 3)
    other.load_state_dict(module.state_dict())
    assert torch.equal(other.u, module.u)
    assert torch.equal(other.v, module.v)


def test_evaluation_and_no_grad_take_no_step_and_give_the_same_value():
    module = SOPLoss(5, 3, consistency=0.9, alpha_u=1, alpha_v=1)
    before = module.u.clone(), module.v.clone()
    logits = torch.randn(5, 3, generator=gen(1))
    arguments = logits, torch.tensor([0, 1, 2, 0, 1]), torch.arange(5)
    with torch.no_grad():
        without = module(*arguments, logits)
    module.eval()
    held_out = module(*arguments)  # a test set has no strong view; the term is left out
    for now, then in zip((module.u, module.v), before, strict=True):
        assert torch.equal(now, then)
    module.train()
    stepped = module(*arguments, logits)
    assert without == stepped == held_out  # KL(p ‖ p) = 0
    assert not torch.equal(module.v, before[1])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits(dtype):
    logits = torch.randn(4, 3, generator=gen(2)).to(dtype)
    half, full = (SOPLoss(4, 3, consistency=0.5) for _ in range(2))
    leaf = logits.clone().requires_grad_()
    labels, index = torch.tensor([0, 1, 2, 0]), torch.arange(4)
    loss = half(leaf, labels, index, logits)
    loss.backward()
    assert loss.dtype == torch.float32
    assert leaf.grad is not None
    assert leaf.grad.dtype == dtype
    assert loss == full(logits.float(), labels, index, logits.float())
    for ours, exact in zip(half.buffers(), full.buffers(), strict=True):
        assert ours.dtype == torch.float32
        assert torch.equal(ours, exact)


def test_parts():
    module = SOPLoss(3, 3)
    module.u.copy_(torch.tensor([[0.5], [-0.5], [2.0]]))
    module.v.copy_(torch.tensor([[0.5, 0.1, 3.0], [0.5, -0.5, 0.0], [1.0, 0.2, 0.5]]))
    up, down = module.parts(torch.tensor([0, 1, 2]))
    torch.testing.assert_close(up, torch.tensor([0.25, 0.25, 1.0]))
    expected = torch.tensor([[0.0, 0.01, 1.0], [0.25, 0.0, 0.0], [1.0, 0.04, 0.0]])
    torch.testing.assert_close(down, expected)
    assert module.v[0, 0] == 0.5  # a copy is returned: u and v stay as they are


def test_start():
    state = torch.get_rng_state()
    first, second = (SOPLoss(500, 4, init=1e-6, generator=gen(3)) for _ in range(2))
    assert torch.equal(first.v, second.v)
    for start in (first.u, first.v):
        assert start.std().item() == pytest.approx(1e-6, rel=0.15)
        assert abs(start.mean().item()) < 2e-7
    exact = SOPLoss(5, 2, init=1e-6)
    assert (torch.cat([exact.u, exact.v], 1) == torch.tensor(1e-6)).all()
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("batch", [1, 7, 128])
@pytest.mark.parametrize("epochs", [1, 4, 15, 70])
def test_alpha_for_sets_the_epoch_of_activation(epochs, batch, form):
    alpha = alpha_for(epochs, batch_size=batch)
    module = SOPLoss(batch, 3, alpha_u=0, alpha_v=alpha, form=form).double()
    logits = torch.tensor([[0.0, 12.0, 0.0]], dtype=F64).expand(batch, 3)  # it is certain
    labels = torch.zeros(batch, dtype=torch.int64)

    def after() -> float:
        module(logits, labels, torch.arange(batch))
        return float(module.parts(labels)[1][:, 1].min())

    down = [after() for _ in range(epochs + 1)]
    reached = next(epoch for epoch, value in enumerate(down, 1) if value > 0.5)
    assert abs(reached - epochs) <= 1
    if epochs > 1:
        assert down[epochs // 2 - 1] <= 1.001e-8  # contradicted half as long: invisible


@pytest.mark.parametrize("warmup", [5, 10, 30])
@pytest.mark.parametrize("epochs", [4, 10, 40])
def test_a_warm_up_gives_labels_up_later_by_what_activation_epochs_says(epochs, warmup):
    module = SOPLoss(
        4,
        3,
        alpha_u=0,
        alpha_v=alpha_for(epochs, batch_size=1, init=0.03),
        alpha_warmup=warmup,
        init=0.03,
    )
    logits, label = torch.tensor([[0.0, 12.0, 0.0]]), torch.zeros(1, dtype=torch.int64)
    reached = 0
    while module.parts(torch.zeros(4, dtype=torch.int64))[1][:, 1].min() < 0.5:
        for index in range(4):
            module(logits, label, torch.tensor([index]))
        reached += 1
    expected = activation_epochs(
        module.alpha_v, batch_size=1, init=0.03, alpha_warmup=module.alpha_warmup
    )
    # v needs a little more when V is near 1, and less where a step of it is large.
    assert abs(reached - expected) <= 1.5


def test_alpha_for_refuses_what_the_loss_would():
    with pytest.raises(ValueError, match=r"need a step size of .*e\+30; at most 1e\+30"):
        alpha_for(0.3071, batch_size=100_000)


def test_alpha_for_by_hand():
    assert activation_epochs(alpha_for(20, batch_size=128), batch_size=128) == pytest.approx(20)
    assert alpha_for(20, batch_size=128) == pytest.approx(32 * (1e8**0.05 - 1), rel=1e-12)
    assert alpha_for(3, batch_size=4, init=1e-3) == pytest.approx(9, rel=1e-12)
    for bad in ((0, 128, 1e-8), (5, 0, 1e-8), (5, 128, 0), (5, 128, 1), (math.nan, 128, 1e-8)):
        with pytest.raises(ValueError, match=r"is needed|must be at least"):
            alpha_for(bad[0], batch_size=bad[1], init=bad[2])


@pytest.mark.parametrize(
    ("number", "ratio"),
    [(1, 1), (500, 1), (5_000, 0.1 * 10**0.5), (50_000, 0.1), (1_000_000, 0.1)],
)
def test_u_is_the_faster_the_fewer_examples_there_are(number, ratio):
    assert alpha_ratio(number) == pytest.approx(ratio)
    recipe = recipe_for("cpu", "sop")
    module = SOPLoss.from_recipe(recipe, number, 10, generator=gen(0))
    assert module.alpha_u / module.alpha_v == pytest.approx(ratio)
    given = with_settings(recipe, ["alpha_ratio=0.3"])
    module = SOPLoss.from_recipe(given, number, 10, generator=gen(0))
    assert module.alpha_u / module.alpha_v == pytest.approx(0.3)


def test_a_recipe_with_an_epoch_of_activation_knows_the_size_of_its_batches():
    """Of 1000 examples in batches of 300 at most there are four of 250."""
    recipe = with_settings(recipe_for("cpu", "sop"), ["batch_size=300", "activation_epochs=7"])
    module = SOPLoss.from_recipe(recipe, 1000, 10, generator=gen(0))
    assert module.alpha_v == alpha_for(7, batch_size=250, init=recipe.init)
    # All counters begin at one value: a random start would delay some of them.
    for start in (module.u, module.v):
        assert (start == torch.tensor(recipe.init)).all()
    other = with_settings(recipe, ["alpha_u=10", "alpha_v=10"])
    assert SOPLoss.from_recipe(other, 1000, 10, generator=gen(0)).u.unique().numel() > 900


def test_class_balance_and_consistency():
    even = torch.eye(4)
    assert class_balance(even).item() == pytest.approx(math.log(4))  # its least: nothing left out
    lost = torch.tensor([[0.5, 0.5, 0.0]])
    hand = -(2 * math.log(0.5) + math.log(1e-4)) / 3
    assert class_balance(lost).item() == pytest.approx(hand)
    weak = torch.randn(5, 3, generator=gen(0), requires_grad=True)
    strong = torch.randn(5, 3, generator=gen(1), requires_grad=True)
    value = consistency(weak, strong)
    p, q = weak.softmax(1), strong.softmax(1)
    torch.testing.assert_close(value, (p * (p / q).log()).sum(1).mean())
    value.backward()
    assert weak.grad is None  # a fixed target
    torch.testing.assert_close(strong.grad, (q - p).detach() / 5)


@pytest.mark.parametrize("seen", [[2, 0, 3], [0, 1, 2, 3, 4], []])
def test_the_consistency_is_the_mean_over_the_examples_with_a_strong_view(seen):
    """Everything else is of the whole batch, as without a strong view."""
    weak = torch.randn(5, 3, generator=gen(0), dtype=F64)
    strong = torch.randn(5, 3, generator=gen(1), dtype=F64)
    index, labels, seen = (
        torch.arange(5),
        torch.tensor([0, 1, 2, 0, 1]),
        torch.tensor(seen, dtype=torch.int64),
    )

    def stepped(strong_logits, **options):
        module = SOPLoss(5, 3, init=0.1, **options).double()
        x, y = weak.clone().requires_grad_(), strong_logits.clone().requires_grad_()
        if module.consistency:
            loss = module(x, labels, index, y, strong=seen)
        else:
            loss = module(x, labels, index)
        loss.backward()
        return loss.detach(), x.grad, y.grad, module.u, module.v

    without, *_ = plain = stepped(strong)
    value, grad, pull, u, v = stepped(strong[seen], consistency=0.7, strong_share=0.5)
    assert all(map(torch.equal, (grad, u, v), (plain[1], *plain[3:])))
    if len(seen):
        p, q = weak[seen].softmax(1), strong[seen].softmax(1)
        divergence = (p * (p / q).log()).sum(1).mean()
        torch.testing.assert_close(value, without + 0.7 * divergence)
        torch.testing.assert_close(pull, 0.7 * (q - p) / len(seen))
    else:
        assert value == without


def visit(module: SOPLoss, index: Tensor, classes: int = 10) -> None:
    logits = torch.linspace(-3, 3, len(index) * classes).reshape(len(index), classes)
    logits.requires_grad_()
    module(logits, index % classes, index).backward()


def test_no_tensor_of_the_size_of_the_data_is_made():
    module = SOPLoss(100_000, 10, balance=0.1)
    state = {x.data_ptr() for x in module.buffers()}
    made: list[int] = []

    class Sizes(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            if isinstance(out, Tensor) and out.data_ptr() not in state:
                made.append(out.numel())
            return out

    with Sizes():
        visit(module, torch.arange(16))
    assert made
    assert max(made) <= 160


def test_in_an_ordinary_loop():
    images = torch.randn(6, 4, generator=gen(0))
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    network = nn.Linear(4, 3)
    nn.init.zeros_(network.weight)
    nn.init.constant_(network.bias, 0.1)
    loss = SOPLoss(6, 3, alpha_u=1, alpha_v=1)
    optimizer = torch.optim.SGD([*network.parameters(), *loss.parameters()], lr=0.1)
    seen: list[int] = []
    dataset = Indexed(TensorDataset(images, labels))
    for x, y, index in DataLoader(dataset, 3, shuffle=True, generator=gen(1)):  # type: ignore[arg-type]
        torch.testing.assert_close(y, labels[index])
        torch.testing.assert_close(x, images[index])
        before = loss.v.clone()
        optimizer.zero_grad()
        loss(network(x), y, index).backward()
        optimizer.step()
        seen += index.tolist()
        moved = (loss.v != before).any(1)
        assert set(moved.nonzero()[:, 0].tolist()) <= set(index.tolist())
        assert moved.any()
    assert sorted(seen) == list(range(6))
    assert (network.weight != 0).any()


def called(**changes):
    arguments = {
        "logits": torch.zeros(2, 3),
        "labels": torch.tensor([0, 1]),
        "index": torch.tensor([0, 1]),
    }
    return SOPLoss(4, 3)(**{**arguments, **changes})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: called(logits=torch.zeros(3, 3)), r"\(3, 3\)"),
        (lambda: called(logits=torch.zeros(2, 4)), r"\(2, 4\)"),
        (lambda: called(logits=torch.zeros(6)), r"\(6,\)"),
        (lambda: called(index=torch.tensor([0])), r"index \(1,\)"),
        (lambda: called(labels=torch.zeros(2, 3, dtype=torch.int64)), r"labels \(2, 3\)"),
        (lambda: called(strong_logits=torch.zeros(2, 4)), r"strong_logits has shape \(2, 4\)"),
        (
            lambda: called(strong_logits=torch.zeros(2, 3), strong=torch.tensor([1])),
            r"strong_logits has shape \(2, 3\); \(1, 3\) is needed",
        ),
        (
            lambda: called(strong=torch.tensor([0, 2])),
            "strong go from 0 to 2; the batch has 2 rows",
        ),
        (lambda: SOPLoss(3, 2, strong_share=0), "strong_share is 0"),
        (
            lambda: SOPLoss(1, 2, consistency=0.9)(
                torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64), torch.tensor([0])
            ),
            "needs strong_logits",
        ),
        (lambda: SOPLoss(0, 3), "num_examples is 0"),
        (lambda: SOPLoss(3, 1), "num_classes is 1"),
        (lambda: SOPLoss(3, 2, alpha_u=-1), "alpha_u is -1"),
        (lambda: SOPLoss(3, 2, alpha_v=math.nan), "alpha_v is nan"),
        (lambda: SOPLoss(3, 2, balance=math.inf), "balance is inf"),
        (lambda: SOPLoss(3, 2, consistency=-0.1), "consistency is -0.1"),
        (lambda: SOPLoss(3, 2, init=0.0), "init is 0.0"),
        (lambda: SOPLoss(3, 2, init=1.0), "init is 1.0"),
        (lambda: SOPLoss(3, 2, form="code"), "form is 'code'"),  # type: ignore[arg-type]
    ],
)
def test_bad_input_says_so(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "changes", [{"labels": [0, 3]}, {"labels": [0, -1]}, {"index": [0, 4]}, {"index": [-1, 0]}]
)
def test_a_label_or_index_out_of_range_moves_nothing(changes):
    module = SOPLoss(4, 3)
    before = torch.cat([module.u, module.v], 1)
    arguments = {"labels": [0, 1], "index": [0, 1], **changes}
    with pytest.raises(ValueError, match=r"(labels|index) go from .* are possible"):
        module(torch.zeros(2, 3), *(torch.tensor(arguments[key]) for key in ("labels", "index")))
    assert torch.equal(torch.cat([module.u, module.v], 1), before)
