"""Promise: a person reviews suspected labels on one safe, small page that keeps decisions."""

import csv
import io
import json
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from sop_classify.labels.issues import label_issues
from sop_classify.reports.review import Suspect, Table, review_page, suspected, write_review
from tests.helpers.browser import PHONE, downloaded, opened, violations

NAMES = ("cat", "dog", "deer", "ship")
HOSTILE = (
    "</script><script>alert(1)</script>",
    "\"'><img src=x onerror=alert(2)>",
    "{{ 7 * 7 }} <!-- ]]> & &lt;",
    'a, "quoted"\r\nline\u2028 \U0001f600',
)


def suspects(number, names=NAMES):
    """The first of each four is cat given and dog suggested, the second dog and deer, and so on."""
    count = len(names)
    return [
        Suspect(
            index=i,
            given=i % count,
            suggested=(i + 1) % count,
            label_quality=0.001 + i / 1000,
            p_given=0.001 + i / 1000,
            p_suggested=0.9 - i / 1000,
            path=f"{names[i % count]}/{i:04}.png",
            split="valid" if i % 10 == 9 else "train",
            runner_up=(i + 2) % count,
        )
        for i in range(number)
    ]


def colour(suspect):
    return np.full((32, 32, 3), (50 * suspect.given, 90, 20 * suspect.suggested), np.uint8)


def page_of(rows, picture=colour, *, class_names=NAMES, name="pets", **options):
    return review_page(rows, picture, class_names=class_names, name=name, **options)


class Elements(HTMLParser):
    """All elements of a page, and the texts of its scripts."""

    def __init__(self, page):
        super().__init__()
        self.found, self.scripts, self.inside = [], [], None
        self.feed(page.decode("utf-8"))

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        self.inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        self.inside = None

    def handle_data(self, text):
        if self.inside == "script":
            self.scripts[-1] += text


def data_of(page):
    return json.loads(Elements(page).scripts[0])


# --- from judged labels ---------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 3])
def test_suspects_are_the_issues_worst_first(classes):
    p = np.array([[0.7, 0.3, 0], [0.4, 0.1, 0.5], [0.2, 0.8, 0]], np.float32)[:, :classes]
    p /= p.sum(axis=1, keepdims=True)
    given = np.array([1, 0, 1]) if classes == 3 else np.array([1, 0, 0])
    issues = label_issues(given, p, score="self_confidence")
    found = suspected(issues, p, paths="abc", splits=["train", "val", "train"])
    if classes == 2:
        assert [(row.index, row.given, row.suggested) for row in found] == [(2, 0, 1), (0, 1, 0)]
        assert [row.runner_up for row in found] == [None, None]
    else:
        assert [(row.path, row.split) for row in found] == [("a", "train"), ("b", "val")]
        assert [(row.suggested, row.runner_up) for row in found] == [(0, 2), (2, 1)]
        assert found[0].label_quality == found[0].p_given == pytest.approx(0.3)
        assert found[0].p_suggested == pytest.approx(0.7)


# --- the file ------------------------------------------------------------------------------


def test_hostile_names_and_paths_stay_texts():
    names = HOSTILE
    rows = suspects(8, names)
    eye = np.eye(4)
    table = Table(names[0], names, [names])
    facts = {names[0]: names[1]}
    page = page_of(
        rows,
        class_names=names,
        name=names[0],
        facts=facts,
        tables=[table],
        transition_matrix=eye,
    )
    plain = page_of(
        suspects(8),
        facts={"a": "b"},
        tables=[Table("t", "cols", ["rows"])],
        transition_matrix=eye,
    )
    tags = [[tag for tag, _ in Elements(made).found] for made in (page, plain)]
    assert tags[0] == tags[1]
    data = data_of(page)
    assert data["classes"] == list(names)
    assert [item["path"] for item in data["items"]] == [row.path for row in rows]


def test_a_name_that_is_no_unicode_is_written_as_in_the_table():
    names = ("caf\udce9", *NAMES[1:])
    page = page_of([replace(suspects(1)[0], path="caf\udce9/1.png")], class_names=names)
    data = data_of(page)
    assert (data["classes"][0], data["items"][0]["path"]) == ("caf\\udce9", "caf\\udce9/1.png")


