"""Promise: `denoise DIR --report` writes one page on which one finds any of many pictures."""

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import robustdip
from robustdip.overview import Outcome, overview_page
from tests.helpers.browser import DESKTOP, PHONE, opened, violations
from tests.helpers.command_line import done, refused, run

RNG = np.random.default_rng(0)
MEDIAN = ("--method", "median", "--workers", 1, "-q")


def noise(height=24, width=32):
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


def thumbnails(html):
    found = re.findall(r'src="data:image/webp;base64,([^"]+)"', html)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) for data in found]


def statuses(html):
    return re.findall(r'<li class="panel" data-status="(\w+)"', html)


@pytest.fixture
def folder(tmp_path):
    """Two pictures, of which the second needs nothing, and a file that is none."""
    root = tmp_path / "in"
    (root / "sub").mkdir(parents=True)
    robustdip.write_image(root / "a.png", noise())
    robustdip.write_image(root / "sub" / "b c%.png", np.full((24, 32, 3), 9, np.uint8))
    (root / "sub" / "x.png").write_text("no picture")
    return root


# --- the command ---------------------------------------------------------------------------


def test_both_pictures_of_a_fits_extension_are_shown(tmp_path):
    """The result has one image, whatever number that had."""
    fits = pytest.importorskip("astropy.io.fits")
    images = [fits.ImageHDU(RNG.normal(9, 2, (24, 32)).astype(np.float32)) for _ in range(2)]
    (tmp_path / "in").mkdir()
    fits.HDUList([fits.PrimaryHDU(), *images]).writeto(tmp_path / "in" / "x.fits")
    out = tmp_path / "out"
    options = ("--extension", 2, "--out-dir", out, "--report", out / "index.html")
    done("denoise", tmp_path / "in", *options, *MEDIAN)
    assert len(thumbnails((out / "index.html").read_text("utf-8"))) == 2


def test_a_page_of_several_pictures_is_made_also_if_one_of_them_is_left(folder, tmp_path):
    """The other is the result of the first, as of ``denoise *.png`` once more."""
    options = ("--out-dir", folder, "--report", tmp_path / "index.html", *MEDIAN)
    robustdip.write_image(folder / "a_denoised.png", noise())
    done("denoise", folder / "a.png", folder / "a_denoised.png", *options, "--force")
    assert statuses((tmp_path / "index.html").read_text("utf-8")) == ["done"]


def test_a_page_of_a_folder_is_made_anew_by_the_run_that_resumes(folder, tmp_path):
    out = tmp_path / "out"
    page = out / "index.html"
    one = ("denoise", folder, "--out-dir", out, *MEDIAN, "--report", page, "--report-each")
    assert run(*one).exit_code == 1
    html = page.read_text("utf-8")
    assert statuses(html) == ["done", "unchanged", "failed"]
    assert "% changed much" in html  # a classical method judges nothing
    shown = thumbnails(html)
    expected = [
        robustdip.read_image(path).pixels
        for path in (
            folder / "a.png", out / "a_denoised.png",
            folder / "sub" / "b c%.png", out / "sub" / "b c%_denoised.png",
        )
    ]  # fmt: skip
    assert all(np.array_equal(*pair) for pair in zip(shown, expected, strict=True))
    assert "not an image, or a damaged one" in html
    # What it points to is there: pictures before and after, and a report of each.
    links = re.findall(r'href="(\./[^"]+)"', html)
    assert links == [
        "./../in/a.png", "./a_denoised.png", "./a_denoised.html", "./../in/sub/b%20c%25.png",
        "./sub/b%20c%25_denoised.png", "./sub/b%20c%25_denoised.html",
    ]  # fmt: skip
    assert "a.png, denoised" in (out / "a_denoised.html").read_text()

    robustdip.write_image(folder / "sub" / "x.png", noise())
    result = done(*one, "--json")
    assert [json.loads(line)["status"] for line in result.stdout.splitlines()] == [
        "skipped", "skipped", "completed",
    ]  # fmt: skip
    html = page.read_text("utf-8")
    assert statuses(html) == ["done", "unchanged", "done"]
    assert all(np.array_equal(*pair) for pair in zip(thumbnails(html)[:4], expected, strict=True))


