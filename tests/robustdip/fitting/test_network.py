"""Promise: the fast network has the same convolutions as the published one."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from robustdip.fitting.network import SkipUNet


def gen(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def small(*, published: bool = False, seed: int = 0) -> SkipUNet:
    return SkipUNet(8, 3, width=8, scales=3, published=published, generator=gen(seed))


def kernels(net: nn.Module) -> list[torch.Size]:
    return [p.shape for p in net.parameters() if p.ndim == 4]


def test_both_have_the_same_convolutions():
    assert kernels(SkipUNet(32, 3)) == kernels(SkipUNet(32, 3, published=True))


@pytest.mark.parametrize("published", [False, True])
@pytest.mark.parametrize("size", [(16, 16), (24, 64)])
def test_an_image_of_the_codes_size_in_the_open_unit_interval(published, size):
    image = small(published=published)(torch.rand(1, 8, *size, generator=gen(1)))
    assert image.shape == (1, 3, *size)
    assert image.dtype == torch.float32
    assert 0 < image.min() < image.max() < 1


def test_the_fast_network_has_no_layer_without_a_deterministic_cuda_backward():
    modes = {m.padding_mode for m in small().modules() if isinstance(m, nn.Conv2d)}
    assert modes == {"zeros"}
    modes = {m.padding_mode for m in small(published=True).modules() if isinstance(m, nn.Conv2d)}
    assert "reflect" in modes


def test_gradients_are_those_of_the_plain_layers():
    """The hook on the interpolation changes the layout of a gradient and nothing else."""
    net = small().double()
    z = torch.rand(1, 8, 32, 32, generator=gen(1), dtype=torch.float64)

    def plain(z: torch.Tensor) -> torch.Tensor:
        x, skips = z, []
        for skip, down in zip(net.skip, net.down, strict=True):
            skips.append(skip(x))
            x = down(x)
        for up in reversed(net.up):
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = up(torch.cat([skips.pop(), x], dim=1))
        return torch.sigmoid(net.head(x).float())

    gradients = []
    for forward in (net, plain):
        net.zero_grad()
        forward(z).square().sum().backward()
        gradients.append([p.grad.clone() for p in net.parameters()])
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def test_channels_are_reduced_before_the_enlargement_with_the_result_of_doing_it_after():
    """A convolution 1x1 commutes with the interpolation, whose weights add up to 1."""
    net = SkipUNet(8, 3, width=12, joined=8, finest=6, scales=3, generator=gen(0)).double()
    z = torch.rand(1, 8, 32, 40, generator=gen(1), dtype=torch.float64)
    x, skips = z, []
    for skip, down in zip(net.skip, net.down, strict=True):
        skips.append(skip(x))
        x = down(x)
    for reduce, up in zip(reversed(net.reduce), reversed(net.up), strict=True):
        x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        x = up(torch.cat([skips.pop(), reduce(x)], dim=1))
    torch.testing.assert_close(net(z), torch.sigmoid(net.head(x).float()), rtol=1e-6, atol=1e-7)
    assert [up[0][0].in_channels for up in net.up] == [6, 8, 8]


def test_weights_come_from_the_generator_alone():
    state = torch.get_rng_state()
    one, same, other = small(seed=3), small(seed=3), small(seed=4)
    assert torch.equal(torch.get_rng_state(), state)
    pairs = list(zip(one.parameters(), same.parameters(), other.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b, _ in pairs)
    assert not all(torch.equal(a, c) for a, _, c in pairs if a.ndim == 4)


def test_initial_weights_are_pytorchs_own_distribution():
    """kaiming_uniform with a = √5, PyTorch's default, is uniform on ±1/√(fan in)."""
    net = SkipUNet(32, 3, width=64, generator=gen(0))
    ours = net.down[1][1][0].weight.detach()
    theirs = nn.Conv2d(64, 64, 3).weight.detach()
    assert float(ours.abs().max()) == pytest.approx(float(theirs.abs().max()), rel=0.01)
    assert float(ours.std()) == pytest.approx(float(theirs.std()), rel=0.02)
