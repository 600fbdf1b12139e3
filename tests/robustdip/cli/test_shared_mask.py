"""`denoise --shared-mask` and `--defects`: from frames to a map, and from the map to the next."""

import numpy as np
import pytest
from skimage import data

from overparam import memory
from robustdip import RECIPES
from robustdip.images import from_float, read_defects, read_image, to_float, write_image
from robustdip.synthetic import damage
from tests.helpers.command_line import done, refused, run
from tests.helpers.images import small

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def small_network(monkeypatch):
    monkeypatch.setitem(RECIPES, "default", small())


@pytest.fixture
def frames(tmp_path):
    """Six frames of different scenes, with the same hot pixels."""
    paths = []
    for number in range(6):
        photo = (data.astronaut(), data.coffee())[number % 2]
        scene = to_float(photo[50 * number : 50 * number + 48, 100:164])
        made = damage(scene, "hot-pixels", amount=0.004, seed=1)
        paths.append(tmp_path / f"f{number}.png")
        write_image(paths[-1], from_float(made.image, np.uint8))
    return paths


def hot():
    return damage(np.zeros((48, 64, 3)), "hot-pixels", amount=0.004, seed=1).mask.any(axis=2)


def test_frames_give_a_map_that_the_next_picture_takes(frames, tmp_path):
    table, picture = tmp_path / "map.npy", tmp_path / "map.png"
    for path in (table, picture):
        result = done(
            "denoise", *frames, "--shared-mask", "--save-defects", path, "--method", "linear",
            "--force",
        )  # fmt: skip
        assert f"{hot().sum()} pixels are wrong in all images" in result.stderr
        np.testing.assert_array_equal(read_defects(path), hot())
    assert np.load(table).dtype == np.float32
    assert set(np.unique(read_image(picture).pixels)) == {0, 255}
    # Interpolation takes the map as its mask: nothing else changes.
    given, restored = (read_image(tmp_path / name).pixels for name in ("f0.png", "f0_denoised.png"))
    np.testing.assert_array_equal(restored[~hot()], given[~hot()])
    assert (restored[hot()] != given[hot()]).any(axis=1).mean() > 0.9

    for path in (table, picture):
        out, mask = tmp_path / "next.png", tmp_path / "mask.png"
        done("denoise", frames[0], "-o", out, "--defects", path, "--method", "linear", "--force")
        np.testing.assert_array_equal(read_image(out).pixels, restored)
        done(
            "denoise", frames[0], "-o", out, "--defects", path, "--save-mask", mask, "--steps", 12,
            "--force",
        )  # fmt: skip
        assert (read_image(mask).pixels[hot()] == 255).all()  # and what else it finds


def test_the_map_is_that_of_the_extension(frames, tmp_path):
    fits = pytest.importorskip("astropy.io.fits")
    rng = np.random.default_rng(0)
    files = []
    for path in frames:
        grey = to_float(read_image(path).pixels).mean(axis=2)
        noise = rng.random(grey.shape).astype(np.float32)
        files.append(path.with_suffix(".fits"))
        fits.HDUList(
            [fits.PrimaryHDU(), fits.ImageHDU(noise, name="SCI"), fits.ImageHDU(grey, name="ERR")]
        ).writeto(files[-1])
    found = tmp_path / "map.npy"
    done(
        "denoise", *files, "--extension", "ERR", "--shared-mask", "--save-defects", found,
        "--method", "linear",
    )  # fmt: skip
    wrong = read_defects(found)
    assert wrong.any()
    assert not (wrong & ~hot()).any()


def test_a_folder_of_frames_goes_on_where_it_was(frames, tmp_path):
    out = tmp_path / "out"  # is made, and holds no frames
    arguments = ["denoise", tmp_path, "--shared-mask", "--out-dir", out, "--method", "linear"]
    arguments += ["--workers", 1]
    assert "6 done, 0 skipped, 0 failed" in done(*arguments).stderr
    assert len(list(out.glob("*.png"))) == len(frames)
    assert "0 done, 6 skipped, 0 failed" in done(*arguments).stderr