def test_reports_that_are_wanted_later_are_made_and_have_names_of_their_own(folder, tmp_path):
    out = tmp_path / "out"
    (folder / "sub" / "x.png").unlink()
    np.save(folder / "a.npy", noise())  # its result is no .png, but its report has the same suffix
    many = ("denoise", folder, "--out-dir", out, *MEDIAN)
    done(*many)
    assert not list(out.rglob("*.html"))
    made = "a.npy_denoised.npy", "a.png_denoised.png", "sub/b c%_denoised.png"
    before = {name: (out / name).read_bytes() for name in made}
    assert done(*many, "--report-each").stdout.splitlines() == [str(out / name) for name in made]
    pages = sorted(str(page.relative_to(out)) for page in out.rglob("*.html"))
    assert pages == [str(Path(name).with_suffix(".html")) for name in made]
    assert {name: (out / name).read_bytes() for name in made} == before
    assert done(*many, "--report-each").stdout == ""  # finished


def test_a_small_change_everywhere_is_a_change(folder, tmp_path):
    """A classical method moves values that it does not count as corrupted."""
    grey = 120 + RNG.integers(-3, 4, (24, 32, 3))
    robustdip.write_image(folder / "a.png", grey.astype(np.uint8))
    (folder / "sub" / "x.png").unlink()
    page = tmp_path / "out" / "index.html"
    done("denoise", folder, "--out-dir", tmp_path / "out", *MEDIAN, "--report", page)
    assert statuses(page.read_text("utf-8")) == ["done", "unchanged"]


def test_what_cannot_be_is_refused_before_the_work(folder, tmp_path):
    out = tmp_path / "out"
    many = ("denoise", folder, "--out-dir", out, *MEDIAN)
    page = tmp_path / "mine.html"
    page.write_text("mine")
    assert "it exists already" in refused(*many, "--report", page)
    assert "unknown suffix '.png'" in refused(*many, "--report", tmp_path / "page.png")
    assert page.read_text() == "mine"
    assert not list(out.glob("*.png"))
    files = (folder / "a.png", folder / "sub" / "b c%.png")
    assert run("denoise", *files, "--report", tmp_path / "x.html").exit_code == 2
    assert run("denoise", files[0], "--report-each").exit_code == 2


# --- the page ------------------------------------------------------------------------------


def test_values_in_units_of_their_own_are_shown_alike(tmp_path):
    before, after = tmp_path / "a.npy", tmp_path / "b.npy"
    np.save(before, np.array([[-1000.0, 0, 100], [9000, 50, 100]], np.float32))
    np.save(after, np.array([[50.0, 0, 100], [100, 50, 100]], np.float32))
    outcome = Outcome(before, "done", after, units=(0, 100))
    first, second = thumbnails(overview_page([outcome], folder=tmp_path).decode())
    assert np.array_equal(first[..., 0], [[0, 0, 255], [255, 128, 255]])
    assert np.array_equal(second[..., 0], [[128, 0, 255], [255, 128, 255]])


def test_hostile_names_and_reasons_are_texts(tmp_path):
    name = "<b>'\"&\udce9.png"
    outcomes = [
        Outcome(tmp_path / name, "failed", reason="<script>alert(1)</script>" + "x" * 10_000),
        Outcome(Path("javascript:alert(1).png"), "done", Path("javascript:alert(2).png")),
    ]
    (tmp_path / "page").mkdir()
    html = overview_page(outcomes, folder=tmp_path / "page").decode("utf-8")
    assert html.count("<script") == 1
    assert "&lt;b&gt;" in html
    assert len(html) < 30_000
    assert thumbnails(html) == []  # there are no such files
    assert 'href="javascript' not in html
    assert statuses(overview_page([], folder=tmp_path).decode("utf-8")) == []


def test_a_small_share_is_not_called_none(tmp_path):
    """One value of a million was 0.0 %."""
    outcomes = [Outcome(Path("a.png"), "done", share=share) for share in (0, 1e-6, 0.12345, 1)]
    html = overview_page(outcomes, folder=tmp_path).decode("utf-8")
    assert re.findall(r"<span>([\d.]+) % found corrupted</span>", html) == [
        "0", "0.0001", "12.3", "100",
    ]  # fmt: skip


