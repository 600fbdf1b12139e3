"""Chromium without a window, for the tests of pages that people look at."""

import os
import shutil
from contextlib import contextmanager

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
DESKTOP = {"viewport": {"width": 1280, "height": 800}}
PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}


def chromium_path():
    """The browser that ROBUSTDIP_CHROMIUM names, which must be there then; else any, or a skip."""
    named = os.environ.get("ROBUSTDIP_CHROMIUM")
    found = shutil.which(named) if named else next(filter(None, map(shutil.which, NAMES)), None)
    if named and not found:
        pytest.fail(f"ROBUSTDIP_CHROMIUM is {named}, which is no program")
    if not found:
        pytest.skip("no Chromium; ROBUSTDIP_CHROMIUM can name one")
    return found


@contextmanager
def chromium():
    path = chromium_path()
    if "ROBUSTDIP_CHROMIUM" not in os.environ:
        pytest.importorskip("playwright")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # A superuser, as in a container, has no sandbox.
        root = hasattr(os, "geteuid") and os.geteuid() == 0
        arguments = ["--no-sandbox"] if root else []
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


@contextmanager
def opened(browser, file, *, device=DESKTOP, scheme="light", before=None):
    """A page that is open; it fails if it asks for anything, or anything goes wrong in it."""
    context = browser.new_context(color_scheme=scheme, **device)
    context.set_default_timeout(10_000)
    page, wrong = context.new_page(), []
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: wrong.append(request.url[:80]) if asks(request) else None)
    if before is not None:
        page.add_init_script(before)
    page.goto(file.as_uri())
    yield page
    context.close()
    assert not wrong


def asks(request):
    return not request.url.startswith(("file:", "data:", "blob:"))


def downloaded(page, click):
    """The text of the file that a click saves."""
    with page.expect_download() as download:
        click()
    path = download.value.path()
    return download.value.suggested_filename, path.read_bytes().decode("utf-8")


def violations(page):
    """What axe-core, rules of WCAG and good practice, finds: (rule, elements)."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [(rule["id"], [node["html"][:200] for node in rule["nodes"]]) for rule in found]
