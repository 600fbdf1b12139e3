"""Promise: the published architectures, initialised by the generator given and by nothing else."""

import copy
from itertools import chain, pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import resnet34

from sop_classify.training.networks import NETWORKS, FastNet, PreActResNet, build_network

NAMES = ["cnn7", "fast", "preact-resnet18", "resnet34", "small-cnn"]


def gen(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int = 2, height: int = 32, width: int = 32, seed: int = 0) -> Tensor:
    """Neighbouring pixels and channels are correlated, as in pictures."""
    noise = torch.randn(count, 3, height, width, generator=gen(seed))
    return (noise + noise.roll(1, 1) + 2 * noise.roll(1, 3)) / 6**0.5


def build(name: str, num_classes: int = 10, seed: int = 0) -> nn.Module:
    return build_network(name, num_classes, images=images(), generator=gen(seed))


def unsettled(network: nn.Module) -> nn.Module:
    """A copy whose batch normalisations have statistics, scales and shifts of their own."""
    network, generator = copy.deepcopy(network).eval(), gen(5)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                assert tensor is not None
                tensor.data.uniform_(0.5, 1.5, generator=generator)
    return network


@pytest.fixture(scope="module")
def networks() -> dict[str, nn.Module]:
    return {name: build(name) for name in NAMES}


def test_names():
    assert sorted(NETWORKS) == sorted([*NAMES, "efficientnet-lite0"])


def test_parameter_counts(networks):
    """ResNet34 is torchvision's with the CIFAR stem; the others are summed layer by layer."""
    counts = {name: sum(p.numel() for p in net.parameters()) for name, net in networks.items()}
    assert counts["resnet34"] == 21_282_122
    # Convolutions of 3x3 and the 1x1 projections; two affine numbers a channel of every
    # normalisation, which stand before the convolutions and so have their widths.
    pairs = [(64, 64)] * 4 + [(64, 128), *[(128, 128)] * 3, (128, 256), *[(256, 256)] * 3]
    pairs += [(256, 512), *[(512, 512)] * 3]
    preact = 27 * 64 + 2 * 64 + sum(9 * i * o + 2 * i for i, o in pairs) + 513 * 10
    preact += 64 * 128 + 128 * 256 + 256 * 512
    assert counts["preact-resnet18"] == preact == 11_171_274
    fast = 12 * 24 + 9 * (24 * 64 + 64 * 64 + 64 * 256 + 3 * 256 * 256) + 256 * 10
    assert counts["small-cnn"] == 456 + 2416 + 401 * 120 + 121 * 84 + 85 * 10 == 62_006
    planes = (3, 64, 64, 128, 128, 196, 16)
    cnn7 = sum(9 * i * o + 3 * o for i, o in pairwise(planes)) + 257 * 10
    assert counts["cnn7"] == cnn7
    assert counts["fast"] == fast + 2 * 2 * (64 + 256 + 256) == 1_972_768


def test_resnet34_computes_what_torchvisions_does(networks):
    network = unsettled(networks["resnet34"])
    with torch.device("meta"):  # without drawing from the global generator
        oracle = resnet34(num_classes=10)
        oracle.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    oracle.maxpool = nn.Identity()  # type: ignore[assignment]
    state = dict(zip(oracle.state_dict(), network.state_dict().values(), strict=True))
    oracle.load_state_dict(state, assign=True)
    x = images(2, 17, 20)
    with torch.no_grad():
        torch.testing.assert_close(network(x), oracle.eval()(x))


