"""Promise: impulses and soft specks are seen all over a picture, but not where it is protected."""

import numpy as np

from robustdip.inputs import check_image
from robustdip.tiling.suspicion import specks


def grain(height=1100, width=300):
    rng = np.random.default_rng(0)
    return (0.5 + rng.normal(0, 0.002, (height, width, 1))).astype(np.float32)


def seen(image, **known):
    return specks(check_image(image, **known))


def test_impulses_are_seen_where_bands_meet():
    """Rows are worked on 512 at a time."""
    rows = (1, 510, 511, 512, 513, 1023, 1024, 1098)
    places = [(row, 10 + 5 * at) for at, row in enumerate(rows)]
    image = grain()
    for place in places:
        image[place] = 0.9
    assert sorted(map(tuple, np.argwhere(seen(image)))) == places


def test_pairs_that_bands_divide_are_no_impulses():
    image = grain()
    image[511:513, 20] = image[1023:1025, 40] = 0.9
    image[300:1000:100, 60] = 0.1
    assert np.argwhere(seen(image)).tolist() == [[row, 60] for row in range(300, 1000, 100)]


def test_one_in_fifty_thousand_elements_is_no_damage():
    image = grain()
    image[200:800:100, 60] = 0.1
    assert not seen(image).any()  # 6 of 330,000
    image[800, 60] = 0.1
    assert seen(image).sum() == 7


def test_what_is_protected_does_not_count():
    image = grain()
    image[20:60:4, 40] = 0.9
    down, across = np.mgrid[:1100, :300]
    soft = np.exp(-((down - 808) ** 2 + (across - 152) ** 2) / 2 / 9**2)
    image[..., 0] += (0.45 * soft).astype(np.float32)
    both = seen(image)
    assert both[20:60:4, 40].all()
    assert both[808, 152]
    assert not both[100:700].any()
    protect = np.zeros(image.shape[:2], bool)
    protect[10:70] = True
    half = seen(image, protect=protect)
    assert not half[:100].any()
    assert half[808, 152]
    protect[704:912] = True
    assert not seen(image, protect=protect).any()
