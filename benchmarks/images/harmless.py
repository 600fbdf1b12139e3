"""Pictures without damage that are easily taken for damaged ones.

`PICTURES` makes each from a side in pixels and a seed: uint8, (side, side) or (side, side, 3). What
is printed, thin, repeated or alone in these pictures belongs to them.
"""

import string
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from skimage import data

__all__ = ["PICTURES", "jpeg"]

Maker = Callable[[int, np.random.Generator], np.ndarray]

_PAPER, _INK = (250, 249, 244), (30, 30, 34)


def jpeg(picture: np.ndarray, quality: int) -> np.ndarray:
    """The picture compressed as JPEG and decoded again."""
    from robustdip.images import from_float, to_float
    from robustdip.processing import Jpeg

    return from_float(Jpeg(quality).apply(to_float(picture)), np.uint8)


def _crop(name: str) -> Maker:
    """A square of one of scikit-image's pictures, from any place."""

    def make(side: int, rng: np.random.Generator) -> np.ndarray:
        whole = getattr(data, name)()
        top, left = (int(rng.integers(max(1, length - side + 1))) for length in whole.shape[:2])
        return np.ascontiguousarray(whole[top : top + side, left : left + side])

    return make


def _resized(name: str) -> Maker:
    """The middle square of one of scikit-image's pictures, made small."""

    def make(side: int, rng: np.random.Generator) -> np.ndarray:
        whole = getattr(data, name)()
        least = min(whole.shape[:2])
        top, left = ((length - least) // 2 for length in whole.shape[:2])
        square = Image.fromarray(whole[top : top + least, left : left + least])
        return np.asarray(square.resize((side, side), Image.Resampling.LANCZOS))

    return make


def _words(rng: np.random.Generator, count: int) -> str:
    letters = list(string.ascii_lowercase)
    return " ".join("".join(rng.choice(letters, rng.integers(2, 9))) for _ in range(count))


def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)


