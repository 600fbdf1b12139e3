"""Files to arrays: nothing is lost, every bad file is one FileError, no file is ever harmed."""

import contextlib
import io
import itertools
import os
import struct
import time
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps, PngImagePlugin

from benchmarks.images.memory import peak
from overparam.files import FileError
from robustdip.images import (
    Picture,
    check_output,
    read_image,
    read_pages,
    write_image,
)
from robustdip.images.sixteen_bit import inverted
from robustdip.images.writing import pages_bytes

SIZES = [(1, 1), (2, 3), (31, 33), (1, 4096)]
DEPTHS = {"uint8": np.uint8, "uint16": np.uint16}


def noise(*shape, dtype=np.uint8, seed=0):
    high = np.iinfo(dtype).max
    return np.random.default_rng(seed).integers(0, high, shape, dtype, endpoint=True)


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width, height, depth, colour, rows=b"", extra=b""):
    """A PNG by the book, independent of the code under test."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + data


def png16(samples, extra=b""):
    height, width, bands = samples.shape
    # Filter 1: each byte less the one a pixel before, which shows that whole pixels are seen.
    data = samples.astype(">u2").view(np.uint8).reshape(height, -1)
    before = np.pad(data, ((0, 0), (2 * bands, 0)))[:, : data.shape[1]]
    rows = b"".join(b"\1" + row.tobytes() for row in data - before)
    return png(width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[bands], rows, extra)


def encoded(image, form, **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def split(samples):
    """(H, W, 1 to 4) samples as the pixels and alpha that must come out."""
    colours = 1 if samples.shape[2] < 3 else 3
    alpha = samples[..., colours] if samples.shape[2] > colours else None
    return samples[..., 0] if colours == 1 else samples[..., :3], alpha


def assert_holds(picture, samples):
    pixels, alpha = split(samples)
    np.testing.assert_array_equal(picture.pixels, pixels, strict=True)
    assert (picture.alpha is None) == (alpha is None)
    if alpha is not None:
        np.testing.assert_array_equal(picture.alpha, alpha, strict=True)


def refused(path):
    start = time.perf_counter()
    with pytest.raises(FileError) as caught:
        read_image(path)
    assert time.perf_counter() - start < 1
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"cannot read {str(path)!r}: ")
    return message


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("mode", "form"),
    [(mode, form) for mode in ("1", "L", "LA", "RGB", "RGBA", "P") for form in ("PNG", "TIFF")]
    + [("P+alpha", "PNG")],  # a TIFF palette has no alpha
)
def test_reads_every_8_bit_mode(tmp_path, mode, form, size):
    opaque = Image.fromarray(noise(*size, 3))
    image = opaque.convert("P") if mode.startswith("P") else opaque.convert(mode)
    if "A" in mode:
        image.putalpha(Image.fromarray(noise(*size, seed=1)))
    options = {"transparency": bytes(range(256))} if mode == "P+alpha" else {}
    image.save(tmp_path / "x", form, **options)
    with Image.open(tmp_path / "x") as oracle:
        bands = {"1": "L", "P": "RGB", "P+alpha": "RGBA"}.get(mode, mode)
        expected = np.asarray(oracle.convert(bands)).reshape(*size, -1)
    assert_holds(read_image(tmp_path / "x"), expected)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("bands", [1, 2, 3, 4])
def test_reads_16_bit_png_exactly(tmp_path, bands, size):
    samples = noise(*size, bands, dtype=np.uint16)
    (tmp_path / "x.png").write_bytes(png16(samples))
    assert_holds(read_image(tmp_path / "x.png"), samples)


@pytest.mark.parametrize("bands", [1, 3])
def test_a_16_bit_transparent_colour_is_matched_in_16_bits(tmp_path, bands):
    samples = noise(4, 5, bands, dtype=np.uint16)
    samples[0, 1] = samples[0, 0] ^ 1  # equal in the high byte only
    key = chunk(b"tRNS", samples[0, 0].astype(">u2").tobytes())
    (tmp_path / "x.png").write_bytes(png16(samples, key))
    alpha = np.full((4, 5, 1), 65535, np.uint16)
    alpha[0, 0] = 0
    assert_holds(read_image(tmp_path / "x.png"), np.concatenate([samples, alpha], axis=2))


def packed(indices, depth):
    """Rows of a PNG with samples of 1, 2, 4 or 8 bits."""
    bits = (indices[..., None] >> np.arange(depth)[::-1]) & 1
    rows = np.packbits(bits.reshape(len(indices), -1).astype(np.uint8), axis=1)
    return b"".join(b"\0" + row.tobytes() for row in rows)


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_transparent_grey_of_few_bits(tmp_path, depth):
    levels = 2**depth
    indices = np.arange(3 * levels).reshape(3, levels) % levels
    for key in {0, 1, levels // 2, levels - 1}:
        extra = chunk(b"tRNS", struct.pack(">H", key))
        data = png(levels, 3, depth, 0, packed(indices, depth), extra)
        (tmp_path / "x.png").write_bytes(data)
        grey = indices * 255 // (levels - 1)
        expected = np.dstack([grey, np.where(indices == key, 0, 255)]).astype(np.uint8)
        assert_holds(read_image(tmp_path / "x.png"), expected)


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_transparent_colours_of_a_palette(tmp_path, depth):
    colours = min(4, 2**depth)
    indices = np.arange(12).reshape(3, 4) % colours
    palette = noise(colours, 3)
    for alphas in itertools.product((0, 7, 255), repeat=colours):
        for given in range(1, colours + 1):  # colours without an alpha are opaque
            extra = chunk(b"PLTE", palette.tobytes()) + chunk(b"tRNS", bytes(alphas[:given]))
            data = png(4, 3, depth, 3, packed(indices, depth), extra)
            (tmp_path / "x.png").write_bytes(data)
            alpha = np.array([*alphas[:given], *[255] * (colours - given)], np.uint8)
            expected = np.dstack([palette[indices], alpha[indices]])
            assert_holds(read_image(tmp_path / "x.png"), expected)


@pytest.mark.parametrize("bands", [1, 3, 4])
@pytest.mark.parametrize("content", ["noise", "smooth"])
def test_a_png_with_a_flipped_bit_is_refused(tmp_path, bands, content):
    """Pillow compares no checksum of the pixels: a flip in them may give another picture."""
    samples = noise(20, 30, bands)
    if content == "smooth":
        samples[:] = np.add.outer(np.arange(20), np.arange(30))[..., None]
    data = encoded(Image.fromarray(samples.squeeze()), "PNG", icc_profile=bytes(500))
    (tmp_path / "x.png").write_bytes(data)
    assert_holds(read_image(tmp_path / "x.png"), samples)
    rng = np.random.default_rng(bands)
    for place in rng.permutation(len(data))[:150]:
        damaged = bytearray(data)
        damaged[place] ^= 1 << rng.integers(8)
        (tmp_path / "x.png").write_bytes(damaged)
        refused(tmp_path / "x.png")
    # Cut short, also where only the end mark is missing.
    for length in (len(data) - 1, len(data) - 12, len(data) // 2):
        (tmp_path / "x.png").write_bytes(data[:length])
        refused(tmp_path / "x.png")


def tags_of(data):
    """Where the entries of a TIFF's first page are, and the mark of its byte order."""
    order = "<" if data[:2] == b"II" else ">"
    (start,) = struct.unpack_from(f"{order}I", data, 4)
    (number,) = struct.unpack_from(f"{order}H", data, start)
    return order, start, [start + 2 + 12 * k for k in range(number)]


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("bands", [1, 3, 4])
def test_a_tiff_with_an_absurd_count_is_refused_or_read_right(tmp_path, bands, compression):
    samples, path = noise(20, 30, bands), tmp_path / "x.tif"
    data = encoded(Image.fromarray(samples.squeeze()), "TIFF", compression=compression)
    order, start, entries = tags_of(data)
    for place in entries:
        for count in (0, 2, 100, 1000, 65535, 2**20, 2**31, 2**32 - 1):
            damaged = bytearray(data)
            struct.pack_into(f"{order}I", damaged, place + 4, count)
            path.write_bytes(damaged)
            if count >= 65535:
                refused(path)
                continue
            with contextlib.suppress(FileError):
                assert_holds(read_image(path), samples)
    for number in (0, 5, 1001, 65535):
        damaged = bytearray(data)
        struct.pack_into(f"{order}H", damaged, start, number)
        path.write_bytes(damaged)
        refused(path)


