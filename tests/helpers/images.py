"""Scenes with known corruption, and models of s grown on them."""

from dataclasses import replace

import numpy as np
import torch

from robustdip.corruption.mixture import Evidence
from robustdip.recipes import RECIPES

RECIPE = replace(RECIPES["default"], onset=0)


def scene(channels: int = 3, side: int = 64, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A smooth image with an edge, and a network's guess of it: right up to Laplace noise of
    2 % that the channels share and 0.5 % of their own."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(0.1, 0.9, side)
    clean = 0.5 * (ramp[:, None] + (ramp[None] > 0.5))[..., None] * np.linspace(0.7, 1, channels)
    shared = rng.laplace(0, 0.02, (side, side, 1))
    return clean, clean + shared + rng.laplace(0, 0.005, clean.shape)


def tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32))[None].contiguous()


def grown(noisy: np.ndarray, guess: np.ndarray) -> Evidence:
    y = tensor(noisy)
    evidence = Evidence(RECIPE, y, torch.ones_like(y))
    for _ in range(4):
        evidence.grow(tensor(guess))
    return evidence
