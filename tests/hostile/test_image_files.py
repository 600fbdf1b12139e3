"""Image files: sound ones are read exactly, all others are refused in one line.

A file is accepted with the right pixels, or refused by a FileError of one line. Where a format has
no checksum a flipped bit may give another picture; then what is read must be an image of the size
that the header says.
"""

import contextlib
import io
import os
import struct
import subprocess
import sys
import tempfile
import time
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from overparam.files import FileError
from robustdip import read_image, write_image
from tests.hostile.tally import held, some_slow
from tests.hostile.warm import environment

SIZES = [(1, 1), (1, 2), (2, 1), (3, 5), (8, 8), (1, 300), (257, 1), (33, 47)]
DAMAGED_SIZE = (13, 17)


@dataclass(frozen=True, eq=False)
class Sound:
    """A file and the samples (H, W, 1 to 4) that it holds."""

    data: bytes
    samples: np.ndarray
    checked: bool = False  # a checksum covers every byte


def random_samples(size, bands, dtype=np.uint8, seed=0):
    high = np.iinfo(dtype).max
    return np.random.default_rng(seed).integers(0, high, (*size, bands), dtype, endpoint=True)


def encoded(image, form, **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(size, depth, colour, rows, extra=b""):
    """A PNG by the book, independent of the code under test."""
    header = struct.pack(">IIBBBBB", size[1], size[0], depth, colour, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + data


def png16(samples):
    height = samples.shape[0]
    rows = samples.astype(">u2").view(np.uint8).reshape(height, -1)
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[samples.shape[2]]
    return png(samples.shape[:2], 16, colour, b"".join(b"\0" + row.tobytes() for row in rows))


def packed_png(indices, depth, colour, extra=b""):
    bits = (indices[..., None] >> np.arange(depth)[::-1]) & 1
    rows = np.packbits(bits.reshape(len(indices), -1).astype(np.uint8), axis=1)
    return png(indices.shape, depth, colour, b"".join(b"\0" + row.tobytes() for row in rows), extra)


ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
         (0, 1, 1, 2))  # fmt: skip


def interlaced_png(samples):
    rows = [
        b"\0" + row.tobytes()
        for column, row, across, down in ADAM7
        for row in samples[row::down, column::across]
        if row.size
    ]
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[samples.shape[2]]
    header = struct.pack(">IIBBBBB", samples.shape[1], samples.shape[0], 8, colour, 0, 0, 1)
    data = zlib.compress(b"".join(rows))
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", data[:20]) + chunk(b"IDAT", data[20:])
    return b"\x89PNG\r\n\x1a\n" + chunks + chunk(b"IEND", b"")


def tiff(samples, **options):
    buffer = io.BytesIO()
    bands = samples.shape[2]
    tifffile.imwrite(
        buffer,
        samples.squeeze(2) if bands == 1 else samples,
        photometric="minisblack" if bands < 3 else "rgb",
        extrasamples=["unassalpha"] if bands in (2, 4) else None,
        metadata=None,
        **options,
    )
    return buffer.getvalue()


def decoded(data, bands):
    """What Pillow alone makes of a lossy file."""
    samples = np.asarray(Image.open(io.BytesIO(data)).convert({1: "L", 3: "RGB", 4: "RGBA"}[bands]))
    return samples.reshape(*samples.shape[:2], bands)


@cache
def sound_files(size) -> dict[str, Sound]:
    """Files of every format, mode, depth and compression, of one size."""
    found = {}
    for bands, mode in ((1, "L"), (2, "LA"), (3, "RGB"), (4, "RGBA")):
        samples = random_samples(size, bands)
        image = Image.fromarray(samples.squeeze(2) if bands == 1 else samples, mode)
        found[f"png {mode}"] = Sound(encoded(image, "PNG"), samples, True)
        found[f"png {mode} interlaced"] = Sound(interlaced_png(samples), samples, True)
        deep = random_samples(size, bands, np.uint16)
        found[f"png {mode} 16"] = Sound(png16(deep), deep, True)
        for compression in (None, "tiff_lzw", "tiff_adobe_deflate", "packbits"):
            data = encoded(image, "TIFF", compression=compression)
            found[f"tiff {mode} {compression}"] = Sound(data, samples)
        if bands != 2:
            for byteorder, name in (("<", "little"), (">", "big")):
                for compression in (None, "zlib"):
                    found[f"tiff {mode} 16 {name} {compression}"] = Sound(
                        tiff(deep, byteorder=byteorder, compression=compression), deep
                    )
            found[f"bigtiff {mode}"] = Sound(tiff(samples, bigtiff=True), samples)
            found[f"tiff {mode} strips"] = Sound(tiff(samples, rowsperstrip=1), samples)
        if bands in (1, 3):
            for options in ({}, {"progressive": True}, {"quality": 30, "icc_profile": b"icc" * 99}):
                data = encoded(image, "JPEG", **options)
                found[f"jpeg {mode} {list(options)}"] = Sound(data, decoded(data, bands))
            found[f"ppm {mode}"] = Sound(encoded(image, "PPM"), samples)
            found[f"bmp {mode}"] = Sound(encoded(image, "BMP"), samples)
        if bands in (3, 4):
            lossless = encoded(image, "WEBP", lossless=True, exact=True)
            found[f"webp {mode} lossless"] = Sound(lossless, samples)
            lossy = encoded(image, "WEBP", quality=50)
            found[f"webp {mode} lossy"] = Sound(lossy, decoded(lossy, bands))
    for depth in (1, 2, 4, 8):
        levels = 2**depth
        indices = np.random.default_rng(depth).integers(0, levels, size)
        grey = (indices * 255 // (levels - 1)).astype(np.uint8)[..., None]
        found[f"png grey {depth}"] = Sound(packed_png(indices, depth, 0), grey, True)
        palette = np.random.default_rng(9).integers(0, 256, (levels, 3), np.uint8)
        extra = chunk(b"PLTE", palette.tobytes())
        found[f"png palette {depth}"] = Sound(
            packed_png(indices, depth, 3, extra), palette[indices], True
        )
        alpha = np.full(levels, 255, np.uint8)
        alpha[: levels // 2] = 7
        extra += chunk(b"tRNS", alpha[: levels // 2].tobytes())
        found[f"png palette {depth} tRNS"] = Sound(
            packed_png(indices, depth, 3, extra),
            np.concatenate([palette[indices], alpha[indices][..., None]], axis=2),
            True,
        )
    bits = np.random.default_rng(3).integers(0, 2, size).astype(bool)
    bilevel = Image.fromarray(bits)
    grey = (bits * 255).astype(np.uint8)[..., None]
    found["png 1"] = Sound(encoded(bilevel, "PNG"), grey, True)
    found["bmp 1"] = Sound(encoded(bilevel, "BMP"), grey)
    found["pbm"] = Sound(encoded(bilevel, "PPM"), grey)
    for compression in (None, "group4", "group3", "packbits", "tiff_lzw"):
        found[f"tiff 1 {compression}"] = Sound(
            encoded(bilevel, "TIFF", compression=compression), grey
        )
    height, width = size
    text = " ".join(map(str, random_samples(size, 1)[..., 0].ravel()))
    found["pgm text"] = Sound(
        f"P2 {width} {height} 255\n{text}\n".encode(), random_samples(size, 1)
    )
    deep = random_samples(size, 1, np.uint16)
    header = f"P5 {width} {height} 65535\n".encode()
    found["pgm 16"] = Sound(header + deep.astype(">u2").tobytes(), deep)
    return found


NAMES = sorted(sound_files((1, 1)))


def read(path):
    """The samples, or None for a file that was refused in one line; anything else is a failure."""
    begin = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            picture = read_image(path)
        except FileError as error:
            message = str(error)
            assert message.startswith(f"cannot read {str(path)!r}: "), message
            assert "\n" not in message
            assert len(message) < 400 + len(repr(str(path)))
            return None
    assert time.perf_counter() - begin < 10
    pixels = picture.pixels.reshape(*picture.pixels.shape[:2], -1)
    return pixels if picture.alpha is None else np.dstack([pixels, picture.alpha])


@pytest.mark.parametrize(
    "size",
    [SIZES[0], *(pytest.param(size, marks=pytest.mark.slow) for size in SIZES[1:])],
    ids=str,
)
def test_sound_files_are_read_exactly(tmp_path, size):
    for name, sound in sound_files(size).items():
        path = tmp_path / "x"
        path.write_bytes(sound.data)
        samples = read(path)
        assert samples is not None, name
        np.testing.assert_array_equal(samples, sound.samples, strict=True, err_msg=name)
        held("files: sound")


def cuts(data: bytes, seed: int, number: int) -> Iterator[bytes]:
    """The file cut at its first bytes, its last ones, and at random places."""
    rng = np.random.default_rng(seed)
    places = {0, 1, 4, 8, len(data) - 1, len(data) - 2, *rng.integers(0, len(data), number)}
    return (data[:place] for place in sorted(places))


@pytest.mark.parametrize("name", some_slow(NAMES, every=8))
def test_a_file_cut_short_is_refused_or_read_right(tmp_path, name):
    sound, path = sound_files(DAMAGED_SIZE)[name], tmp_path / "x"
    for data in cuts(sound.data, len(name), 8):
        path.write_bytes(data)
        samples = read(path)
        if samples is not None:
            assert not sound.checked
            end = -1 if name == "pgm text" else None  # the last number may have lost a digit
            np.testing.assert_array_equal(
                samples.ravel()[:end], sound.samples.ravel()[:end], err_msg=str(len(data))
            )
            assert samples.shape == sound.samples.shape
        held("files: cut short")


def flips(data: bytes, seed: int, number: int) -> Iterator[tuple[int, bytes]]:
    """One bit flipped: half of them in the first 128 bytes, where the header is."""
    rng = np.random.default_rng(seed)
    for trial in range(number):
        place = int(rng.integers(0, min(128, len(data)) if trial % 2 else len(data)))
        damaged = bytearray(data)
        damaged[place] ^= 1 << rng.integers(8)
        yield place, bytes(damaged)


def check_flips(sound: Sound, path: Path, *, seed: int, number: int) -> None:
    for place, data in flips(sound.data, seed, number):
        path.write_bytes(data)
        samples = read(path)
        if samples is not None:
            assert not sound.checked, place
            assert samples.dtype in (np.uint8, np.uint16)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                size = Image.open(io.BytesIO(data)).size
            assert samples.shape[:2] in (size, size[::-1]), place
        held("files: flipped bit")


@pytest.mark.parametrize("name", NAMES[::8])
def test_a_flipped_bit_never_crashes(tmp_path, name):
    check_flips(sound_files(DAMAGED_SIZE)[name], tmp_path / "x", seed=1, number=10)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_many_flipped_bits_never_crash(tmp_path, name):
    check_flips(sound_files(DAMAGED_SIZE)[name], tmp_path / "x", seed=len(name), number=40)


@pytest.mark.parametrize("name", some_slow(NAMES, every=8))
def test_blocks_of_other_bytes_never_crash(tmp_path, name):
    """A sector of zeros, of ones, of noise; a part that is missing or there twice; two files."""
    sound, path = sound_files(DAMAGED_SIZE)[name], tmp_path / "x"
    rng = np.random.default_rng(len(name))
    data = sound.data
    start, end = sorted(int(place) for place in rng.integers(0, len(data), 2))
    damages = {
        "zeros": data[:start] + bytes(end - start) + data[end:],
        "ones": data[:start] + b"\xff" * (end - start) + data[end:],
        "noise": data[:start] + rng.bytes(end - start) + data[end:],
        "missing": data[:start] + data[end:],
        "twice": data[:end] + data[start:],
        "zeros at the end": data + bytes(1000),
        "noise at the end": data + rng.bytes(1000),
        "two files": data + data,
        "text": data.replace(b"\n", b"\r\n"),
        "seven bits": bytes(byte & 127 for byte in data),
        "behind": bytes(16) + data,
        "header alone": data[:64] + rng.bytes(len(data)),
    }
    for damage, damaged in damages.items():
        path.write_bytes(damaged)
        samples = read(path)
        if (name != "pgm text" and damage.endswith("at the end")) or damaged == data:
            # What follows the end of an image is no part of it.
            assert samples is not None, damage
            np.testing.assert_array_equal(samples, sound.samples, err_msg=damage)
        held("files: other bytes")


# --- other things than images --------------------------------------------------------------


def not_images():
    rng = np.random.default_rng(0)
    photo = Image.fromarray(random_samples((8, 8), 3))
    found = {
        "empty": b"",
        "null": bytes(10_000),
        "noise": rng.bytes(10_000),
        "text": b"hello\n" * 100,
        "html": b"<!doctype html><html><body>404</body></html>",
        "json": b"{}",
        "svg": b"<svg xmlns='http://www.w3.org/2000/svg' width='8' height='8'/>",
        "pdf": b"%PDF-1.4\n%%EOF",
        "zip": b"PK\x03\x04" + bytes(100),
        "elf": b"\x7fELF" + bytes(100),
        "pickle": b"\x80\x04cos\nsystem\n(S'touch /tmp/owned'\ntR.",
        "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\nshowpage\n",
        "xpm": b'/* XPM */\nstatic char *x[] = {"1 1 1 1","a c #000","a"};',
        "gif": encoded(photo, "GIF"),
        "ico": encoded(photo, "ICO"),
        "tga": encoded(photo, "TGA"),
        "jpeg2000": encoded(photo, "JPEG2000"),
        "cmyk jpeg": encoded(photo.convert("CMYK"), "JPEG"),
        "cmyk tiff": encoded(photo.convert("CMYK"), "TIFF"),
        "lab tiff": encoded(photo.convert("LAB"), "TIFF"),
        "pages": encoded(photo, "TIFF", save_all=True, append_images=[photo]),
        "animated png": encoded(photo, "PNG", save_all=True, append_images=[photo.rotate(90)]),
        "animated webp": encoded(photo, "WEBP", save_all=True, append_images=[photo.rotate(90)]),
        "two 16-bit channels": tiff(random_samples((4, 4), 2, np.uint16)),
        "P7": b"P7\nWIDTH 1\nHEIGHT 1\nDEPTH 5\nMAXVAL 255\nTUPLTYPE X\nENDHDR\n12345",
        "P6 of 16 bits": b"P6 1 1 65535\n123456",
        "P5 of maximum 0": b"P5 1 1 0\n1",
        "P5 of maximum 65536": b"P5 1 1 65536\n12",
        "P5 without size": b"P5\n",
        "P5 negative": b"P5 -1 1 255\n1",
        "P5 of nothing": b"P5 0 0 255\n",
        "P5 of many digits": b"P5 " + b"9" * 5000 + b" 1 255\n1",
        "P5 of a long comment": b"P5 #" + b"x" * 100_000,
        "P2 above its maximum": b"P2 1 1 9\n10\n",
        "P2 of words": b"P2 1 1 9\nred\n",
        "PF": b"PF 1 1\n1.0\n" + bytes(12),
        "Pf": b"Pf\n1 1\n-1.0\n" + bytes(4),
    }
    for width, height in ((0, 0), (0, 1), (1, 0), (2**31, 1), (2**32 - 1, 2**32 - 1)):
        found[f"png {width}x{height}"] = png((height, width), 8, 2, b"\0" * 100)
    for depth, colour in (
        (3, 0),
        (16, 3),
        (1, 2),
        (2, 6),
        (8, 1),
        (8, 5),
        (8, 7),
        (0, 0),
        (255, 255),
    ):
        found[f"png depth {depth} colour {colour}"] = png((2, 2), depth, colour, b"\0" * 100)
    found["png without palette"] = png((2, 2), 8, 3, b"\0\0\0" * 2)
    for rows in (0, 1, 8):
        found[f"png of {rows} rows of 9"] = png((9, 9), 8, 2, b"\0" * 28 * rows)
    found["png without its last byte"] = png((9, 9), 16, 6, b"\0" * (9 * 73 - 1))
    return found


NOT_IMAGES = not_images()


@pytest.mark.parametrize("name", NOT_IMAGES)
@pytest.mark.parametrize(
    "suffix", some_slow(["", ".png", ".jpg", ".tif", ".webp", ".bmp", ".ppm"], every=7)
)
def test_what_is_no_image_that_is_read_is_refused(tmp_path, name, suffix):
    path = tmp_path / f"x{suffix}"
    path.write_bytes(NOT_IMAGES[name])
    assert read(path) is None
    held("files: no images")


# --- names, links, permissions -------------------------------------------------------------

ODD_NAMES = [
    "-x", "--help", "a b", "a\tb", "a\nb", "a\rb", "'", '"', "`id`", "$HOME", "${x}", "%s", "%d%n",
    "{}", "{0}", "{x!r}", "[red]x", "[bold]", "[", "]", "\\", "\\n", "~", "#", "*", "?",
    "x;y", "a&b", "|", "\x1b[31m", "\x07", "\x7f", "\u202e", "\u00e4", "a\u0308",
    "\u2603", "\U0001f600", "\ufeff", "\u2028", ".hidden", "..x", "...", "x.", "x..png", "CON",
    "x" * 251, "\u00e4" * 125, "x.tar.gz", os.fsdecode(b"\xff\xfe"), os.fsdecode(b"a\x80b"),
]  # fmt: skip


@pytest.mark.parametrize("name", some_slow(ODD_NAMES, every=4), ids=ascii)
def test_odd_names(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    pixels = random_samples((3, 4), 3)
    path = Path(f"{name}.png") if len(os.fsencode(name)) <= 251 else Path(name)
    write_image(path, pixels)
    np.testing.assert_array_equal(read(path), pixels)
    held("names")
    write_image(path, 255 - pixels)
    np.testing.assert_array_equal(read(path), 255 - pixels)
    held("names")
    path.write_bytes(b"no image")
    assert read(path) is None
    held("names")
    path.unlink()
    assert read(path) is None
    held("names")
    with pytest.raises(FileError) as caught:
        write_image(Path("none") / path, pixels)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    held("names")


@pytest.mark.parametrize(
    "name", ["a\0b.png", "x" * 256, "x/" * 3000 + "x.png", "", ".", "..", "/", "x.png/", "x.png/y"],
    ids=lambda name: ascii(name[:20]),
)  # fmt: skip
def test_impossible_names(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    pixels = random_samples((3, 4), 3)
    write_image("x.png", pixels)
    if name == "x.png/":  # Path drops the slash
        np.testing.assert_array_equal(read_image(name).pixels, pixels)
    else:
        with pytest.raises(FileError) as caught:
            read_image(name)
        assert "\n" not in str(caught.value)
        with pytest.raises(FileError) as caught:
            write_image(name, pixels)
        assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["x.png"]
    held("names", 2)


def placed(folder: Path, kind: str) -> Path:
    """Something with the name of an image."""
    image, path = folder / "image.png", folder / "x.png"
    if kind == "link":
        path.symlink_to(image)
    elif kind == "link to link":
        (folder / "middle").symlink_to(image)
        path.symlink_to("middle")
    elif kind == "hard link":
        path.hardlink_to(image)
    elif kind == "relative link":
        (folder / "sub").mkdir()
        path = folder / "sub" / "x.png"
        path.symlink_to("../image.png")
    elif kind == "broken link":
        path.symlink_to("none.png")
    elif kind == "loop":
        path.symlink_to("x.png")
    elif kind == "two in a loop":
        path.symlink_to("y.png")
        (folder / "y.png").symlink_to("x.png")
    elif kind == "folder":
        path.mkdir()
    elif kind == "link to a folder":
        path.symlink_to(".")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "link to a pipe":
        os.mkfifo(folder / "pipe")
        path.symlink_to("pipe")
    elif kind.startswith("/dev/"):
        path.symlink_to(kind)
    elif kind == "socket":
        import socket

        with socket.socket(socket.AF_UNIX) as server, contextlib.chdir(folder):
            server.bind("x.png")
    return path


@pytest.mark.parametrize("kind", ["link", "link to link", "hard link", "relative link"])
def test_links_are_followed_when_read_and_replaced_when_written(tmp_path, kind):
    pixels = random_samples((3, 4), 3)
    write_image(tmp_path / "image.png", pixels)
    path = placed(tmp_path, kind)
    np.testing.assert_array_equal(read(path), pixels)
    write_image(path, 255 - pixels)
    np.testing.assert_array_equal(read(path), 255 - pixels)
    np.testing.assert_array_equal(read(tmp_path / "image.png"), pixels)
    assert not path.is_symlink()
    held("links", 4)


@pytest.mark.parametrize(
    "kind",
    ["broken link", "loop", "two in a loop", "folder", "link to a folder", "pipe", "link to a pipe",
     "socket", "/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/tty", "/proc/self/mem",
     "/dev/stdin"],
)  # fmt: skip
def test_what_is_no_regular_file_is_refused_unopened(tmp_path, kind):
    assert read(placed(tmp_path, kind)) is None
    held("links")


@pytest.fixture
def nobody():
    """A folder of an unprivileged user, who this process is meanwhile: root may do anything."""
    with tempfile.TemporaryDirectory() as folder:
        if os.geteuid() == 0:
            os.chown(folder, 65534, 65534)
            os.seteuid(65534)
            try:
                yield Path(folder)
            finally:
                os.seteuid(0)
        else:
            yield Path(folder)


def test_permissions(nobody):
    pixels, path = random_samples((3, 4), 3), nobody / "x.png"
    write_image(path, pixels)
    for mode in range(0o1000):
        path.chmod(mode)
        samples = read(path)
        assert (samples is not None) == bool(mode & 0o400)
        held("permissions")
        if mode % 32 == 0:
            write_image(path, pixels)
            assert path.stat().st_mode & 0o777 == mode
            held("permissions")


@pytest.mark.parametrize("mode", [0o000, 0o100, 0o400, 0o500, 0o200, 0o300, 0o600, 0o700])
def test_permissions_of_the_folder(nobody, mode):
    pixels = random_samples((3, 4), 3)
    folder = nobody / "folder"
    folder.mkdir()
    write_image(folder / "x.png", pixels)
    folder.chmod(mode)
    try:
        samples = read(folder / "x.png")
        assert (samples is not None) == bool(mode & 0o100)
        for name in ("x.png", "new.png"):
            if mode & 0o300 == 0o300:
                write_image(folder / name, pixels)
            else:
                with pytest.raises(FileError) as caught:
                    write_image(folder / name, pixels)
                assert "\n" not in str(caught.value)
    finally:
        folder.chmod(0o700)
    names = ["new.png", "x.png"] if mode & 0o300 == 0o300 else ["x.png"]
    assert sorted(path.name for path in folder.iterdir()) == names
    held("permissions", 3)


# --- what a header claims ------------------------------------------------------------------


def claims():
    """Small files whose headers claim much."""
    for width, height in ((30_000, 30_000), (2**31 - 1, 1), (1, 2**31 - 1), (89_478_486, 1)):
        yield f"png {width}x{height}", png((height, width), 8, 2, bytes(100))
        yield f"ppm {width}x{height}", f"P6 {width} {height} 255\n".encode() + bytes(100)
        yield f"pbm {width}x{height}", f"P4 {width} {height}\n".encode() + bytes(100)
        yield f"pgm {width}x{height}", f"P2 {width} {height} 255\n".encode() + b"1 " * 100
        bmp = bytearray(encoded(Image.new("RGB", (2, 2)), "BMP"))
        struct.pack_into("<ii", bmp, 18, width, height)
        yield f"bmp {width}x{height}", bytes(bmp)
        data = bytearray(encoded(Image.new("RGB", (300, 300)), "TIFF"))
        (start,) = struct.unpack_from("<I", data, 4)
        for entry in range(struct.unpack_from("<H", data, start)[0]):
            place = start + 2 + 12 * entry
            tag = struct.unpack_from("<H", data, place)[0]
            if tag in (256, 257):
                value = width if tag == 256 else height
                struct.pack_into("<HHII", data, place, tag, 4, 1, value)
        yield f"tiff {width}x{height}", bytes(data)
    for width, height in ((65_535, 65_535), (65_535, 20_000)):
        data = bytearray(encoded(Image.new("RGB", (8, 8)), "JPEG"))
        place = data.index(b"\xff\xc0")
        struct.pack_into(">HH", data, place + 5, height, width)
        yield f"jpeg {width}x{height}", bytes(data)
    # Within the limit, 81 million pixels: twice what a sound file of that size would take.
    yield "png 9000x9000", png((9000, 9000), 8, 2, bytes(100))
    yield "ppm 9000x9000", b"P6 9000 9000 255\n" + bytes(100)
    bomb = zlib.compress(bytes(10**9), 9)
    image = png((4, 4), 8, 2, bytes(4 * 13))
    body, end = image[:33], image[33:]
    yield "profile bomb", body + chunk(b"iCCP", b"x\0\0" + bomb) + end
    yield "text bomb", body + chunk(b"zTXt", b"x\0\0" + bomb) + end
    yield "many texts", body + chunk(b"tEXt", b"x\0" + bytes(10**6)) * 80 + end
    yield "pixel bomb", image[:33] + chunk(b"IDAT", bomb) + chunk(b"IEND", b"")


CLAIMS = dict(claims())
MEMORY = """
import sys, time
from pathlib import Path
import numpy as np
from robustdip import read_image, write_image
from overparam.files import FileError
write_image(sys.argv[1] + ".png", np.zeros((4, 4, 3), np.uint8))
read_image(sys.argv[1] + ".png")
def peak():
    # getrusage would begin with the memory of the process that started this one.
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024
before, begin = peak(), time.perf_counter()
try:
    pixels = read_image(sys.argv[1]).pixels.shape
except FileError as error:
    pixels = None
    assert chr(10) not in str(error)
print(pixels, peak() - before, round(time.perf_counter() - begin, 2))
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_takes_no_memory(tmp_path, name):
    """The files are of a kilobyte or a megabyte; a sound one of 4x4 pixels takes nothing."""
    path = tmp_path / "x"
    path.write_bytes(CLAIMS[name])
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", MEMORY, path],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=60,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    *shape, taken, seconds = ended.stdout.rsplit(maxsplit=2)
    assert shape in (["None"], ["(4, 4, 3)"]), ended.stdout
    assert int(taken) < (2 * 4 * 81_000_000 if "9000x9000" in name else 300 * 2**20)
    assert float(seconds) < 20
    held("files: claims")


# --- the command line ----------------------------------------------------------------------


def exit_of(warm, path, command, folder):
    """Status and output of a command on an image, and what it made beside that."""
    before = set(folder.iterdir())
    arguments = {
        "denoise": ("denoise", path, "--method", "median", "-o", "out.png"),
        "corrupt": ("corrupt", path, "-o", "out.png", "--amount", "0"),
        "compare": ("compare", path, path),
    }[command]
    ended = warm.run(*arguments, cwd=folder)
    return ended, sorted(path.name for path in set(folder.iterdir()) - before)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NOT_IMAGES if name != "pages"])  # denoise does
def test_commands_refuse_in_one_line(warm, tmp_path, name):
    path = tmp_path / "x.png"
    path.write_bytes(NOT_IMAGES[name])
    for command in ("denoise", "corrupt", "compare"):
        ended, made = exit_of(warm, path, command, tmp_path)
        assert (ended.status, ended.stdout, made) == (1, "", [])
        (line,) = ended.stderr.splitlines()
        assert line.startswith(f"error: cannot read {str(path)!r}: ")
        held("files: commands")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_commands_take_sound_files_and_refuse_damaged_ones(warm, tmp_path, name):
    sound, path = sound_files(DAMAGED_SIZE)[name], tmp_path / "x.png"
    path.write_bytes(sound.data)
    ended, made = exit_of(warm, path, "corrupt", tmp_path)
    assert (ended.status, ended.stderr, made) == (0, "", ["out.png"])
    np.testing.assert_array_equal(read(tmp_path / "out.png"), sound.samples, strict=True)
    assert read_image(tmp_path / "out.png").icc_profile == read_image(path).icc_profile
    held("files: commands")
    (tmp_path / "out.png").unlink()
    path.write_bytes(sound.data[: len(sound.data) // 3])
    ended, made = exit_of(warm, path, "denoise", tmp_path)
    assert (ended.status, ended.stdout, made) == (1, "", [])
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"error: cannot read {str(path)!r}: ")
    held("files: commands")