def test_the_page_needs_nothing_else():
    elements = Elements(page_of(suspects(4))).found
    addresses = [
        value for _, found in elements for key, value in found.items() if key in ("src", "href")
    ]
    assert addresses == ["data:,"]
    (policy,) = [
        found["content"] for _, found in elements if "content" in found and "http-equiv" in found
    ]
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy


@pytest.mark.slow
def test_a_thousand_pictures_of_noise_are_at_most_ten_megabytes():
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (224, 224, 3), dtype=np.uint8)
    page = page_of(suspects(1300), lambda suspect: noise)
    assert len(data_of(page)["items"]) == 1000
    assert len(page) <= 10_000_000
    assert "1,000 suspected labels" in page.decode()
    assert "300 more are only in label_issues.csv" in page.decode()


def test_long_paths_leave_out_suspects_instead_of_making_a_large_page():
    rows = [replace(row, path="é" * 4000) for row in suspects(1000)]
    page = page_of(rows, lambda suspect: np.zeros((8, 8), np.uint8))
    shown = len(data_of(page)["items"])
    assert 300 < shown < 1000
    assert len(page) <= 10_000_000
    assert f"{1000 - shown} more are only in" in page.decode()


def test_the_key_names_the_content():
    keys = [
        data_of(page_of(rows, class_names=names))["key"]
        for rows in (suspects(5), suspects(6), suspects(5)[::-1])
        for names in (NAMES, NAMES[::-1])
    ]
    assert len(set(keys)) == 6
    assert data_of(page_of(suspects(5)))["key"] == keys[0]


def test_no_suspects_is_a_page_too():
    assert data_of(page_of([]))["items"] == []


def test_what_cannot_be_shown_is_refused():
    with pytest.raises(ValueError, match="a suspect has class 4; there are 4"):
        page_of([replace(suspects(1)[0], runner_up=4)])
    with pytest.raises(ValueError, match=r"the transition matrix has shape \(2, 2\); \(4, 4\)"):
        page_of(suspects(1), transition_matrix=np.eye(2))


# --- in a browser --------------------------------------------------------------------------


def written(path, number):
    name = write_review(
        str(path),
        suspects(number),
        colour,
        class_names=NAMES,
        name="pets",
        facts={"Images": "1,000"},
        tables=[Table("Quality of the classes", ["class", "suspected"], [["cat", 3]])],
        transition_matrix=np.eye(4) * 0.6 + 0.1,
    )
    assert name == path.name
    return path


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return written(tmp_path_factory.mktemp("run") / "review.html", 150)


def button(page, name, place=0):
    return page.get_by_role("button", name=name).nth(place)


def shown(page):
    """The numbers of the cards on the page."""
    cards = page.locator("article")
    return cards.evaluate_all("all => all.map(card => Number(card.dataset.number))")


def focused(page):
    """The number of the card that has the focus, and whether the card itself has it."""
    return page.evaluate(
        "() => [Number(document.activeElement.closest('article')?.dataset.number),"
        " document.activeElement.matches('article')]"
    )


def corrections(page):
    name, text = downloaded(page, lambda: button(page, "Export corrections.csv").click())
    assert name == "corrections.csv"
    return list(csv.DictReader(io.StringIO(text, newline="")))


def decisions(page):
    """What is exported, by the number in the file's name."""
    rows = corrections(page)
    return {int(row["path"][-8:-4]): (row["action"], row["corrected"]) for row in rows}