def test_big_tiffs_are_read(tmp_path):
    samples = noise(20, 30, 3)
    tifffile.imwrite(tmp_path / "x.tif", samples, bigtiff=True, photometric="rgb")
    assert_holds(read_image(tmp_path / "x.tif"), samples)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("bands", [1, 3, 4])
def test_reads_16_bit_tiff_exactly(tmp_path, bands, compression, byteorder):
    samples = noise(131, 203, bands, dtype=np.uint16)
    tifffile.imwrite(
        tmp_path / "x.tif",
        samples.squeeze(2) if bands == 1 else samples,
        photometric="minisblack" if bands == 1 else "rgb",
        extrasamples=["unassalpha"] if bands == 4 else None,
        compression=compression,
        byteorder=byteorder,
    )
    assert_holds(read_image(tmp_path / "x.tif"), samples)


def test_16_bit_layouts_that_would_lose_depth_are_refused(tmp_path):
    samples = noise(3, 5, 7, dtype=np.uint16)
    for compression in (None, "zlib"):
        tifffile.imwrite(
            tmp_path / "x", samples, photometric="rgb", planarconfig="separate",
            compression=compression,
        )  # fmt: skip
        assert "separate planes" in refused(tmp_path / "x")
    (tmp_path / "x").write_bytes(b"P6 2 1 65535\n" + bytes(12))
    assert "16-bit colour PPM" in refused(tmp_path / "x")


