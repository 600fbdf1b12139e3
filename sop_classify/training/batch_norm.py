"""Batch normalisation over a batch of which other processes have the rest.

Mean and variance are those of the whole batch, so that they do not depend on the number of
processes. PyTorch's own SyncBatchNorm works on GPUs only.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn

from sop_classify.training.processes import Processes

__all__ = ["SharedBatchNorm", "share_batch_norm"]


_KINDS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class SharedBatchNorm(nn.BatchNorm2d):
    """As `torch.nn.BatchNorm2d` and its kin, with the statistics of all processes.

    Parameters
    ----------
    of : Module
        The normalisation whose weights and averages are used.
    processes : Processes
        In training mode every one of them has to come here, even with an empty part of the batch.
    """

    def __init__(
        self, of: nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d, processes: Processes
    ) -> None:
        super().__init__(of.num_features, of.eps, of.momentum, of.affine, of.track_running_stats)
        self._processes = processes
        self.weight, self.bias = of.weight, of.bias
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            self.register_buffer(name, getattr(of, name))
        self.train(of.training)

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of dimensions from (B, C) on."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (B, C, ...); B may be 0."""
        if not self.training:
            return super().forward(input)
        with torch.autocast(input.device.type, enabled=False):
            wide = torch.promote_types(input.dtype, torch.float32)
            return self._normalised(input.to(wide)).to(input.dtype)

    def _normalised(self, x: Tensor) -> Tensor:
        over = [0, *range(2, x.ndim)]
        shape = [1, -1, *[1] * (x.ndim - 2)]
        number = x.new_full((1,), x.numel() // x.shape[1])
        sums: Tensor = _Sum.apply(torch.cat([x.sum(over), number]), self._processes)
        total, count = sums.split([self.num_features, 1])
        mean = total / count
        centred = x - mean.view(shape)
        variance = _Sum.apply(centred.square().sum(over), self._processes) / count
        if self.running_mean is not None and self.running_var is not None:
            self._track(mean.detach(), variance.detach(), count.detach())
        y = centred * (variance + self.eps).rsqrt().view(shape)
        if self.weight is not None:
            y = y * self.weight.view(shape)
        return y if self.bias is None else y + self.bias.view(shape)

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        batches, means, variances = (
            cast(Tensor, getattr(self, name))
            for name in ("num_batches_tracked", "running_mean", "running_var")
        )
        batches += 1
        share = 1 / float(batches) if self.momentum is None else self.momentum
        means.lerp_(mean, share)
        # One value has no variance, and its unbiased estimate would be 0/0.
        variances.lerp_(variance * count / (count - 1).clamp(min=1), share)


class _Sum(torch.autograd.Function):
    """The sum over all processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, processes: Processes) -> Tensor:
        ctx.processes = processes
        total = values.clone()
        processes.add([total])
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        total = grads[0].clone()
        ctx.processes.add([total])
        return total, None


def share_batch_norm(network: nn.Module, processes: Processes) -> nn.Module:
    """The network with a `SharedBatchNorm` in place of each batch normalisation.

    Parameters
    ----------
    network : Module
        It is changed, and shares its weights with the result.
    processes : Processes
    """
    shared: dict[nn.Module, SharedBatchNorm] = {}
    # One normalisation may have several names.
    for name, module in list(network.named_modules(remove_duplicate=False)):
        if isinstance(module, _KINDS):
            if module not in shared:
                shared[module] = SharedBatchNorm(module, processes)
            if not name:
                return shared[module]
            network.set_submodule(name, shared[module])
    return network
