"""The image prior: a U-Net with skip connections (Ulyanov, Vedaldi and Lempitsky, 2018)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["SkipUNet"]


class SkipUNet(nn.Module):
    """Encoder-decoder with thin skip connections, ending in a sigmoid.

    The layout is the "skip" network of Deep Image Prior (arXiv 1711.10925, supplementary material)
    in the configuration of You et al. (arXiv 2006.08857). Scale i halves the grid:

        skip_i : conv 1x1                                     in_i -> skip
        down_i : conv 3x3 stride 2, conv 3x3                  in_i -> width
        up_i   : upsample x2, join skip_i, conv 3x3, conv 1x1      -> width

    each convolution followed by batch normalisation and LeakyReLU(0.2); last a conv 1x1 and a
    sigmoid.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input code z and of the image.
    width : int
        Channels of every scale.
    finest : int, optional
        Channels of up_0, the decoder at full resolution; `width` if None. More than half of the
        work is there, and detail needs few of them.
    scales : int
        Number of halvings; height and width of z must be multiples of ``2**scales``.
    skip : int
        Channels of each skip connection.
    published : bool
        True: reflection padding, convolution biases and a normalisation of every joined tensor, as
        in the published script. False: zero padding inside the convolution, which copies nothing,
        and neither of the other two, since the batch normalisation after
        each convolution cancels its bias and most of the scale. Same convolutions, same widths.
    generator : torch.Generator, optional
        Source of the initial weights (PyTorch's default distribution).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        width: int = 128,
        finest: int | None = None,
        scales: int = 5,
        skip: int = 4,
        published: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()

        def block(cin: int, cout: int, kernel: int, stride: int = 1) -> nn.Sequential:
            conv = nn.utils.skip_init(
                nn.Conv2d,
                cin,
                cout,
                kernel,
                stride=stride,
                padding=kernel // 2,
                bias=published,
                padding_mode="reflect" if published and kernel > 1 else "zeros",
            )
            return nn.Sequential(conv, _norm(cout), nn.LeakyReLU(0.2, inplace=True))

        self.skip, self.down, self.up = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for i in range(scales):
            cin = in_channels if i == 0 else width
            self.skip.append(block(cin, skip, 1))
            self.down.append(nn.Sequential(block(cin, width, 3, stride=2), block(width, width, 3)))
            joined = width + skip
            out = width if i or finest is None else finest
            up = nn.Sequential(block(joined, out, 3), block(out, out, 1))
            self.up.append(nn.Sequential(_norm(joined), up) if published else up)
        self.head = nn.utils.skip_init(nn.Conv2d, finest or width, out_channels, 1)
        # Initialised here from an argument, not by the layers from PyTorch's global generator.
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                bound = (module.weight[0].numel()) ** -0.5  # kaiming_uniform_(a=√5): PyTorch's own
                nn.init.uniform_(module.weight, -bound, bound, generator=generator)
                if module.bias is not None:
                    nn.init.uniform_(module.bias, -bound, bound, generator=generator)

    def forward(self, z: Tensor) -> Tensor:
        """Map a code (1, in_channels, H, W) to an image (1, out_channels, H, W) in (0, 1)."""
        x, skips = z, []
        for skip, down in zip(self.skip, self.down, strict=True):
            skips.append(skip(x))
            x = down(x)
        for up in reversed(self.up):
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            if x.requires_grad:
                # The gradient arrives as a slice of the joined tensor's, and on such a slice the
                # backward of the interpolation is many times slower than on contiguous memory.
                x.register_hook(lambda grad: grad.contiguous(memory_format=torch.channels_last))
            x = up(torch.cat([skips.pop(), x], dim=1))
        # The sigmoid and what follows it (loss, s) are float32 whatever the autocast precision.
        return torch.sigmoid(self.head(x).float())


def _norm(channels: int) -> nn.BatchNorm2d:
    """Batch normalisation by the image's own statistics: a fit never leaves training mode."""
    return nn.BatchNorm2d(channels, track_running_stats=False)