def _page(side: int, rng: np.random.Generator) -> np.ndarray:
    """Lines of small print, as a program draws them."""
    page = Image.new("RGB", (side, side), _PAPER)
    pen = ImageDraw.Draw(page)
    for top in range(4, side, 12):
        pen.text((4, top), _words(rng, 4 + side // 16), fill=_INK, font=_font(9))
    return np.asarray(page)


def _scan(side: int, rng: np.random.Generator) -> np.ndarray:
    """The page as a scanner sees it: soft, uneven light, noise of 1.5 of 255 levels."""
    page = Image.fromarray(_page(2 * side, rng)).resize((side, side), Image.Resampling.BICUBIC)
    light = np.linspace(0.92, 1, side)[None, :, None]
    noisy = np.asarray(page) * light + rng.normal(0, 1.5, (side, side, 3))
    return noisy.round().clip(0, 255).astype(np.uint8)


def _drawing(side: int, rng: np.random.Generator) -> np.ndarray:
    """Coloured lines with hard edges, and words in one colour."""
    drawing = Image.new("RGB", (side, side), (255, 255, 255))
    pen = ImageDraw.Draw(drawing)
    for _ in range(8):
        ends = [int(v) for v in rng.integers(side, size=4)]
        pen.line(ends, fill=tuple(int(v) for v in rng.integers(220, size=3)), width=2)
    for top in (0.2, 0.55, 0.8):
        pen.text((6, top * side), _words(rng, 4), fill=(20, 40, 160), font=_font(14))
    return np.asarray(drawing)


def _poster(side: int, rng: np.random.Generator) -> np.ndarray:
    """Large words in two colours on a smooth change of colour."""
    down, across = np.mgrid[:side, :side][..., None] / side
    start, end = rng.uniform(60, 200, (2, 3))
    poster = Image.fromarray((start + (end - start) * (down + across) / 2).round().astype(np.uint8))
    pen = ImageDraw.Draw(poster)
    for top, colour in ((0.1, (250, 220, 30)), (0.45, (250, 250, 250)), (0.75, (250, 220, 30))):
        pen.text((5, top * side), _words(rng, 2).upper(), fill=colour, font=_font(side / 5))
    return np.asarray(poster)


def _magazine(side: int, rng: np.random.Generator) -> np.ndarray:
    """A photograph with a column of print beside it."""
    page = Image.fromarray(_page(side, rng))
    height = int(0.6 * side)
    photo = Image.fromarray(_crop("coffee")(max(64, side), rng)).resize((side // 2, height))
    page.paste(photo, (side // 2, side // 8))
    return np.asarray(page)


def _screenshot(side: int, rng: np.random.Generator) -> np.ndarray:
    """A window: a bar of titles, buttons, a list, a picture and a frame."""
    screen = Image.new("RGB", (side, side), (238, 238, 240))
    pen = ImageDraw.Draw(screen)
    pen.rectangle((0, 0, side, 15), fill=(48, 92, 168))
    pen.text((5, 2), _words(rng, 3), fill=(255, 255, 255), font=_font(9))
    pen.rectangle((4, 20, side // 2, side - 5), fill=(255, 255, 255), outline=(160, 160, 166))
    for top in range(24, side - 14, 12):
        pen.text((8, top), _words(rng, 2)[: side // 14], fill=(24, 24, 24), font=_font(9))
    photo = Image.fromarray(_crop("rocket")(max(64, side), rng))
    screen.paste(photo.resize((side // 2 - 10, side // 2 - 10)), (side // 2 + 5, 22))
    pen.rectangle((side // 2 + 6, side - 26, side - 8, side - 10), fill=(40, 150, 80))
    pen.text((side // 2 + 12, side - 24), "ok", fill=(255, 255, 255), font=_font(9))
    return np.asarray(screen)


def _stars(side: int, rng: np.random.Generator) -> np.ndarray:
    """A telescope's picture: stars of Gaussian shape on a dark sky with noise."""
    sky = np.full((side, side, 3), 14.0)
    down, across = np.mgrid[:side, :side]
    for _ in range(side**2 // 160):
        y, x = rng.uniform(0, side, 2)
        height, width = min(240.0, 12 * rng.pareto(1.1) + 15), rng.uniform(0.7, 1.1)
        shape = np.exp(-((down - y) ** 2 + (across - x) ** 2) / (2 * width**2))
        sky += height * shape[..., None] * rng.uniform(0.75, 1, 3)
    sky += rng.normal(0, 2, (side, side, 1)) + rng.normal(0, 1, sky.shape)
    return sky.round().clip(0, 255).astype(np.uint8)


def _chess(side: int, rng: np.random.Generator) -> np.ndarray:
    """A board with an eighth of the side for each field."""
    down, across = np.mgrid[:side, :side] * 8 // side
    board = np.where(((down + across) % 2)[..., None], (240, 217, 181), (181, 136, 99))
    return board.astype(np.uint8)


def _barcode(side: int, rng: np.random.Generator) -> np.ndarray:
    """Black bars of 1 to 4 pixels on white, and their number below."""
    bars = np.repeat(rng.integers(2, size=side), rng.integers(1, 4, size=side))[: side - 12]
    code = np.full((side, side), 255, np.uint8)
    code[6 : side - 18, 6 : side - 6] = np.where(bars, 0, 255)
    picture = Image.fromarray(code)
    number = "".join(rng.choice(list(string.digits), 13))
    ImageDraw.Draw(picture).text((8, side - 16), number, fill=0, font=_font(11))
    return np.asarray(picture.convert("RGB"))


def _map(side: int, rng: np.random.Generator) -> np.ndarray:
    """Fields, water, streets with borders, and names, drawn with smooth edges."""
    scale = 3
    ground = Image.new("RGB", (scale * side, scale * side), (242, 239, 230))
    pen = ImageDraw.Draw(ground)
    for colour in ((205, 235, 176), (170, 211, 223), (224, 223, 223), (205, 235, 176)):
        x, y = rng.uniform(0, scale * side, 2)
        corners = rng.normal((x, y), 0.2 * scale * side, (6, 2))
        pen.polygon([tuple(corner) for corner in corners], fill=colour)
    for width, colour in ((15, (120, 120, 120)), (12, (252, 214, 164)), (6, (255, 255, 255))):
        for _ in range(2):
            points = rng.uniform(0, scale * side, (4, 2))
            pen.line([tuple(point) for point in points], fill=colour, width=width, joint="curve")
    small = ground.resize((side, side), Image.Resampling.LANCZOS)
    for _ in range(5):
        x, y = rng.uniform(0, 0.7 * side), rng.uniform(0, 0.9 * side)
        ImageDraw.Draw(small).text((x, y), _words(rng, 1), fill=(60, 60, 60), font=_font(10))
    return np.asarray(small)


PICTURES: dict[str, Maker] = {
    "astronaut": _resized("astronaut"),
    "chelsea": _resized("chelsea"),
    "coffee": _resized("coffee"),
    "rocket": _resized("rocket"),
    "camera": _resized("camera"),
    "coffee, a part": _crop("coffee"),
    "grass": _crop("grass"),
    "gravel": _crop("gravel"),
    "brick": _crop("brick"),
    "page": _page,
    "scanned page": _scan,
    "old page": _crop("page"),
    "written text": _crop("text"),
    "drawing": _drawing,
    "poster": _poster,
    "magazine": _magazine,
    "screenshot": _screenshot,
    "stars": _stars,
    "galaxies": _crop("hubble_deep_field"),
    "chess board": _chess,
    "barcode": _barcode,
    "map": _map,
}
"""Makers of all pictures by name."""
