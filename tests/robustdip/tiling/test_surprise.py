"""Promise: damage with edges of a pixel surprises in a soft picture, and nothing else does."""

import numpy as np
import pytest
from scipy import ndimage

from robustdip.inputs import check_image
from robustdip.tiling.surprise import surprising


def soft(seed, *, size=(640, 800), blur=1.5):
    """Texture of all scales as a lens shows it, with the noise of a camera."""
    rng = np.random.default_rng(seed)
    picture = np.zeros(size)
    for scale in (1, 2, 4, 8, 16):
        few = rng.normal(0, 1, [length // scale + 2 for length in size])
        grown = ndimage.zoom(few, scale, order=1)[: size[0], : size[1]]
        picture += ndimage.gaussian_filter(grown, blur) / 8
    bad = 0.5 + picture[..., None] + rng.normal(0, 0.01, (*size, 3))
    return bad.clip(0, 1).astype(np.float32)


def found(image, **known):
    return surprising(check_image(image, **known))


# Of ten seeds all pass; the others take a second each.
@pytest.mark.parametrize("seed", range(3))
def test_a_scratch_surprises_and_the_picture_does_not(seed):
    image = soft(seed)
    clean = found(image)
    assert clean is not None
    assert clean.mean() < 0.002
    scratched = image.copy()
    np.fill_diagonal(scratched[200:280, 300:380, 0], 0)
    scratched[200:280, 300:380][np.eye(80, dtype=bool)] = 1
    here = found(scratched)
    assert here[200:280, 300:380][np.eye(80, dtype=bool)].mean() > 0.8
    outside = here & ~clean
    outside[192:288, 292:388] = False
    assert outside.mean() < 0.001


def test_what_is_protected_does_not_surprise():
    image = soft(0)
    image[300, 100:200] = 1
    assert found(image)[300, 100:200].mean() > 0.8
    protect = np.zeros(image.shape[:2], bool)
    protect[280:320, 80:220] = True
    assert not found(image, protect=protect)[280:320, 80:220].any()


def test_a_picture_as_sharp_as_its_pixels_and_a_small_one_are_not_judged():
    rng = np.random.default_rng(0)
    shades = np.repeat(np.repeat(rng.random((160, 200)), 4, axis=0), 4, axis=1)
    lines = shades + 0.5 * (rng.random(shades.shape) < 0.01)
    assert found(lines.clip(0, 1)) is None
    assert found(soft(0, size=(300, 300))) is None
