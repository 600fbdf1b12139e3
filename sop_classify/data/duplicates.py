"""Which images are there more than once: the same pixels, or nearly the same.

Two images are near duplicates if a hash of where they become brighter from left to right, the
difference hash of N. Krawetz (2013), differs in at most three of its 64 bits, and their pixels by
at most eight of 255 grey levels on average. The hash alone would join small pictures of one kind,
such as digits. It survives another file format, size, compression and a change of brightness, but
no mirror image, rotation or other crop.
"""

import hashlib
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["DuplicateSet", "difference_hash", "find_duplicates"]

_MOST_BITS = 3
# One block more than bits that may differ: one block is then the same.
_BLOCKS = _MOST_BITS + 1
_MOST_LEVELS = 8.0
_AT_ONCE = 2**18  # pairs of hashes that are compared together


@dataclass(frozen=True)
class DuplicateSet:
    """Images that show the same.

    Attributes
    ----------
    index : tuple of int
        Their positions, increasing.
    exact : bool
        All have the same pixels.
    """

    index: tuple[int, ...]
    exact: bool


def difference_hash(images: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The 64 bits of each image: whether a pixel of 9x8 is darker than its right neighbour.

    Parameters
    ----------
    images : ndarray, shape (N, H, W, 3), uint8

    Returns
    -------
    ndarray, shape (N,), uint64
    """
    hashes = np.empty(len(images), np.uint64)
    for at, image in enumerate(images):
        small = Image.fromarray(image).convert("L").resize((9, 8), Image.Resampling.BOX)
        grey = np.asarray(small)
        hashes[at] = np.packbits(grey[:, :-1] < grey[:, 1:]).view(">u8")[0]
    return hashes


def find_duplicates(images: NDArray[np.uint8]) -> list[DuplicateSet]:
    """All sets of two or more images that are equal, or nearly so.

    Parameters
    ----------
    images : ndarray, shape (N, H, W, 3), uint8

    Returns
    -------
    list of DuplicateSet
        By their first image. No image is in two sets.
    """
    same: dict[bytes, list[int]] = defaultdict(list)
    for at, image in enumerate(images):
        same[hashlib.sha256(image.tobytes()).digest()].append(at)
    # One image stands for all that are equal to it.
    equals = list(same.values())
    first = np.array([equal[0] for equal in equals], np.int64)
    found = [
        DuplicateSet(tuple(sorted(i for at in near for i in equals[at])), exact=len(near) == 1)
        for near in _near(images, first)
    ]
    return sorted((each for each in found if len(each.index) > 1), key=lambda each: each.index)


def _near(images: NDArray[np.uint8], index: NDArray[np.int64]) -> list[list[int]]:
    """Positions in `index` of different images, in sets of those that are nearly the same."""
    hashes = np.empty(index.size, np.uint64)
    means = np.empty((index.size, 3))
    for start in range(0, index.size, 1024):  # not all in memory at once
        part = images[index[start : start + 1024]]
        hashes[start : start + 1024] = difference_hash(part)
        means[start : start + 1024] = part.mean(axis=(1, 2))
    members = [[at] for at in range(index.size)]
    set_of = np.arange(index.size)
    bits = 64 // _BLOCKS
    for block in range(_BLOCKS):
        keys = (hashes >> np.uint64(block * bits)) & np.uint64(2**bits - 1)
        order = np.argsort(keys, kind="stable")
        for group in np.split(order, np.flatnonzero(np.diff(keys[order])) + 1):
            step = max(1, _AT_ONCE // group.size)
            for start in range(0, group.size - 1, step):
                rows = group[start : start + step]
                apart = _bits(hashes[rows][:, None] ^ hashes[group][None, :])
                a, b = np.nonzero(apart <= _MOST_BITS)
                a, b = rows[a], group[b]
                # Of many pictures of one scene, or of nothing, nearly all pairs have like hashes.
                # To compare are those not joined before, whose mean colours differ little enough:
                # pixels differ by at least as much.
                may = (a < b) & (set_of[a] != set_of[b])
                a, b = a[may], b[may]
                may = np.abs(means[a] - means[b]).mean(axis=1) < _MOST_LEVELS + 1e-6
                for i, j in zip(a[may].tolist(), b[may].tolist(), strict=True):
                    if set_of[i] != set_of[j] and _close(images[index[i]], images[index[j]]):
                        pair = (int(set_of[i]), int(set_of[j]))
                        small, large = sorted(pair, key=lambda at: len(members[at]))
                        set_of[members[small]] = large
                        members[large] += members[small]
                        members[small] = []
    return [each for each in members if each]


def _close(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> bool:
    return float(np.abs(a.astype(np.int16) - b).mean()) <= _MOST_LEVELS


_ONES = np.array([bin(byte).count("1") for byte in range(256)], np.uint8)


def _bits(values: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The number of ones in each value."""
    return _ONES[values.view(np.uint8).reshape(*values.shape, 8)].sum(-1, dtype=np.int64)
