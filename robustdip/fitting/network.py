"""The image prior: a U-Net with skip connections, and its fixed random input."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["FixedInput", "SkipUNet"]


class SkipUNet(nn.Module):
    """Encoder-decoder with thin skip connections, ending in a sigmoid (Ulyanov et al., CVPR 2018).

    The layout is the "skip" network of Deep Image Prior (arXiv 1711.10925, supplementary material)
    in the configuration of You et al. (arXiv 2006.08857). Scale i halves the grid:

        skip_i : conv 1x1                                     in_i -> skip
        down_i : conv 3x3 stride 2, conv 3x3                  in_i -> width
        up_i   : upsample x2, join skip_i, conv 3x3, conv 1x1      -> width

    each convolution followed by batch normalisation and LeakyReLU(0.2); last a conv 1x1 and a
    sigmoid.

    With `joined`, a conv 1x1 without normalisation reduces the channels before they are upsampled.
    It commutes with the interpolation, so that the conv 1x1 and the conv 3x3 are one convolution
    3x3 of the layout above, whose matrix for each pixel has a lower rank; but most of the work is
    done on a quarter of the pixels.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input z and of the image.
    width : int
        Channels of every scale.
    joined : int, optional
        Channels of the tensor that each decoder convolves, with those of the skip connection;
        width + skip if None.
    finest : int, optional
        Channels of the decoder at full resolution: of up_0 and of the tensor that it convolves.
        `width` and `joined` if None. At equal widths more than half of the computation is there,
        and detail needs few channels.
    scales : int
        Number of halvings; height and width of z must be multiples of ``2**scales``.
    skip : int
        Channels of each skip connection.
    published : bool
        True: reflection padding, convolution biases and a normalisation of every joined tensor, as
        in the published script. False: zero padding inside the convolution, which needs no copy,
        and neither of the other two, because the batch normalisation after each convolution cancels
        its bias and most of the scale. The convolutions and widths are the same.
    generator : torch.Generator, optional
        Source of the initial weights, which have PyTorch's default distribution.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        width: int = 128,
        joined: int | None = None,
        finest: int | None = None,
        scales: int = 5,
        skip: int = 4,
        published: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()

        def convolution(cin: int, cout: int, kernel: int, stride: int = 1) -> nn.Module:
            return nn.utils.skip_init(
                nn.Conv2d,
                cin,
                cout,
                kernel,
                stride=stride,
                padding=kernel // 2,
                bias=published,
                padding_mode="reflect" if published and kernel > 1 else "zeros",
                device="cpu",
                dtype=torch.float32,
            )

        def block(cin: int, cout: int, kernel: int, stride: int = 1) -> nn.Sequential:
            layers = convolution(cin, cout, kernel, stride), _norm(cout)
            return nn.Sequential(*layers, nn.LeakyReLU(0.2, inplace=True))

        decoded = [finest or width, *[width] * (scales - 1)]
        self.skip, self.down, self.up = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        self.reduce = nn.ModuleList()
        for i in range(scales):
            cin = width if i else in_channels
            self.skip.append(block(cin, skip, 1))
            self.down.append(nn.Sequential(block(cin, width, 3, stride=2), block(width, width, 3)))
            if joined is None:
                seen = width + skip
                self.reduce.append(nn.Identity())
            else:
                seen = joined if i or finest is None else finest
                self.reduce.append(convolution(width, seen - skip, 1))
            up = nn.Sequential(block(seen, decoded[i], 3), block(decoded[i], decoded[i], 1))
            self.up.append(nn.Sequential(_norm(seen), up) if published else up)
        self.head = nn.utils.skip_init(
            nn.Conv2d, finest or width, out_channels, 1, device="cpu", dtype=torch.float32
        )
        # skip_init leaves the weights unset, because the layers would draw them from PyTorch's
        # global generator.
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                bound = (module.weight[0].numel()) ** -0.5  # kaiming_uniform_(a=√5): PyTorch's own
                nn.init.uniform_(module.weight, -bound, bound, generator=generator)
                if module.bias is not None:
                    nn.init.uniform_(module.bias, -bound, bound, generator=generator)

    def forward(self, z: Tensor) -> Tensor:
        """Compute the image of an input.

        Parameters
        ----------
        z : Tensor, shape (1, in_channels, H, W)
            H and W are multiples of ``2**scales``.

        Returns
        -------
        Tensor, float32, shape (1, out_channels, H, W)
            In (0, 1).
        """
        x, skips = z, []
        for skip, down in zip(self.skip, self.down, strict=True):
            skips.append(skip(x))
            x = down(x)
        for reduce, up in zip(reversed(self.reduce), reversed(self.up), strict=True):
            x = reduce(x)
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            if x.requires_grad:
                # The gradient arrives as a slice of the joined tensor's, and on such a slice the
                # backward of the interpolation is many times slower than on contiguous memory.
                x.register_hook(lambda grad: grad.contiguous(memory_format=torch.channels_last))
            x = up(torch.cat([skips.pop(), x], dim=1))
        # The sigmoid and everything after it (loss, s) are float32, whatever the precision.
        return torch.sigmoid(self.head(x).float())


class FixedInput:
    """The network's fixed random input z, uniform in [0, scale], with new jitter at every call.

    Parameters
    ----------
    channels : int
        Channels of z.
    size : tuple of int
        Height and width of the grid.
    scale, jitter : float
        Range of z, and standard deviation of the normal noise that each call adds to it.
    fresh : bool
        Draw new normal numbers at every call, as published. Otherwise read them from a random place
        of a table twice as long as z. Drawing 32 normal numbers for each pixel takes a large part
        of a step on a CPU, where the generator is serial.
    generator : torch.Generator
        On the CPU. It draws z, the places and the seed of the jitter's own generator.
    device : torch.device
        Device of the result.
    dtype : torch.dtype
        Type of the result.
    """

    def __init__(
        self,
        channels: int,
        size: tuple[int, int],
        *,
        scale: float,
        jitter: float,
        fresh: bool,
        generator: torch.Generator,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        # Drawn as (H, W, channels) and viewed as channels_last, which needs no copy; PyTorch's
        # normal generator is faster on contiguous memory.
        shape = (1, *size, channels)
        z = torch.rand(shape, generator=generator, device="cpu", dtype=torch.float32) * scale
        self.z = z.to(device, dtype)
        self.jitter, self.places = jitter, generator
        seed = int(torch.randint(2**31, (), generator=generator, device="cpu"))
        self.normal = torch.Generator(device).manual_seed(seed)
        self.table = None if fresh else self._normal((2 * z.numel(),), torch.float32).to(dtype)

    def __call__(self) -> Tensor:
        """Add new jitter to z.

        Returns
        -------
        Tensor, shape (1, channels, H, W), channels_last
        """
        if self.table is None:
            noise = self._normal(self.z.shape, self.z.dtype)
        else:
            count = self.z.numel()
            place = int(torch.randint(count, (), generator=self.places, device="cpu"))
            noise = self.table[place : place + count].view_as(self.z)
        return (self.z + noise).permute(0, 3, 1, 2)

    def _normal(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        drawn = torch.randn(shape, generator=self.normal, device=self.z.device, dtype=dtype)
        return drawn.mul_(self.jitter)


def _norm(channels: int) -> nn.BatchNorm2d:
    """Batch normalisation by the statistics of the input; a fit never needs running statistics."""
    return nn.BatchNorm2d(channels, track_running_stats=False, device="cpu", dtype=torch.float32)