def test_preact_resnet18_computes_its_definition(networks):
    network = unsettled(networks["preact-resnet18"])
    weights = iter(network.state_dict().items())

    def convolution(x: Tensor, stride: int = 1) -> Tensor:
        weight = next(weights)[1]
        return F.conv2d(x, weight, stride=stride, padding=weight.shape[2] // 2)

    def activation(x: Tensor) -> Tensor:
        weight, bias, mean, var, _ = (next(weights)[1] for _ in range(5))
        by_channel = [t[:, None, None] for t in (weight, bias, mean, var)]
        normal = (x - by_channel[2]) / (by_channel[3] + 1e-5).sqrt()
        return (normal * by_channel[0] + by_channel[1]).clamp(min=0)

    x = images(2, 17, 20)
    expected = activation(convolution(x))
    for stride in (1, 1, 2, 1, 2, 1, 2, 1):
        raw = expected
        active = activation(raw)
        inner = activation(convolution(active, stride))
        expected = convolution(inner) + (convolution(active, 2) if stride == 2 else raw)
    weight, bias = (next(weights)[1] for _ in range(2))
    expected = expected.mean((2, 3)) @ weight.T + bias
    assert next(weights, None) is None
    with torch.no_grad():
        torch.testing.assert_close(network(x), expected, rtol=1e-3, atol=1e-4)


def test_fast_computes_its_definition(networks):
    network = unsettled(networks["fast"])
    state = network.state_dict()

    def normal(x: Tensor, name: str) -> Tensor:
        numbers = (state[f"{name}.{k}"] for k in ("running_mean", "running_var", "weight", "bias"))
        return F.gelu(F.batch_norm(x, *numbers, eps=1e-12))

    x = images(2, 33, 28)
    expected = F.gelu(F.conv2d(x, state["whiten.weight"]))
    for k in range(3):
        expected = F.conv2d(expected, state[f"groups.{k}.conv1.weight"], padding=1)
        expected = normal(F.max_pool2d(expected, 2), f"groups.{k}.bn1")
        expected = F.conv2d(expected, state[f"groups.{k}.conv2.weight"], padding=1)
        expected = normal(expected, f"groups.{k}.bn2")
    expected = expected.amax((2, 3)) @ state["head.weight"].T / 9
    with torch.no_grad():
        torch.testing.assert_close(network(x), expected)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(32, 32), (28, 28), (9, 13), (31, 17)])
def test_any_size(networks, name, size):
    network = copy.deepcopy(networks[name]).train()
    logits = network(images(2, *size))
    assert logits.shape == (2, 10)
    assert logits.isfinite().all()
    logits.square().sum().backward()
    for key, parameter in network.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, key
            assert parameter.grad.isfinite().all(), key


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("num_classes", [2, 100])
def test_any_number_of_classes(name, num_classes):
    network = build(name, num_classes).eval()
    with torch.no_grad():
        assert network(images(1, 9, 9)).shape == (1, num_classes)


@pytest.mark.parametrize("name", NAMES)
def test_one_seed_one_network_and_no_global_state(networks, name):
    state = torch.get_rng_state()
    again, other = build(name).state_dict(), build(name, seed=1).state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    first = networks[name].state_dict()
    assert list(first) == list(again)
    for key, tensor in first.items():
        assert torch.equal(tensor, again[key]), key
        # Of the fast one's kernels only what exceeds the identity is drawn.
        inputs = tensor.shape[1] if name == "fast" and tensor.ndim == 4 else 0
        if tensor.ndim > 1 and len(tensor) > inputs and key != "whiten.weight":
            assert not torch.equal(tensor, other[key]), key
    torch.manual_seed(int(state[0]) + 1)
    try:
        assert torch.equal(build(name).state_dict()["head.weight"], first["head.weight"])
    finally:
        torch.set_rng_state(state)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_left_as_memory_was(networks, name, monkeypatch):
    to_empty = nn.Module.to_empty

    def poisoned(self: nn.Module, **options) -> nn.Module:
        network = to_empty(self, **options)
        for tensor in chain(network.parameters(), network.buffers()):
            tensor.data.fill_(float("nan") if tensor.is_floating_point() else -1)
        return network

    monkeypatch.setattr(nn.Module, "to_empty", poisoned)
    network = build(name)
    for key, tensor in network.state_dict().items():
        assert tensor.isfinite().all(), key
        assert (tensor == 0).all() or not key.endswith("num_batches_tracked"), key
        assert torch.equal(tensor, networks[name].state_dict()[key]), key
    assert all(tensor.device.type == "cpu" for tensor in network.state_dict().values())


@pytest.mark.parametrize("name", NAMES)
def test_distribution_of_the_start(networks, name):
    """Uniform within 1/√fan_in, PyTorch's default; normalisations are the identity."""
    for key, module in networks[name].named_modules():
        if isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all()
            assert (module.bias == 0).all()
            assert (module.running_mean == 0).all()  # type: ignore[operator]
            assert (module.running_var == 1).all()  # type: ignore[operator]
        elif isinstance(module, nn.Conv2d | nn.Linear) and key != "whiten":
            bound = module.weight[0].numel() ** -0.5
            drawn = module.weight
            if name == "fast" and isinstance(module, nn.Conv2d):
                drawn = module.weight[module.in_channels :]  # the others are the identity
            if drawn.numel():
                assert drawn.abs().max() <= bound
            if drawn.numel() > 1000:
                assert drawn.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)
            if module.bias is not None:
                assert module.bias.abs().max() <= bound
                assert module.bias.std() > 0


