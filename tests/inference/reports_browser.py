"""A page opened in headless Chromium, in a frame of a given width, and asked what it sees."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ASK = """
const page = document.querySelector("iframe").contentDocument;
const images = [...page.images];
const boxes = [...page.querySelectorAll("svg text, p, td, th, li, h1, h2, h3, figcaption")];
const sizes = boxes.map(box => {
  const svg = box.ownerSVGElement;
  const scale = svg ? svg.getBoundingClientRect().width / svg.viewBox.baseVal.width : 1;
  return parseFloat(getComputedStyle(box).fontSize) * scale;
});
const said = document.createElement("pre");
said.id = "said";
said.textContent = JSON.stringify({
  images: images.length,
  broken: images.filter(one => !one.complete || !one.naturalWidth).length,
  charts: page.querySelectorAll(".chart svg path").length,
  width: page.documentElement.clientWidth,
  content: page.documentElement.scrollWidth,
  smallest: Math.min(...sizes),
});
document.body.append(said);
"""


def open_page(path: Path, folder: Path, *, width: int, picture: Path | None = None) -> tuple[dict, str]:
    """What a page says of itself at a width in pixels, and what the browser logged about it."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium on this machine")
    frame = folder / f"frame-{width}.html"
    content = html.escape(path.read_text())
    frame.write_text(
        f'<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><body style="margin:0">'
        f'<iframe srcdoc="{content}" width="{width}" height="2400" style="border:0"></iframe>'
        f'<script>addEventListener("load", () => {{ {ASK} }})</script>'
    )
    shot = ["--dump-dom"] if picture is None else [f"--screenshot={picture}"]
    words = [
        *(browser, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"),
        *("--enable-logging=stderr", f"--window-size={max(width, 600)},2400", *shot, frame.as_uri()),
    ]
    result = subprocess.run(words, capture_output=True, text=True, timeout=180)
    said = re.findall(r'<pre id="said">(.*?)</pre>', result.stdout)
    logged = "\n".join(line for line in result.stderr.splitlines() if "CONSOLE" in line)
    return json.loads(html.unescape(said[0])) if said else {}, logged