def test_a_mark_of_missing_data_is_black_where_white_is_zero():
    """It is beyond the range of the other samples, from which they are turned."""
    samples = np.arange(100, 4096, dtype=np.uint16)
    turned = inverted(np.append(samples, np.uint16(65535)))
    np.testing.assert_array_equal(turned, np.append(4095 - samples, 0))


def test_16_bit_white_is_zero_and_grey_ppm(tmp_path):
    samples = noise(5, 7, dtype=np.uint16)
    tifffile.imwrite(tmp_path / "x.tif", samples, photometric="miniswhite")
    np.testing.assert_array_equal(read_image(tmp_path / "x.tif").pixels, 65535 - samples)
    (tmp_path / "x.ppm").write_bytes(b"P5 7 5 65535\n" + samples.astype(">u2").tobytes())
    assert_holds(read_image(tmp_path / "x.ppm"), samples[..., None])


@pytest.mark.parametrize("suffix", [".png", ".tif", ".TIFF", ".webp", ".bmp", ".ppm"])
@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("bands", [1, 2, 3, 4])
def test_writes_what_it_can_hold_exactly_and_refuses_the_rest(tmp_path, bands, depth, suffix):
    path, alpha, deep = tmp_path / f"x{suffix}", bands in (2, 4), depth == "uint16"
    holds = not (
        (alpha and suffix in (".bmp", ".ppm"))
        or (deep and suffix in (".webp", ".bmp", ".ppm"))
        or (deep and bands == 2 and suffix.lower() in (".tif", ".tiff"))
    )
    for size in SIZES:
        samples = noise(*size, bands, dtype=DEPTHS[depth])
        picture = Picture(*split(samples))
        if holds:
            check_output(path, force=True, image=picture)
            write_image(path, picture)
            if suffix == ".webp" and bands < 3:  # has no grey
                samples = np.dstack([samples[..., :1]] * 3 + [samples[..., 1:]])
            assert_holds(read_image(path), samples)
        else:
            with pytest.raises(FileError, match=r"use \.png"):
                check_output(path, image=picture)
            with pytest.raises(FileError, match=r"use \.png"):
                write_image(path, picture)
            assert not list(tmp_path.iterdir())


def test_jpeg_is_close_and_refuses_depth_and_alpha(tmp_path):
    smooth = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint8)
    write_image(tmp_path / "x.jpg", smooth)
    assert np.abs(read_image(tmp_path / "x.jpg").pixels.astype(int) - smooth).max() < 8
    with pytest.raises(FileError, match=r"8 bits a sample and the image has 16; use \.png"):
        write_image(tmp_path / "y.jpg", noise(2, 2, dtype=np.uint16))
    with pytest.raises(FileError, match=r"alpha; use \.png"):
        write_image(tmp_path / "y.jpg", Picture(noise(2, 2), noise(2, 2)))
    with pytest.raises(FileError, match="at most 16383"):
        write_image(tmp_path / "y.webp", noise(1, 16384))
    assert [path.name for path in tmp_path.iterdir()] == ["x.jpg"]


