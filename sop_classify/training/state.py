"""The state of modules and optimizers as tensors by name, and back.

Safetensors keep tensors alone. Settings of optimizers, such as rates, come from the recipe.
"""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn
from torch.optim import Optimizer

__all__ = ["load_tensors", "tensors_of"]


def tensors_of(
    modules: Mapping[str, nn.Module], optimizers: Sequence[Optimizer]
) -> dict[str, Tensor]:
    """All tensors of modules, by "module.name", and of optimizers, by "optimizer.i.j.name".

    Parameters
    ----------
    modules : mapping of str to Module
    optimizers : sequence of Optimizer
        i is the place in it, and j the number of the weight.
    """
    state = {
        f"{prefix}.{name}": value
        for prefix, module in modules.items()
        for name, value in module.state_dict().items()
    }
    for i, optimizer in enumerate(optimizers):
        for j, values in optimizer.state_dict()["state"].items():
            for name, value in values.items():
                if isinstance(value, Tensor):
                    state[f"optimizer.{i}.{j}.{name}"] = value
    return state


def load_tensors(
    state: Mapping[str, Tensor],
    modules: Mapping[str, nn.Module],
    optimizers: Sequence[Optimizer],
    *,
    trained: bool,
) -> None:
    """Load what `tensors_of` of the same modules and optimizers returned; others are ignored.

    Parameters
    ----------
    state : mapping of str to Tensor
    modules : mapping of str to Module
    optimizers : sequence of Optimizer
    trained : bool
        Whether they have made steps.

    Raises
    ------
    ValueError
        If an optimizer that remembers its steps has nothing to remember, or a tensor of it belongs
        to a weight of another size.
    """
    # All is checked before anything is loaded.
    found = [_of_optimizer(i, optimizer, state) for i, optimizer in enumerate(optimizers)]
    for i, (optimizer, saved) in enumerate(zip(optimizers, found, strict=True)):
        remembers = any(optimizer.defaults.get(name) for name in ("momentum", "betas"))
        if trained and remembers and not saved:
            raise ValueError(f"the state has nothing of optimizer {i}")
    for prefix, module in modules.items():
        module.load_state_dict(_with_prefix(f"{prefix}.", state))
    for optimizer, saved in zip(optimizers, found, strict=True):
        optimizer.load_state_dict({**optimizer.state_dict(), "state": saved})


def _of_optimizer(
    i: int, optimizer: Optimizer, state: Mapping[str, Tensor]
) -> dict[int, dict[str, Tensor]]:
    """What the state has of an optimizer, by the number of the weight and by name."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    saved: dict[int, dict[str, Tensor]] = {}
    for name, value in _with_prefix(f"optimizer.{i}.", state).items():
        number, _, key = name.partition(".")
        j = int(number) if number.isdigit() else len(weights)
        if j >= len(weights):
            raise ValueError(f"the state has 'optimizer.{i}.{name}', and there is no such weight")
        if value.numel() not in (1, weights[j].numel()):
            raise ValueError(
                f"the state has 'optimizer.{i}.{name}' of shape {tuple(value.shape)}, "
                f"for a weight of {tuple(weights[j].shape)}"
            )
        saved.setdefault(j, {})[key] = value
    return saved


def _with_prefix(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
