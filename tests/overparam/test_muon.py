"""Promise: Muon, which takes matrices, steps the kernels of convolutions."""

import pytest
import torch
from torch import nn

from overparam.muon import ConvolutionMuon

SHAPES = [(8, 3, 3, 3), (4, 6, 1, 1), (5, 2, 3, 2), (3, 16, 3, 3)]
LAST = torch.channels_last


def gen(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def kernels(seed: int = 0) -> list[nn.Parameter]:
    generator = gen(seed)
    drawn = (torch.randn(shape, generator=generator) for shape in SHAPES)
    return [nn.Parameter(kernel.contiguous(memory_format=LAST)) for kernel in drawn]


def matrix(kernel: torch.Tensor) -> torch.Tensor:
    """A copy as (out, kh·kw·in), by the definition of that order."""
    rows = [[kernel[o, :, i, j] for i in range(kernel.shape[2]) for j in range(kernel.shape[3])]
            for o in range(len(kernel))]  # fmt: skip
    return torch.stack([torch.cat(row) for row in rows]).detach().clone()


def set_gradients(parameters: list[nn.Parameter], step: int) -> None:
    for k, parameter in enumerate(parameters):
        parameter.grad = torch.randn(parameter.shape, generator=gen(100 * step + k))


def orthogonalised(matrix: torch.Tensor) -> torch.Tensor:
    """Five Newton-Schulz iterations X <- aX + b XX'X + c XX'XX'X, as published, in float64."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix.double() / matrix.double().norm()
    for _ in range(5):
        gram = x @ x.T
        x = a * x + b * gram @ x + c * gram @ gram @ x
    return x


def updates(gradients: list[torch.Tensor], **settings) -> list[torch.Tensor]:
    """What one step subtracts from kernels of 0, as matrices."""
    ours = [nn.Parameter(torch.zeros_like(g, memory_format=LAST)) for g in gradients]
    for kernel, gradient in zip(ours, gradients, strict=True):
        kernel.grad = gradient
    ConvolutionMuon(ours, lr=1.0, **settings).step()
    return [-matrix(kernel) for kernel in ours]


@pytest.mark.parametrize("smallest", [1.0, 1e-3, 1e-6, 0.0])
@pytest.mark.parametrize("seed", range(5))
def test_a_step_is_the_published_iteration_on_good_and_bad_matrices(smallest, seed):
    """Singular values from 1 down to `smallest`: the Gram matrix squares them."""
    shapes = [*SHAPES, SHAPES[0], (12, 8, 1, 1), (64, 64, 3, 3)]
    gradients = []
    for k, shape in enumerate(shapes):
        drawn = torch.randn(shape, generator=gen(10 * seed + k)).flatten(1)
        left, values, right = torch.linalg.svd(drawn, full_matrices=False)
        values = torch.linspace(1, smallest, len(values))
        gradients.append((left * values @ right).view(shape))
    for gradient, update in zip(gradients, updates(gradients), strict=True):
        expected = orthogonalised(matrix(gradient))
        expected *= max(1, expected.shape[0] / expected.shape[1]) ** 0.5
        assert (update - expected).norm() < 1e-3 * expected.norm()


@pytest.mark.parametrize("unit_rows", [False, True])
@pytest.mark.parametrize("layout", [LAST, torch.contiguous_format])  # of gradients: either comes
def test_equals_muon_on_the_matrices_but_for_its_rounding(unit_rows, layout):
    """PyTorch's own orthogonalises in bfloat16, whose rounding is 2^-9 in each of ten products."""
    ours = kernels()
    theirs = [nn.Parameter(matrix(kernel)) for kernel in ours]
    optimizer = ConvolutionMuon(ours, lr=0.1, momentum=0.7, unit_rows=unit_rows)
    oracle = torch.optim.Muon(theirs, lr=0.1, momentum=0.7, nesterov=True, weight_decay=0)
    for step in range(4):
        set_gradients(ours, step)
        for kernel, reference in zip(ours, theirs, strict=True):
            kernel.grad = kernel.grad.contiguous(memory_format=layout)  # type: ignore[union-attr]
            reference.grad = matrix(kernel.grad)
            if unit_rows:
                reference.data *= len(reference) ** 0.5 / reference.data.square().sum().sqrt()
        optimizer.step()
        oracle.step()
        for kernel, reference in zip(ours, theirs, strict=True):
            moved = 0.1 * len(reference) ** 0.5  # the norm of a step, about
            assert (matrix(kernel) - reference.detach()).norm() < 0.05 * moved * (step + 1)


def test_the_network_itself_is_stepped():
    network = nn.Conv2d(3, 5, 3).to(memory_format=LAST)
    optimizer = ConvolutionMuon([network.weight], lr=0.05)  # type: ignore[list-item]
    nn.init.constant_(network.weight, 0.1)
    x = torch.randn(2, 3, 6, 6, generator=gen(0))
    before = network(x).square().mean()
    for _ in range(3):
        optimizer.zero_grad()
        assert network.weight.grad is None
        loss = network(x).square().mean()
        loss.backward()
        optimizer.step()
    assert network(x).square().mean() < 0.9 * before


def test_unit_rows_scales_to_the_root_of_the_outputs_and_keeps_the_direction():
    ours = kernels()
    before = [kernel.detach().clone() for kernel in ours]
    set_gradients(ours, 0)
    ConvolutionMuon(ours, lr=0.0, unit_rows=True).step()  # at rate 0 only the scaling is left
    for kernel, old in zip(ours, before, strict=True):
        assert kernel.norm().item() == pytest.approx(len(kernel) ** 0.5, rel=1e-6)
        torch.testing.assert_close(kernel / kernel.norm(), old / old.norm())


def test_without_unit_rows_a_zero_rate_changes_nothing():
    ours = kernels()
    before = [kernel.detach().clone() for kernel in ours]
    set_gradients(ours, 0)
    ConvolutionMuon(ours, lr=0.0).step()
    assert all(torch.equal(kernel, old) for kernel, old in zip(ours, before, strict=True))


def test_the_rate_is_the_spectral_norm_of_a_step():
    """Of a flat update; tall matrices (out > kh·kw·in) by the root of the ratio more."""
    ours = kernels()
    for kernel in ours:
        nn.init.zeros_(kernel)
    set_gradients(ours, 0)
    ConvolutionMuon(ours, lr=0.1).step()
    for kernel in ours:
        rows, columns = len(kernel), kernel[0].numel()
        values = torch.linalg.svdvals(matrix(kernel)) / max(1, rows / columns) ** 0.5
        # Five Newton-Schulz steps bring singular values near 1, not to it.
        assert 0.04 < values.min()
        assert values.max() < 0.13


def test_a_kernel_without_gradient_stays():
    ours = kernels()
    set_gradients(ours[1:], 0)
    before = ours[0].detach().clone()
    ConvolutionMuon(ours, lr=0.1).step()
    assert torch.equal(ours[0], before)


@pytest.mark.parametrize("restore", [True, False])
def test_a_restored_optimizer_continues_bit_for_bit(restore):
    """Without the state it does not: the control."""
    whole, halves = kernels(), kernels()
    first, second = (ConvolutionMuon(k, lr=0.1, unit_rows=True) for k in (whole, halves))
    for step in range(2):
        for parameters, optimizer in ((whole, first), (halves, second)):
            set_gradients(parameters, step)
            optimizer.step()
    state = second.state_dict()
    resumed = [nn.Parameter(k.detach().clone(memory_format=torch.preserve_format)) for k in halves]
    third = ConvolutionMuon(resumed, lr=0.7, unit_rows=True)
    if restore:
        third.load_state_dict(state)
    else:
        third.param_groups[0]["lr"] = 0.1
    for step in range(2, 4):
        for parameters, optimizer in ((whole, first), (resumed, third)):
            set_gradients(parameters, step)
            optimizer.step()
    same = all(torch.equal(a, b) for a, b in zip(whole, resumed, strict=True))
    assert same == restore


def test_a_schedule_reaches_it():
    ours = kernels()
    optimizer = ConvolutionMuon(ours, lr=0.1)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 0.0 if epoch else 1.0)
    set_gradients(ours, 0)
    optimizer.step()
    schedule.step()
    before = [kernel.detach().clone() for kernel in ours]
    optimizer.step()
    assert all(torch.equal(kernel, old) for kernel, old in zip(ours, before, strict=True))