@pytest.mark.parametrize("orientation", range(10))  # 0 and 9 mean nothing
@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF"])
def test_stands_upright(tmp_path, form, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(noise(24, 40, 3)).save(tmp_path / "x", form, exif=exif)
    with Image.open(tmp_path / "x") as stored:
        expected = np.asarray(ImageOps.exif_transpose(stored))
    assert_holds(read_image(tmp_path / "x"), expected)
    assert expected.shape == ((40, 24, 3) if 5 <= orientation <= 8 else (24, 40, 3))


@pytest.mark.parametrize(
    ("suffix", "depth"),
    [(".png", 8), (".png", 16), (".tif", 8), (".tif", 16), (".jpg", 8), (".webp", 8)],
)
def test_profile_is_kept_and_gps_dropped(tmp_path, suffix, depth):
    exif = Image.Exif()
    exif[0x8825] = {1: "N"}  # the GPS block
    profile = bytes(range(256)) * 3
    source, out = tmp_path / "in.png", tmp_path / f"out{suffix}"
    source.write_bytes(encoded(Image.new("RGB", (8, 8)), "PNG", exif=exif, icc_profile=profile))
    picture = read_image(source)
    write_image(out, Picture(picture.pixels.astype(f"uint{depth}"), None, picture.icc_profile))
    assert read_image(out).icc_profile == profile
    with Image.open(source) as before, Image.open(out) as after:
        assert before.getexif().get_ifd(0x8825)
        assert not after.getexif().get_ifd(0x8825)
    with pytest.raises(FileError, match=r"profile; use \.png"):
        write_image(tmp_path / "x.bmp", picture)
    grey = Picture(picture.pixels[..., 0], None, profile)
    if suffix == ".webp":  # it is RGB inside
        with pytest.raises(FileError, match=r"WEBP cannot hold the image's colour profile"):
            write_image(out, grey)


@pytest.mark.parametrize("side", [10_000, 30_000, 2**31 - 1])
def test_bombs_are_refused_before_decoding(tmp_path, side):
    (tmp_path / "x.png").write_bytes(png(side, side, 8, 2, bytes(20_000)))
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew, as proc(5) says
    before = peak()
    assert str(side * side) in refused(tmp_path / "x.png")
    assert peak() - before < 100_000_000
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the caller's filters do not matter
        refused(tmp_path / "x.png")


PHOTO = Image.fromarray(noise(40, 50, 3))
SOUND = {
    "png": encoded(PHOTO, "PNG"),
    "png16": png16(noise(40, 50, 3, dtype=np.uint16)),
    "jpeg": encoded(PHOTO, "JPEG", exif=Image.Exif()),
    "tiff": encoded(PHOTO, "TIFF", compression="tiff_lzw"),
    "webp": encoded(PHOTO, "WEBP", lossless=True),
    "bmp": encoded(PHOTO, "BMP"),
    "ppm": encoded(PHOTO, "PPM"),
}


@pytest.mark.parametrize("form", SOUND)
def test_damaged_bytes_open_or_raise_image_error(tmp_path, form):
    rng, path, opened = np.random.default_rng(7), tmp_path / "x", 0
    for trial in range(100):
        data = bytearray(SOUND[form])
        if trial % 2:
            del data[rng.integers(len(data)) :]
        else:  # half of the flips in the header, where they do most harm
            for place in rng.integers(len(data) if trial % 4 else 200, size=rng.integers(1, 5)):
                data[place] ^= 1 << rng.integers(8)
        path.write_bytes(data)
        try:
            read_image(path)
            opened += 1
        except FileError:
            refused(path)
    assert opened < 100


def test_what_is_no_image_is_refused_in_one_line(tmp_path):
    (tmp_path / "text.png").write_text("this is not an image\n")
    (tmp_path / "empty.png").touch()
    (tmp_path / "dangling.png").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "fifo.png")
    (tmp_path / "two\nlines.png").write_text("text")
    known = "(PNG, JPEG, TIFF, WebP, BMP, PPM are read)"
    assert known in refused(tmp_path / "text.png")
    assert known in refused(tmp_path / "empty.png")
    assert known in refused(tmp_path / "two\nlines.png")
    assert "No such file" in refused(tmp_path / "dangling.png")
    assert "No such file" in refused(tmp_path / "missing.png")
    assert "folder" in refused(tmp_path)
    assert "pipe or a device" in refused(tmp_path / "fifo.png")
    assert "pipe or a device" in refused("/dev/zero")
    assert "too long" in refused(tmp_path / ("x" * 300))
    assert "null" in refused(tmp_path / "x\0.png")


