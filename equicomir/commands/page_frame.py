"""The frame of a page that stands alone: its style, the few lines that run, and what is forbidden.

The browser is told to run and load nothing but what is here, named by its hash, the network first
of all: the page shows in ten years, on any machine, what it shows today, and tells nobody.
"""

import base64
import hashlib
import html

_SMALL = 300  # pixels of the longer side, below which pixels are shown as squares
_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 1.5rem auto;
  padding: 0 1rem; color: #1c1c1c; background: #fff; overflow-wrap: anywhere; }
h1 { font-size: 1.4rem; line-height: 1.3; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
.verdict { padding: .7rem 1rem; margin: 0; border-left: .4rem solid #1d6b3a; background: #eef6f0; }
.verdict.untrusted { border-color: #b3261e; background: #fdeceb; font-weight: 600; }
.pictures { display: flex; flex-wrap: wrap; gap: 1rem 1.5rem; align-items: start; }
figure { margin: 0; min-width: 0; } .pictures figure { flex-grow: 1; }
figcaption { color: #4a4a4a; font-size: .92rem; }
.picture { position: relative; overflow: hidden; margin-bottom: .3rem;
  background: repeating-linear-gradient(45deg, #e2e7f0 0 6px, #f1f4f8 6px 12px); }
.picture img { display: block; width: 100%; height: 100%; user-select: none; }
#seam { --at: 50%; cursor: ew-resize; touch-action: pan-y; }
#seam img { clip-path: inset(0 calc(100% - var(--at)) 0 0); }
#seam img + img { position: absolute; inset: 0; clip-path: inset(0 0 0 var(--at)); }
#seam::after { content: ""; position: absolute; top: 0; bottom: 0; left: calc(var(--at) - 1px);
  width: 2px; background: #ffb000; }
input[type=range] { display: block; width: 100%; margin: .4rem 0; accent-color: #1f4e79; }
.sides { display: flex; justify-content: space-between; gap: 1rem; font-size: .92rem; }
.curve { max-width: 36rem; } svg { display: block; width: 100%; height: auto; font-size: 11px; }
.grid { stroke: #ddd; } .tick { stroke: #777; }
line.found { stroke: #b8651b; stroke-dasharray: 4 3; } text.found { fill: #8a4a12; }
polyline { fill: none; stroke: #1f4e79; stroke-width: 1.2; }
table { border-collapse: collapse; font-size: .92rem; }
th, td { padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #ddd; text-align: left;
  vertical-align: top; font-weight: normal; }
th { color: #4a4a4a; white-space: nowrap; } li { margin: .3rem 0; max-width: 46rem; }
p { max-width: 46rem; } ul { padding-left: 1.2rem; } .verdict, h1 + p { max-width: none; }
pre { background: #f3f3f3; padding: .6rem .8rem; white-space: pre-wrap; font-size: .88rem; }
code span { display: inline-block; max-width: 100%; }
.matrix { white-space: pre; overflow-x: auto; }
footer { color: #4a4a4a; font-size: .85rem; margin: 2rem 0; }
"""
_SCRIPT = """
const seam = document.getElementById("seam"), range = document.getElementById("range");
function show() {
  seam.style.setProperty("--at", range.value + "%");
  range.setAttribute("aria-valuetext", range.value + " percent from the left");
}
function follow(event) {
  if (event.buttons !== 1) return;
  const box = seam.getBoundingClientRect();
  range.value = 100 * (event.clientX - box.left) / box.width;
  show();
}
range.addEventListener("input", show);
seam.addEventListener("pointerdown", follow);
seam.addEventListener("pointermove", follow);
show();
"""
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; \
style-src '{style_hash}'; script-src '{script_hash}'; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>{style}</style></head><body>
{body}
<script>{script}</script></body></html>
"""


def framed(title: str, body: str, size: tuple[int, int]) -> str:
    """A whole page.

    Args:
        title: plain text.
        body: HTML. Pictures stand in ``.picture`` in ``figure`` in ``.pictures``; two of them in
            ``#seam`` lie on one another, and ``#range`` moves the seam.
        size: (height, width) of its pictures, in pixels.

    Returns:
        HTML that asks for nothing outside itself.

    Example:
        >>> "<title>a &lt; b</title>" in framed("a < b", "<p>c</p>", (3, 4))
        True
    """
    style = _STYLE + _shape(size)
    return _PAGE.format(
        title=html.escape(title),
        style=style,
        style_hash=_hash(style),
        script=_SCRIPT,
        script_hash=_hash(_SCRIPT),
        body=body,
    )


def _hash(text: str) -> str:
    """As a browser names what a page may run."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _shape(size: tuple[int, int]) -> str:
    """Style for pictures of one (height, width): they are never higher than the window."""
    height, width = size
    squares = " .picture img { image-rendering: pixelated; }" if max(size) < _SMALL else ""
    widest = f"max(14rem, {85 * width / height:.2f}vh)"
    return (
        f".picture {{ aspect-ratio: {width} / {height}; }}{squares}\n"
        f".pictures figure {{ max-width: {widest}; flex-basis: min(26rem, 100%, {widest}); }}\n"
    )
