"""Scenes with known corruption, and models of s estimated on them."""

from dataclasses import replace

import numpy as np
import torch

from robustdip.corruption.base import Problem
from robustdip.corruption.mixture import MixtureModel
from robustdip.recipes import RECIPES, Recipe


def with_mixture(recipe: Recipe, **changes) -> Recipe:
    """The recipe with other settings of its mixture model."""
    return replace(recipe, corruption_model=replace(recipe.corruption_model, **changes))


def small(name: str = "default", *, steps: int = 30) -> Recipe:
    """A recipe with a network small enough for tests, and s from the start."""
    recipe = replace(RECIPES[name], width=16, steps=steps)
    return with_mixture(recipe, onset=0, refresh=0) if name == "default" else recipe


RECIPE = with_mixture(RECIPES["default"], onset=0)


def scene(channels: int = 3, side: int = 64, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A smooth image with an edge, and a network's guess of it: right up to Laplace noise of
    2 % that the channels share and 0.5 % of their own."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(0.1, 0.9, side)
    clean = 0.5 * (ramp[:, None] + (ramp[None] > 0.5))[..., None] * np.linspace(0.7, 1, channels)
    shared = rng.laplace(0, 0.02, (side, side, 1))
    return clean, clean + shared + rng.laplace(0, 0.005, clean.shape)


def tensor(image: np.ndarray) -> torch.Tensor:
    """(H, W, C) as (1, C, H, W)."""
    return torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32))[None].contiguous()


def array(values: torch.Tensor) -> np.ndarray:
    """(1, C, H, W) as (H, W, C)."""
    return values[0].permute(1, 2, 0).numpy()


def problem(
    y: torch.Tensor, valid: torch.Tensor | None = None, *, recipe: Recipe = RECIPE
) -> Problem:
    valid = torch.ones_like(y) if valid is None else valid
    generator = torch.Generator().manual_seed(0)
    return Problem(y, valid, recipe.penalty, recipe.steps, generator)


def model_of(
    y: torch.Tensor, valid: torch.Tensor | None = None, *, recipe: Recipe = RECIPE
) -> MixtureModel:
    """The recipe's mixture model of y before the first step."""
    return recipe.corruption_model.start(problem(y, valid, recipe=recipe))


def estimated(noisy: np.ndarray, guess: np.ndarray) -> MixtureModel:
    """The model after four estimates on a network's guess."""
    model = model_of(tensor(noisy))
    for _ in range(4):
        model.reestimate(tensor(guess))
    return model


def corrupted(model: MixtureModel) -> torch.Tensor:
    """The elements judged corrupted, bool, shape (1, C, H, W)."""
    return model.estimate(model.problem.y).corrupted