def test_frames_and_foreign_colours_are_refused(tmp_path):
    path, frames = tmp_path / "x", [Image.fromarray(noise(4, 4, 3, seed=k)) for k in range(3)]
    for form in ("PNG", "TIFF", "WEBP"):
        frames[0].save(path, form, save_all=True, append_images=frames[1:])
        assert "3 frames or pages" in refused(path)
    for form in ("JPEG", "TIFF"):
        Image.new("CMYK", (4, 4)).save(path, form)
        assert "CMYK" in refused(path)
    Image.new("LAB", (4, 4)).save(path, "TIFF")
    assert "pixels are LAB;" in refused(path)
    frames[0].save(path, "MPO", save_all=True, append_images=frames[1:])
    assert read_image(path).pixels.shape == (4, 4, 3)  # a camera's previews are no animation


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"GIF89a\4\0\4\0", "GIF"),
        (b"GIF87a", "GIF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf", "AVIF"),
        (b"\0\0\0\x20ftypavif\0\0\0\0avifmif1miafMA1B", "AVIF"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "CR3"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"8BPS\0\1", "Photoshop"),
        (b"%PDF-1.7", "PDF"),
    ],
)
def test_formats_that_are_not_read_are_named(tmp_path, head, name):
    path = tmp_path / "x.png"
    path.write_bytes(head + bytes(100))
    message = refused(path)
    assert f"it is a file of the format {name}, which is not read; " in message
    assert "PNG" in message
    path.write_bytes(b"\xff\xff\xff\xffftypmp42" + bytes(100))  # a film
    assert "not an image" in refused(path)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_stack_of_imagej_in_one_page_is_refused(tmp_path, dtype):
    stack = noise(4, 40, 50).astype(dtype)
    tifffile.imwrite(tmp_path / "x.tif", stack, imagej=True, truncate=True)  # as of 4 GB and more
    assert "a stack of 4 images of ImageJ, of which only 1 could" in refused(tmp_path / "x.tif")
    tifffile.imwrite(tmp_path / "x.tif", stack, imagej=True)
    assert len(read_pages(tmp_path / "x.tif")) == 4
    tifffile.imwrite(tmp_path / "x.tif", stack[0], description="ImageJ=1.53k\nimages=4\n")
    assert read_image(tmp_path / "x.tif").pixels.shape == (40, 50)


@pytest.mark.parametrize("bands", [2, 5])
def test_a_tiff_with_other_channels_is_not_called_no_image(tmp_path, bands):
    samples = noise(9, 7, bands, dtype=np.uint16)
    tifffile.imwrite(tmp_path / "x.tif", samples, photometric="minisblack", planarconfig="contig")
    message = refused(tmp_path / "x.tif")
    assert "a TIFF with samples of a kind that is not read" in message
    assert "save it as grey or RGB" in message


@pytest.mark.parametrize("pages", [1, 2])
@pytest.mark.parametrize(("bands", "colours"), [(4, 3), (2, 1)])
def test_a_tiff_with_a_channel_that_is_neither_colour_nor_alpha(tmp_path, pages, bands, colours):
    path = tmp_path / "infrared.tif"
    samples = noise(pages, 9, 7, bands)

    def write(**options) -> None:
        photometric = "rgb" if colours == 3 else "minisblack"
        options = {"extrasamples": ["unspecified"], "planarconfig": "contig"} | options
        tifffile.imwrite(path, samples, photometric=photometric, **options)

    write()
    assert f"its channel {bands} is neither colour nor alpha" in refused(path)
    samples[..., -1] = 255  # padding
    write()
    for page, there in zip(read_pages(path), samples, strict=True):
        np.testing.assert_array_equal(page.pixels, there[..., :colours].squeeze())
        assert page.alpha is None
    samples = noise(pages, 9, 7, bands)
    write(extrasamples=["unassalpha"])
    for page, there in zip(read_pages(path), samples, strict=True):
        np.testing.assert_array_equal(page.alpha, there[..., -1])
    if colours == 3 and pages == 1:  # in a compression in which nobody can look
        Image.frombytes("RGBX", (7, 9), samples.tobytes()).save(path, compression="tiff_lzw")
        assert "its channel 4 is neither colour nor alpha" in refused(path)


def test_a_png_with_a_text_that_is_not_read_is_not_called_damaged(tmp_path):
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", noise(2**21).tobytes(), zip=True)
    PHOTO.save(tmp_path / "x.png", pnginfo=text)
    message = refused(tmp_path / "x.png")
    assert "a text of more than a megabyte" in message
    assert "damaged" not in message


