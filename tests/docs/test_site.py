"""The built site in a browser: pages load, pictures are there, nothing overflows, search finds, nothing is fetched."""

import importlib
import os
import pkgutil
import shutil
import subprocess
import sys
import zlib
from pathlib import Path
from urllib.parse import quote

import pytest

ROOT = Path(__file__).parents[2]
WIDTHS = (pytest.param(400, marks=pytest.mark.ci), 1280)
UNREADABLE = """() => [...document.images].filter(image => !image.complete || image.naturalWidth === 0)
    .map(image => image.src)"""
WIDER = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site that KINEMA_SITE names; without, it is built as by the command of CONTRIBUTING.md."""
    if os.environ.get("KINEMA_SITE"):
        return Path(os.environ["KINEMA_SITE"])
    pytest.importorskip("sphinx", reason="needs the extra docs")
    target = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", ROOT / "docs", target / "html"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "KINEMA_EXECUTE": "0"}
    done = subprocess.run(
        [*map(str, words), "-d", str(target / "doctrees")], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return target / "html"


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium of this system."""
    driver = pytest.importorskip("playwright.sync_api", reason="needs the extra docs")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("needs chromium")
    with driver.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()


def visit(page, address):
    """Load a page; what went wrong, in words."""
    wrong = []
    page.on("console", lambda message: wrong.append(f"console: {message.text}") if message.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(f"script: {error}"))
    page.on("requestfailed", lambda request: wrong.append(f"not loaded: {request.url}"))
    page.on(
        "request", lambda request: None if request.url.startswith(("file:", "data:")) else wrong.append(request.url)
    )
    page.goto(address)
    return wrong


@pytest.mark.parametrize("width", WIDTHS)
def test_pages_load_with_their_pictures_and_fit(site, browser, width):
    paths = [path for path in sorted(site.rglob("*.html")) if not {"_modules", "_static"} & {*path.parts}]
    assert len(paths) > 40
    found = {}
    for path in paths:
        page = browser.new_page(viewport={"width": width, "height": 800})
        wrong = visit(page, path.as_uri())
        page.evaluate("() => Promise.all([...document.images].map(image => (image.loading = 'eager', image.decode())))")
        wrong += page.evaluate(UNREADABLE)
        if (wider := page.evaluate(WIDER)) > 0:
            wrong.append(f"wider than the window by {wider} pixels")
        if wrong:
            found[str(path.relative_to(site))] = wrong
        page.close()
    assert found == {}


@pytest.mark.ci
@pytest.mark.parametrize("words", ["VIMCO", "missing frames", "merge_particles"])
def test_search_finds(site, browser, words):
    page = browser.new_page()
    wrong = visit(page, f"{(site / 'search.html').as_uri()}?q={quote(words)}")
    page.wait_for_selector("ul.search li a", timeout=60_000)
    assert any(words.split()[0].lower() in text.lower() for text in page.locator("ul.search").all_inner_texts())
    assert wrong == []
    page.close()


@pytest.mark.ci
def test_equations_are_set(site):
    assert "<mfrac>" in (site / "how_to" / "discrete_latents.html").read_text()
    assert "<math" in (site / "api" / "distributions.html").read_text()


@pytest.mark.ci
def test_every_public_name_is_in_the_reference(site):
    inventory = (site / "objects.inv").read_bytes().split(b"\n", 4)[4]  # four lines of text, the rest is compressed
    documented = {line.split()[0] for line in zlib.decompress(inventory).decode().splitlines()}
    missing = [name for name in sorted(public_names()) if not documented & same(name)]
    assert missing == []


def public_names():
    """`package.name` for everything in an `__all__`, but modules and tables of them."""
    for top in ("videos", "pyro_models", "guides", "inference"):
        package = importlib.import_module(top)
        names = [top] + [one.name for one in pkgutil.walk_packages(package.__path__, f"{top}.") if one.ispkg]
        for name in names:
            module = importlib.import_module(name)
            yield from (f"{name}.{one}" for one in getattr(module, "__all__", ()) if callable(getattr(module, one)))


def same(name):
    """Every public place of the same object."""
    package, _, last = name.rpartition(".")
    found = getattr(importlib.import_module(package), last)
    places = {name, f"{found.__module__}.{last}"}
    for top in ("videos", "pyro_models", "guides", "inference"):
        if getattr(importlib.import_module(top), last, None) is found:
            places.add(f"{top}.{last}")
    return places