@pytest.mark.slow
def test_decisions_by_click_and_key_survive_a_reload_and_are_exported(browser, file):
    with opened(browser, file) as page:
        button(page, "Accept dog").click()
        assert focused(page) == [0, False]  # the button keeps the focus
        assert button(page, "Accept dog").get_attribute("aria-pressed") == "true"
        page.keyboard.press("ArrowRight")
        assert focused(page) == [1, True]
        page.keyboard.press("k")  # keeps dog, and goes on
        page.keyboard.press("d")
        page.keyboard.press("2")  # item 3 was ship, cat suggested: dog
        page.keyboard.press("2")  # item 4 was cat, dog suggested: accepted
        page.keyboard.press("2")  # item 5 was dog: kept
        page.keyboard.press("c")
        page.keyboard.type("shi")
        page.keyboard.press("Enter")  # item 6
        expected = {
            0: ("accept", "dog"),
            1: ("keep", "dog"),
            2: ("drop", ""),
            3: ("relabel", "dog"),
            4: ("accept", "dog"),
            5: ("keep", "dog"),
            6: ("accept", "ship"),
        }
        assert decisions(page) == expected
        assert "7 of 150 decided" in page.locator("#progress-text").inner_text()
        page.get_by_text("More").click()
        page.get_by_label("Reviewer").fill('A. "B", C')
        page.reload()
        rows = corrections(page)
        assert rows[3] == {
            "path": "ship/0003.png",
            "split": "train",
            "given": "ship",
            "corrected": "dog",
            "action": "relabel",
            "score": "0.004",
            "reviewer": 'A. "B", C',
            "time": rows[3]["time"],
        }
        assert rows[3]["time"].endswith("Z")
        for number in range(6, -1, -1):  # what was decided before the reload is undone too
            page.keyboard.press("u")
            del expected[number]
            assert decisions(page) == expected
            if number == 3:
                page.reload()  # what was undone stays undone
                assert decisions(page) == expected
        assert button(page, "Undo").is_disabled()


@pytest.mark.slow
def test_filters_search_and_order(browser, file):
    with opened(browser, file) as page:
        every = suspects(150)
        assert shown(page) == list(range(60))
        button(page, "Next").click()
        assert shown(page) == list(range(60, 120))

        page.get_by_role("button", name="dog → deer 38").click()
        pair = [row.index for row in every if (row.given, row.suggested) == (1, 2)]
        assert shown(page) == pair
        assert page.locator("[data-pair='1 2']").get_attribute("aria-pressed") == "true"
        assert page.evaluate("document.activeElement.dataset.pair") == "1 2"  # the focus is kept
        page.get_by_label("Split").select_option("valid")
        assert shown(page) == [i for i in pair if every[i].split == "valid"]
        button(page, "Clear all filters").click()

        page.get_by_label("Class", exact=True).select_option("ship")
        page.get_by_label("Search path or class").fill("SHIP/001")
        assert shown(page) == [11, 15, 19]
        page.get_by_label("Sort by").select_option("sure")
        assert shown(page) == [11, 15, 19]
        page.get_by_label("Search path or class").fill("nothing")
        assert shown(page) == []
        assert page.get_by_text("No label matches these filters.").is_visible()
        button(page, "Clear all filters").click()
        page.get_by_label("Sort by").select_option("given")
        assert shown(page)[:3] == [0, 4, 8]
        page.get_by_label("Sort by").select_option("path")
        assert shown(page)[:2] == [0, 4]
        assert shown(page)[38] == 2  # deer after cat


@pytest.mark.slow
def test_the_focus_stays_when_a_decision_hides_its_card(browser, file):
    with opened(browser, file) as page:
        page.get_by_label("Decision", exact=True).select_option("none")
        button(page, "Keep dog").click()
        assert (shown(page)[:2], focused(page)) == ([0, 2], [2, True])
        page.keyboard.press("a")
        assert (shown(page)[:2], focused(page)) == ([0, 3], [3, True])
        page.keyboard.press("u")
        assert (shown(page)[:2], focused(page)) == ([0, 2], [2, True])
        button(page, "Accept all undecided on this page").click()
        assert "61 of 150 decided" in page.locator("#progress-text").inner_text()
        page.keyboard.press("u")
        assert list(decisions(page)) == [1]


@pytest.mark.slow
def test_keys_can_be_switched_off_and_are_not_taken_from_fields(browser, file):
    with opened(browser, file) as page:
        page.keyboard.press("/")
        page.keyboard.type("kad1")
        assert page.get_by_label("Search path or class").input_value() == "kad1"
        button(page, "Clear all filters").click()
        page.get_by_text("Keys", exact=True).click()
        page.get_by_label("Use these keys").uncheck()
        page.keyboard.press("a")
        assert decisions(page) == {}
        page.locator("article").first.focus()
        page.keyboard.press("ArrowDown")  # three cards a row
        assert focused(page) == [3, True]
        page.get_by_label("Use these keys").check()
        page.keyboard.press("a")
        assert list(decisions(page)) == [3]
        page.keyboard.press("Control+d")
        assert list(decisions(page)) == [3]