@pytest.mark.parametrize("bands", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", DEPTHS.values(), ids=DEPTHS)
def test_a_large_profile_in_a_png_is_read_again(tmp_path, dtype, bands):
    profile = noise(2**21).tobytes()  # scanners have such profiles
    samples = noise(9, 7, bands, dtype=dtype)
    pixels = samples[..., :3] if bands > 2 else samples[..., 0]
    picture = Picture(pixels, samples[..., -1] if bands in (2, 4) else None, profile)
    limits = PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY
    write_image(tmp_path / "x.png", picture)
    again = read_image(tmp_path / "x.png")
    assert again.icc_profile == profile
    np.testing.assert_array_equal(again.pixels, picture.pixels)
    if picture.alpha is not None:
        np.testing.assert_array_equal(again.alpha, picture.alpha)
    assert limits == (PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY)
    data = bytearray((tmp_path / "x.png").read_bytes())
    data[2000] ^= 1  # in the profile
    (tmp_path / "x.png").write_bytes(data)
    assert "checksum" in refused(tmp_path / "x.png")


def test_a_profile_that_grows_without_end_is_refused(tmp_path):
    body = b"x\0\0" + zlib.compress(bytes(2**26 + 1), 9)
    (tmp_path / "x.png").write_bytes(png(1, 1, 8, 0, b"\0\0", chunk(b"iCCP", body)))
    assert "a colour profile of more than 67108864 bytes" in refused(tmp_path / "x.png")
    claim = struct.pack(">I", 2**32 - 1) + b"iCCPx\0\0"
    (tmp_path / "x.png").write_bytes(png(1, 1, 8, 0, b"\0\0", claim))
    assert "damaged" in refused(tmp_path / "x.png")


@pytest.mark.parametrize(("suffix", "most"), [(".jpg", 16707345), (".png", 2**26)])
def test_a_profile_that_a_format_cannot_hold_is_refused(tmp_path, suffix, most):
    pixels = noise(4, 4, 3)
    if suffix == ".jpg":
        write_image(tmp_path / "x.jpg", Picture(pixels, icc_profile=bytes(most)))
        assert read_image(tmp_path / "x.jpg").icc_profile == bytes(most)
    with pytest.raises(FileError, match=f"at most {most} bytes; use .tif"):
        check_output(tmp_path / f"y{suffix}", image=Picture(pixels, icc_profile=bytes(most + 1)))


@pytest.mark.parametrize("further", [0, 1])  # pages beside the preview: some makers have them
@pytest.mark.parametrize("tags", [[], [(50706, 1, 4, (1, 4, 0, 0), True)]])  # DNG's version
def test_the_preview_of_a_raw_file_is_not_taken_for_the_picture(tmp_path, tags, further):
    path = tmp_path / "photo.nef"
    with tifffile.TiffWriter(path) as file:
        preview = noise(4, 6, 3)
        file.write(preview, photometric="rgb", subfiletype=1, subifds=1, extratags=tags)
        file.write(noise(40, 60, dtype=np.uint16), photometric="minisblack")
        for _ in range(further):
            file.write(preview, photometric="rgb", subfiletype=1)
    assert "raw file of a camera" in refused(path)
    with tifffile.TiffWriter(path) as file:  # large pictures have smaller copies in this way
        file.write(noise(40, 60, 3), photometric="rgb", subifds=1)
        file.write(preview, photometric="rgb", subfiletype=1)
    assert read_image(path).pixels.shape == (40, 60, 3)


@pytest.mark.parametrize("fault", ["replace", "fsync", "open"])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, fault):
    path, old, new = tmp_path / "x.png", noise(3, 3), noise(5, 5)
    write_image(path, old)

    def fail(*_):
        raise OSError(28, "No space left on device")

    if fault == "open":
        monkeypatch.setattr(Path, "open", fail)
    else:
        monkeypatch.setattr(os, fault, fail)
    with pytest.raises(FileError, match=r"cannot write .*No space left"):
        write_image(path, new)
    monkeypatch.undo()
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.png"]
    np.testing.assert_array_equal(read_image(path).pixels, old)
    write_image(path, new)
    np.testing.assert_array_equal(read_image(path).pixels, new)


def test_check_output(tmp_path, monkeypatch):
    source, other = tmp_path / "in.png", tmp_path / "other.png"
    write_image(source, noise(2, 2))
    (tmp_path / "soft.png").symlink_to(source)
    (tmp_path / "hard.png").hardlink_to(source)
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "fifo.png")
    check_output(other, inputs=[source])
    other.touch()
    check_output(other, inputs=[source, tmp_path / "missing"], force=True)
    with pytest.raises(FileError, match="exists already"):
        check_output(other)
    for alias in ("in.png", "soft.png", "hard.png", "folder.png/../in.png"):
        with pytest.raises(FileError, match="is an input"):
            check_output(tmp_path / alias, inputs=[source], force=True)
    for name, why in [
        ("x.gif", r"suffix '.gif'; use one of .png, .tif"),
        ("x", "suffix ''"),
        ("none/x.png", "does not exist; make it first"),
        ("folder.png", "folder"),
        ("fifo.png", "pipe or a device"),
        ("x" * 300 + ".png", "too long"),
    ]:
        with pytest.raises(FileError, match=why):
            check_output(tmp_path / name, force=True)
        with pytest.raises(FileError, match=why):
            write_image(tmp_path / name, noise(2, 2))
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    with pytest.raises(FileError, match="not writable"):
        check_output(tmp_path / "new.png")