def test_whitening_whitens_the_sample():
    sample = images(40, 15, 18, seed=3)
    network = build_network("fast", 10, images=sample, generator=gen(0))
    assert isinstance(network, FastNet)
    with torch.no_grad():
        out = network.whiten(sample)
    torch.testing.assert_close(out[:, 12:], -out[:, :12])
    patches = F.unfold(sample, 2).movedim(1, 2).reshape(-1, 12).double()
    variance = torch.linalg.eigvalsh(patches.T @ patches / len(patches)).flip(0)
    white = out[:, :12].movedim(1, 3).reshape(-1, 12).double()
    covariance = white.T @ white / len(white)
    # Identity but for the 5e-4 by which the smallest directions are held back.
    torch.testing.assert_close(covariance, (variance / (variance + 5e-4)).diag(), atol=1e-4, rtol=0)
    assert (covariance.diag() > 0.95).all()
    assert not network.whiten.weight.requires_grad
    before = network.whiten.weight.clone()
    shifted = build_network("fast", 10, images=images(40, 15, 18, seed=4) * 3, generator=gen(0))
    assert not torch.equal(shifted.whiten.weight, before)  # type: ignore[union-attr]


def test_whitening_of_flat_pictures_is_finite():
    network = build_network("fast", 3, images=torch.zeros(2, 3, 9, 9), generator=gen(0))
    assert all(tensor.isfinite().all() for tensor in network.state_dict().values())
    largest = network.whiten.weight.abs().max().item()  # type: ignore[union-attr]
    assert largest <= 5e-4**-0.5 * 1.001


def test_whitening_of_grey_pictures_leaves_no_channel_empty():
    sample = images(40, 15, 18, seed=3)[:, :1].expand(-1, 3, -1, -1)
    network = build_network("fast", 10, images=sample, generator=gen(0))
    with torch.no_grad():
        out = network.whiten(sample)  # type: ignore[operator]
    torch.testing.assert_close(out.square().mean((0, 2, 3)), torch.ones(24), atol=0.01, rtol=0)


def test_fast_starts_as_the_identity(networks):
    """As far as inputs go, output k of every convolution is input k."""
    for group in networks["fast"].groups:
        for convolution in (group.conv1, group.conv2):
            channels = convolution.in_channels
            x = torch.randn(1, channels, 5, 6, generator=gen(1))
            with torch.no_grad():
                assert torch.equal(convolution(x)[:, :channels], x)


def test_preact_resnet_of_other_depth():
    with torch.device("meta"):
        network = PreActResNet((1, 1, 1, 1), 5)
        assert network(torch.empty(2, 3, 32, 32)).shape == (2, 5)


def test_unknown_name():
    with pytest.raises(ValueError, match=r"'resnet50'.*fast, preact-resnet18, resnet34"):
        build("resnet50")


@pytest.mark.parametrize(("height", "width"), [(32, 32), (224, 224), (33, 47)])
def test_efficientnet_lite_pads_as_tensorflow_does(height, width):
    """Of 224 rows 112, 56, 28, 14 and 7 remain; of an odd number the larger half."""
    network = _build("efficientnet-lite0", side=(height, width)).eval()
    sizes = []
    network._conv_head.register_forward_pre_hook(
        lambda _, inputs: sizes.append(inputs[0].shape[2:])
    )
    with torch.no_grad():
        network(torch.zeros(1, 3, height, width))
    assert sizes == [(-(-height // 32), -(-width // 32))]
    # 4.65 million weights as published, of them 1,281,000 in the head for 1,000 classes.
    count = sum(p.numel() for p in network.parameters())
    assert count - 10 * 1281 + 1_281_000 == 4_652_008


def test_networks_of_torchvision_depend_on_the_seed_alone():
    images = torch.zeros(1, 3, 32, 32)
    before = torch.get_rng_state()

    def weights(seed):
        generator = torch.Generator().manual_seed(seed)
        network = build_network(
            "torchvision/mobilenet_v3_small", 5, images=images, generator=generator
        )
        assert network.training
        return next(network.parameters())

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))
    assert torch.equal(torch.get_rng_state(), before)
    with pytest.raises(ValueError, match="no classifier 'resnet19'; it has resnet1"):
        build_network("torchvision/resnet19", 5, images=images, generator=torch.Generator())


def _build(name, *, side):
    images = torch.zeros(1, 3, *side)
    return build_network(name, 10, images=images, generator=torch.Generator().manual_seed(0))