@pytest.mark.slow
def test_by_touch_on_a_phone(browser, file):
    with opened(browser, file, device=PHONE, scheme="dark") as page:
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        for name in ("Accept dog", "Keep cat", "Drop the image", "Other"):
            box = button(page, name).bounding_box()
            assert box["height"] >= 44
            assert box["width"] >= 44
        button(page, "Drop the image").tap()
        button(page, "Other", 1).tap()
        page.get_by_role("dialog").get_by_role("button", name="cat").tap()
        assert decisions(page) == {0: ("drop", ""), 1: ("relabel", "cat")}
        button(page, "Undo").tap()
        assert list(decisions(page)) == [0]


@pytest.mark.slow
def test_without_storage_it_says_so_and_corrections_can_be_loaded(browser, file, tmp_path):
    denied = (
        "Object.defineProperty(window, 'localStorage',"
        " { get() { throw new DOMException('denied', 'SecurityError'); } })"
    )
    with opened(browser, file) as page:
        assert page.locator("#storage").is_hidden()
        for key in "adk4":
            page.keyboard.press(key)
        before = decisions(page)
        _, text = downloaded(page, lambda: button(page, "Export corrections.csv").click())
    saved = tmp_path / "corrections.csv"
    text = text.replace('"dog","dog","keep"', '"dog","","keep"')  # as people may write it
    strange = '"nowhere.png","train","cat","dog","accept","0.1","","2026-01-01T00:00:00Z"\n'
    saved.write_bytes(("\ufeff" + text + strange).replace("\n", "\r\n").encode())
    with opened(browser, file, before=denied) as page:
        assert page.get_by_text("This browser keeps nothing for this page.").is_visible()
        page.get_by_text("More").click()
        page.get_by_label("Load corrections.csv").set_input_files(saved)
        from playwright.sync_api import expect

        problem = (
            "1 of 5 rows of corrections.csv are of other labels than these, or of no known action"
        )
        expect(page.get_by_role("alert")).to_have_text(problem)
        assert decisions(page) == before
        page.keyboard.press("u")  # the loading is one step
        assert decisions(page) == {}
        saved.write_text("file,label\n1,2\n")
        page.get_by_label("Load corrections.csv").set_input_files(saved)
        expect(page.get_by_role("alert")).to_contain_text("corrections.csv has no column path")
        saved.write_text("path;given;corrected;action\ncat/0000.png;cat;ship;relabel\n")  # by hand
        page.get_by_label("Load corrections.csv").set_input_files(saved)
        expect(page.get_by_role("alert")).to_be_hidden()
        assert decisions(page) == {0: ("relabel", "ship")}
        # As apply-corrections takes it: in any case, with spaces, and whatever the given class is.
        saved.write_text("Path; Given; Corrected; Action\ncat/0000.png; ; dog ; Relabel\n")
        page.get_by_label("Load corrections.csv").set_input_files(saved)
        expect(page.get_by_role("alert")).to_be_hidden()
        assert decisions(page) == {0: ("relabel", "dog")}
        # With the ends of lines of an old Mac, and spaces before quotation marks.
        text = 'path, "given", "corrected", action\r"cat/0000.png", "cat", "ship",relabel\r'
        saved.write_bytes(text.encode())
        page.get_by_label("Load corrections.csv").set_input_files(saved)
        expect(page.get_by_role("alert")).to_be_hidden()
        assert decisions(page) == {0: ("relabel", "ship")}
        # As Excel wants it, with the separator before the header.
        text = "sep=;\npath;given;corrected;action;note\ncat/0000.png;;dog;relabel;a,b,c,d,e,f\n"
        saved.write_bytes(text.replace("\n", "\r\n").encode())
        page.get_by_label("Load corrections.csv").set_input_files(saved)
        expect(page.get_by_role("alert")).to_be_hidden()
        assert decisions(page) == {0: ("relabel", "dog")}
        saved.write_text("path,given,corrected,action\ncat/0000.png,,dog,delete\n")
        page.get_by_label("Load corrections.csv").set_input_files(saved)
        expect(page.get_by_role("alert")).to_contain_text("or of no known action")