@pytest.mark.parametrize(
    "name", ["-x.png", "a b.png", "bild-\u00e4\u2603.png", "a\nb.png", "x" * 251 + ".png"]
)
def test_any_name_works(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    write_image(name, noise(2, 3))
    assert read_image(name).pixels.shape == (2, 3)


def test_picture_refuses_other_arrays():
    with pytest.raises(TypeError, match="float64"):
        Picture(np.zeros((2, 2)))
    with pytest.raises(TypeError, match="pixels are a list; an array is needed"):
        write_image("x.png", [[1]])
    with pytest.raises(ValueError, match=r"\(2, 2, 4\)"):
        Picture(noise(2, 2, 4))
    with pytest.raises(ValueError, match="alpha"):
        Picture(noise(2, 2), noise(2, 3))
    with pytest.raises(TypeError, match="alpha"):
        Picture(noise(2, 2), noise(2, 2, dtype=np.uint16))


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    ("name", "dtype"),
    [("x.png", np.uint8), ("x.jpg", np.uint8), ("x.tif", np.uint8), ("y.png", np.uint16),
     ("y.tif", np.uint16)],
)  # fmt: skip
def test_the_resolution_is_kept(tmp_path, name, dtype, turned):
    pixels = noise(8, 9, dtype=dtype)
    write_image(tmp_path / name, Picture(pixels, dpi=(1200.0, 600.0)))
    picture = read_image(tmp_path / name)
    assert picture.dpi == pytest.approx((1200, 600), rel=1e-3)
    with Image.open(tmp_path / name) as image:
        assert image.info["dpi"] == pytest.approx((1200, 600), rel=1e-3)
        if turned and dtype == np.uint8:
            exif = Image.Exif()
            exif[274] = 6
            image.save(tmp_path / f"t{name}", exif=exif, dpi=(1200, 600))
            assert read_image(tmp_path / f"t{name}").dpi == pytest.approx((600, 1200), rel=1e-3)
    made = picture.with_pixels(np.zeros_like(pixels))
    assert made.dpi == picture.dpi
    write_image(tmp_path / name, Picture(pixels))
    assert read_image(tmp_path / name).dpi is None


def test_a_resolution_that_a_file_does_not_say_or_hold_is_none(tmp_path):
    pixels = noise(8, 9)
    exif = Image.Exif()
    exif[271] = "camera"
    Image.fromarray(pixels).save(tmp_path / "x.jpg", exif=exif)
    with Image.open(tmp_path / "x.jpg") as image:
        assert image.info["dpi"] == (72, 72)  # which Pillow makes up
    assert read_image(tmp_path / "x.jpg").dpi is None
    write_image(tmp_path / "y.jpg", Picture(pixels, dpi=(254_000.0, 254_000.0)))
    assert read_image(tmp_path / "y.jpg").dpi is None
    write_image(tmp_path / "y.png", Picture(pixels, dpi=(254_000.0, 254_000.0)))
    assert read_image(tmp_path / "y.png").dpi == pytest.approx((254_000, 254_000), rel=1e-3)


def test_pages_of_few_bits_are_read_as_single_ones(tmp_path):
    rng = np.random.default_rng(0)
    bilevel = Image.fromarray(rng.random((20, 31)) < 0.5)
    palette = Image.fromarray(noise(20, 31)).convert("P")
    palette.putpalette(rng.integers(0, 256, 768, dtype=np.uint8).tobytes())
    white_is_zero = {"tiffinfo": {262: 0}}
    group4 = {"compression": "group4"}
    for image, options in (
        *((bilevel, options) for options in (group4, {}, white_is_zero)),
        (palette, {}),
    ):
        image.save(tmp_path / "one.tif", **options)
        image.save(tmp_path / "two.tif", save_all=True, append_images=[image], **options)
        expected = read_image(tmp_path / "one.tif").pixels
        pages = read_pages(tmp_path / "two.tif")
        assert len(pages) == 2
        for page in pages:
            np.testing.assert_array_equal(page.pixels, expected)
    values = rng.random((9, 8), np.float32)
    with tifffile.TiffWriter(tmp_path / "masked.tif") as file:
        file.write(values)
        file.write(np.ones((9, 8), bool), subfiletype=4, photometric="mask")
    (page,) = read_pages(tmp_path / "masked.tif")
    np.testing.assert_array_equal(page.pixels, values)
    with tifffile.TiffWriter(tmp_path / "reduced.tif") as file:
        for _ in range(2):
            file.write(values, subfiletype=1)
    with pytest.raises(FileError, match="all of its pages are reduced copies or masks"):
        read_pages(tmp_path / "reduced.tif")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize(("unit", "inches"), [("INCH", 1), ("CENTIMETER", 1 / 2.54)])