def test_links_do_not_run_what_a_name_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = Path("javascript:alert(1).png")
    robustdip.write_image(path, noise())
    html = overview_page([Outcome(path, "done", path)], folder=Path()).decode("utf-8")
    assert re.findall(r'href="([^d][^"]+)"', html) == ["./javascript%3Aalert%281%29.png"] * 2


@pytest.mark.slow
def test_a_page_of_a_thousand_pictures_of_noise_is_below_ten_megabytes(tmp_path):
    # A tenth of the files is there; the others are counted by these.
    paths = [tmp_path / f"{'long name ' * 10}{number}.png" for number in range(3)]
    for path in paths:
        robustdip.write_image(path, noise(200, 300))
    outcomes = [Outcome(paths[n % 3], "done", paths[(n + 1) % 3], share=0.5) for n in range(40)]
    html = overview_page(outcomes, folder=tmp_path)
    assert all(max(shown.shape) >= 128 for shown in thumbnails(html.decode()))
    missing = Outcome(tmp_path / f"{'long name ' * 10}.png", "done", paths[0].with_suffix(".x"))
    none = len(overview_page([missing] * 1000, folder=tmp_path))
    tenth = overview_page([*outcomes, *outcomes, *outcomes[:20], *[missing] * 900], folder=tmp_path)
    assert 3_000_000 < none + 10 * (len(tenth) - none) < 10_000_000
    assert all(max(shown.shape) >= 64 for shown in thumbnails(tenth.decode()))


# --- in a browser --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("overview")
    names = ["a.png", "b10.png", "b9.png", "bad.png", "late.png"]
    for name in names[:3]:
        robustdip.write_image(folder / name, noise(48, 64))
    path = folder / "index.html"
    told = [
        Outcome(folder / "b10.png", "done", folder / "a.png", share=0.1, seconds=3, page=path),
        Outcome(folder / "b9.png", "done", folder / "a.png", share=0.5, seconds=1),
        Outcome(folder / "a.png", "unchanged", folder / "a.png", share=0.0, seconds=2),
        Outcome(folder / "bad.png", "failed", reason="cannot read it"),
        Outcome(folder / "late.png", "left"),
    ]
    path.write_bytes(overview_page(told, folder=folder, facts={"Method": "median"}))
    return path


def shown(page):
    # Not the inner text: what is out of sight has none before it is drawn.
    return page.locator(".pictures li:visible h2").all_text_contents()


@pytest.mark.slow
@pytest.mark.parametrize(("device", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")])
def test_pictures_are_found_sorted_and_opened(browser, file, device, scheme):
    run_order = ["b10.png", "b9.png", "a.png", "bad.png", "late.png"]
    with opened(browser, file, device=device, scheme=scheme) as page:
        assert shown(page) == run_order
        sort, status = page.get_by_label("Sort by"), page.get_by_label("Show")
        for by, first in (
            ("Name", ["a.png", "b9.png", "b10.png"]),
            ("Most found corrupted", ["b9.png", "b10.png", "a.png"]),
            ("Longest time", ["b10.png", "a.png", "b9.png"]),
            ("What needs attention", ["bad.png", "late.png", "b10.png"]),
            ("Order of the run", run_order[:3]),
        ):
            sort.select_option(label=by)
            assert shown(page)[:3] == first
        # By keys alone, as a reader without a mouse.
        search = page.get_by_label("Search name or reason")
        search.focus()
        page.keyboard.type("B")
        assert shown(page) == ["b10.png", "b9.png", "bad.png"]
        assert page.get_by_role("status").inner_text() == "3 of 5 shown"
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == "status"
        status.select_option(label="Failed")
        assert shown(page) == ["bad.png"]
        assert page.get_by_text("cannot read it").is_visible()
        search.fill("no such name")
        assert page.get_by_text("No picture matches.").is_visible()
        page.keyboard.press("Enter")  # sends nothing
        assert violations(page) == []
        search.fill("")
        status.select_option(label="All")
        assert page.get_by_role("img", name="Result of b9.png").is_visible()
        assert page.evaluate("document.documentElement.scrollWidth") == device["viewport"]["width"]
        assert violations(page) == []
        page.get_by_role("link", name="Report of b10.png").click()
        assert page.url == file.as_uri()
        page.get_by_role("link", name="Input of b9.png").click()
        assert page.url == (file.parent / "b9.png").as_uri()