@pytest.mark.slow
def test_hostile_names_are_shown_and_exported_as_they_are(browser, tmp_path):
    path = tmp_path / "review.html"
    rows = suspects(4, HOSTILE)
    write_review(path, rows, colour, class_names=HOSTILE, name=HOSTILE[0])
    with opened(browser, path) as page:
        page.keyboard.press("a")
        page.keyboard.press("2")
        assert page.locator("article strong.given").first.text_content() == HOSTILE[0]
        button(page, "Other").click()
        assert page.locator("#chooser-list button").nth(2).text_content() == f"3 {HOSTILE[2]}"
        page.keyboard.press("Escape")
        page.reload()
        found = corrections(page)
        assert [row["path"] for row in found] == [row.path for row in rows[:2]]
        assert [row["given"] for row in found] == [HOSTILE[0], HOSTILE[1]]
        assert [row["corrected"] for row in found] == [HOSTILE[1], HOSTILE[1]]
        assert page.evaluate("document.querySelectorAll('img[src=x]').length") == 0
        _, text = downloaded(page, lambda: button(page, "Export corrections.csv").click())
        saved = tmp_path / "corrections.csv"
        saved.write_bytes(text.encode())
        page.evaluate("localStorage.clear()")
        page.reload()
        assert corrections(page) == []
        page.get_by_text("More").click()
        page.get_by_label("Load corrections.csv").set_input_files(saved)
        page.get_by_text("2 of 4 decided").wait_for()
        assert corrections(page) == found


@pytest.mark.slow
def test_exports_for_label_studio_and_fiftyone(browser, file):
    with opened(browser, file) as page:
        page.keyboard.press("a")
        page.keyboard.press("d")
        page.get_by_text("More").click()
        name, text = downloaded(page, lambda: button(page, "Export for Label Studio").click())
        assert name == "label_studio.json"
        tasks = json.loads(text)
        dog = [
            {
                "type": "choices",
                "from_name": "label",
                "to_name": "image",
                "value": {"choices": ["dog"]},
            }
        ]
        assert len(tasks) == 150
        assert tasks[0] == {
            "data": {
                "image": "cat/0000.png",
                "split": "train",
                "given": "cat",
                "label_quality": 0.001,
            },
            "predictions": [{"model_version": "sop_classify", "score": 0.9, "result": dog}],
            "annotations": [{"was_cancelled": False, "result": dog}],
        }
        assert tasks[1]["annotations"] == [{"was_cancelled": True, "result": []}]
        assert "annotations" not in tasks[2]

        name, text = downloaded(page, lambda: button(page, "Export for FiftyOne").click())
        assert name == "fiftyone.json"
        samples = json.loads(text)["samples"]
        assert samples[0] == {
            "filepath": "cat/0000.png",
            "tags": ["train", "accept"],
            "ground_truth": {"_cls": "Classification", "label": "cat"},
            "p_given": 0.001,
            "suggested": {"_cls": "Classification", "label": "dog", "confidence": 0.9},
            "corrected": {"_cls": "Classification", "label": "dog"},
            "label_quality": 0.001,
        }
        assert (samples[1]["tags"], samples[1]["corrected"]) == (["train", "drop"], None)
        assert (samples[2]["tags"], samples[2]["corrected"]) == (["train"], None)


@pytest.mark.slow
@pytest.mark.parametrize(("device", "scheme"), [({}, "light"), ({}, "dark"), (PHONE, "dark")])
def test_a_screen_reader_finds_its_way(browser, tmp_path, device, scheme):
    file = written(tmp_path / "review.html", 5)  # axe looks at every element
    with opened(browser, file, device=device, scheme=scheme) as page:
        page.locator("article").first.focus()
        for key in "akd1":
            page.keyboard.press(key)
        assert "ship/0003.png" in page.get_by_role("status").text_content()
        page.evaluate("for (const all of document.querySelectorAll('details')) all.open = true")
        page.locator("article").first.focus()
        name = "Given (0.1 %) cat Suggested (90 %) dog Accepted: dog"
        assert page.get_by_role("article", name=name).count() == 1
        assert violations(page) == []
        button(page, "Other").click()
        assert violations(page) == []
        page.keyboard.press("Escape")
        assert focused(page) == [0, False]  # back at the button