def test_pages_keep_their_resolution(tmp_path, dtype, unit, inches):
    values = noise(8, 9).astype(dtype) * dtype(1.5 if dtype == np.float32 else 1)
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        for tags in ([], [(274, 3, 1, 6, True)]):  # the second lies on its side
            file.write(
                values, resolution=(400, 200), resolutionunit=unit, extratags=tags, metadata=None
            )
        file.write(values, metadata=None)
    pages = read_pages(tmp_path / "x.tif")
    expected = [(400 / inches, 200 / inches), (200 / inches, 400 / inches), None]
    for found in (pages, None):
        if found is None:
            (tmp_path / "y.tif").write_bytes(pages_bytes("y.tif", pages))
            found = read_pages(tmp_path / "y.tif")
        for page, dpi in zip(found, expected, strict=True):
            assert page.dpi == (None if dpi is None else pytest.approx(dpi, rel=1e-3))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_colours_in_separate_planes_are_read_of_each_page(tmp_path, dtype):
    values = noise(2, 6, 5, 3).astype(dtype)
    planes = np.moveaxis(values, 3, 1)
    options = {"photometric": "rgb", "planarconfig": "separate", "metadata": None}
    tifffile.imwrite(tmp_path / "x.tif", planes, **options)
    pages = read_pages(tmp_path / "x.tif")
    np.testing.assert_array_equal(np.stack([page.values() for page in pages]), values)


def test_pages_of_different_numbers_or_with_alpha_are_to_be_saved_apart(tmp_path):
    floats = noise(6, 5, 4).astype(np.float32)
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        file.write(floats, photometric="rgb", extrasamples=["unassalpha"], metadata=None)
    assert "its pages have alpha or differ" in refused(tmp_path / "x.tif")
    for other in (np.uint8, np.float64):
        with tifffile.TiffWriter(tmp_path / "x.tif") as file:
            for values in (floats[..., 0], floats[..., 0].astype(other)):
                file.write(values, metadata=None)
        assert "its pages have alpha or differ in their kind of numbers" in refused(
            tmp_path / "x.tif"
        )


def test_many_small_pages_are_a_bomb_too(tmp_path, monkeypatch):
    """All of them are held at once."""
    tifffile.imwrite(tmp_path / "x.tif", noise(3, 6, 5), photometric="minisblack", metadata=None)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 90)
    assert len(read_pages(tmp_path / "x.tif")) == 3
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 89)
    assert "its pages have 90 pixels, the limit is 89" in refused(tmp_path / "x.tif")


def test_jpeg_is_saved_at_quality_95_with_all_of_its_colour(tmp_path):
    pixels = noise(16, 24, 3)
    write_image(tmp_path / "x.jpg", pixels)
    Image.fromarray(pixels).save(tmp_path / "y.jpg", quality=95, subsampling="4:4:4")
    with Image.open(tmp_path / "x.jpg") as ours, Image.open(tmp_path / "y.jpg") as theirs:
        assert ours.quantization == theirs.quantization
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


@pytest.mark.parametrize("pages", [1, 2])
def test_a_colour_profile_of_another_type_is_none(tmp_path, pages):
    """It was kept, and ended the writing of the result in an error."""
    shape = (9, 9) if pages == 1 else (pages, 9, 9)
    tag = (34675, "H", 4, (1, 2, 3, 300), False)
    tifffile.imwrite(
        tmp_path / "x.tif", np.zeros(shape, np.uint8), photometric="minisblack", extratags=[tag]
    )
    with warnings.catch_warnings(action="ignore"):  # of Pillow, which says so
        found = read_pages(tmp_path / "x.tif")
    assert [page.icc_profile for page in found] == [None] * pages
    write_image(tmp_path / "y.png", found[0])