def test_a_map_joins_the_masks(frames, tmp_path):
    stroke = np.zeros((48, 64), np.uint8)
    stroke[5:8, 10:40] = 255
    write_image(tmp_path / "stroke.png", stroke)
    write_image(tmp_path / "map.png", from_float(hot().astype(float), np.uint8))
    marked = tmp_path / "m.png"
    options = ["--defects", tmp_path / "map.png", "--save-mask", marked, "--force", "--steps", 3]
    done("denoise", frames[0], "--mask", tmp_path / "stroke.png", *options)
    both = hot() | (stroke > 0)
    np.testing.assert_array_equal(read_image(marked).pixels.any(axis=2), both)
    done("denoise", frames[0], "--add-mask", tmp_path / "stroke.png", *options)
    assert (read_image(marked).pixels[both] == 255).all()
    done("denoise", frames[0], "--protect", tmp_path / "stroke.png", *options)
    assert not read_image(marked).pixels[stroke > 0].any()


def test_what_cannot_be_done_is_refused_in_one_line(frames, tmp_path):
    write_image(tmp_path / "small.png", np.zeros((9, 9, 3), np.uint8))
    np.save(tmp_path / "counts.npy", np.zeros((48, 64), int))
    np.save(tmp_path / "cube.npy", np.zeros((4, 4, 4)))
    np.save(tmp_path / "odd.npy", np.full((48, 64), np.nan))
    (tmp_path / "text.npy").write_text("no array")
    denoise = ["denoise", *frames[:2]]
    assert "there are 2 frames; at least 3" in refused(*denoise, "--shared-mask")
    line = refused(*denoise, tmp_path / "small.png", "--shared-mask")
    assert "small.png' has shape (9, 9, 3), the first image (48, 64, 3)" in line
    same = [tmp_path / f"same{number}.png" for number in range(3)]
    for path in same:
        path.write_bytes(frames[0].read_bytes())
    assert "the frames show one scene" in refused("denoise", *same, "--shared-mask")
    for name, message in {
        "counts.npy": "it holds int64; bool or probabilities",
        "cube.npy": "its shape is (4, 4, 4); (H, W) is needed",
        "odd.npy": "outside [0, 1]",
        "text.npy": "not an array of numbers",
        "none.npy": "none.npy",
        "small.png": "the mask of --defects has shape (9, 9), the image (48, 64, 3)",
    }.items():
        assert message in refused("denoise", frames[0], "--defects", tmp_path / name)
    line = refused("denoise", *frames, "--shared-mask", "--save-defects", tmp_path / "x.txt")
    assert "x.txt" in line
    line = refused("denoise", *frames, "--shared-mask", "--out-dir", tmp_path / "none")
    assert "does not exist; make it first" in line
    assert "takes no mask" in refused("denoise", *frames, "--shared-mask", "--method", "median")
    for wrong, message in (
        (["--save-defects", "x.png"], "give both"),
        (["--defect-size", 40], "give both"),
        (["--shared-mask", "--defects", "x.png"], "not both"),
        (["--shared-mask", "--defect-size", 0], "--defect-size"),
    ):
        result = run("denoise", *frames, *wrong)
        assert result.exit_code == 2
        assert message in result.stderr
    assert not list(tmp_path.glob("*_denoised.png"))


def test_of_more_frames_than_memory_holds_some_make_the_map(frames, tmp_path, monkeypatch):
    four = [frames[at] for at in (0, 1, 3, 4)]
    options = ("--shared-mask", "--method", "linear", "--force", "--save-defects")
    untold = done("denoise", *four, *options, tmp_path / "four.npy").stderr
    size = read_image(frames[0]).pixels.nbytes
    monkeypatch.setattr(memory, "memory_free", lambda: round(3.9 * 4 * size))
    told = done("denoise", *frames, *options, tmp_path / "all.npy").stderr
    np.testing.assert_array_equal(np.load(tmp_path / "all.npy"), np.load(tmp_path / "four.npy"))
    assert "the map is of 4 of the 6 images: more do not fit into memory at once" in told
    assert "the map is of" not in untold
