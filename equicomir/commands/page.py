"""The page that a registration leaves: whether to believe it is for a person to see.

One HTML file with its pictures inside: what was found, in words and to look at, how probable it is
that it is right, and how to find it again.
"""

import html
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from equicomir.commands.page_frame import framed
from equicomir.commands.page_pictures import (
    around_median,
    checkerboard,
    curve,
    embedded,
    page_places,
    page_step,
    places_in_moving,
    seen_at,
    stretched,
)
from equicomir.commands.page_text import reasons, transform_words, verdict_words
from equicomir.commands.resampled import Picture, own_to_common
from equicomir.geometry import rotation_degrees
from equicomir.images.files import ImageFile
from equicomir.provenance import versions
from equicomir.registration.alignment import Alignment
from equicomir.registration.verdict import Calibration
from equicomir.shapes import Array, ArrayMask

#: The page in the folder of a registration.
PAGE = "report.html"


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A registration as its page shows it, in pixels of the fixed image's size.

    Attributes:
        alignment: of the pictures.
        calibration: that its confidence is of.
        files: fixed and moving.
        pictures: of both, the moving one with pixels of the fixed one's size.
        representations: of both pictures, (channels, height, width); None where there are none.
        modalities: of both, None where nobody said.
        method: "search" or "information".
        transform: the kind that was asked for.
        command: that registers them again, word by word.
    """

    alignment: Alignment
    calibration: Calibration
    files: tuple[ImageFile, ImageFile]
    pictures: tuple[Picture, Picture]
    representations: tuple[Array, Array] | None
    modalities: tuple[str | None, str | None]
    method: str
    transform: str
    command: Sequence[str]


def write_page(path: Path, shown: Shown) -> None:
    """Write the self-contained page.

    Args:
        path: HTML file to write.
        shown: what is on it.

    Raises:
        OSError: it cannot be written.
    """
    fixed, moving = shown.files
    name = f"{moving.path.name} on {fixed.path.name}"
    verdict = "" if shown.alignment.trusted else "NOT TRUSTED: "
    size = page_places(shown.pictures[0].size).shape[1:]
    page = framed(verdict + name, _body(shown, name), (size[0], size[1]))
    # A name of a file may hold bytes that are no text.
    path.write_bytes(page.encode("utf-8", errors="replace"))


def _body(shown: Shown, name: str) -> str:
    """All that is seen, the verdict first."""
    alignment, pictures = shown.alignment, shown.pictures
    size = pictures[0].size
    step, places = page_step(size), page_places(size)
    back = places_in_moving(alignment.moving_to_fixed, places, alignment.displacement)

    def seen(pair: Sequence[Array]) -> list[tuple[Array, ArrayMask]]:
        masks = [picture.mask.numpy() for picture in pictures]
        both = zip(pair, masks, (places, back), strict=True)
        return [seen_at(image, mask, where, step) for image, mask, where in both]

    both = seen([_colours(*one) for one in zip(shown.files, pictures, strict=True)])
    inside = both[1][1]
    parts = [_verdict(shown), f"<h1>{html.escape(name)}</h1>"]
    parts.append(_words(shown, places, back, inside))
    eye = [(stretched(image, mask), mask) for image, mask in both]
    board = checkerboard(eye[0][0], eye[1][0], inside)
    parts.append(
        f'<h2>Does it fit?</h2>{_shrunk(step)}<div class="pictures">{_slider(eye, shown.files)}'
        + _figure(
            embedded(board, both[0][1]),
            "Checkerboard of both images",
            "Checkerboard: fixed in grey, moving, registered, in copper. What lies in both must go "
            "on unbroken from tile to tile.",
        )
        + "</div>"
    )
    if shown.representations is not None:
        parts.append(_representations(shown, seen(shown.representations)))
    parts.append(_scores(shown))
    covered = float(inside.mean())
    said = reasons(alignment, shown.calibration, shown.method, shown.transform, covered)
    listed = "".join(f"<li>{html.escape(text)}</li>" for text in said)
    parts.append(f"<h2>Confidence, and why</h2><ul>{listed}</ul>")
    parts.append(_repeat(shown))
    return "\n".join(parts)


def _colours(file: ImageFile, picture: Picture) -> Array:
    """What a person sees of an image: its colours if it has them, else the mean of its channels."""
    pixels: Array = picture.pixels.numpy()
    if file.channel_names == ("red", "green", "blue"):
        return pixels
    return pixels if len(pixels) == 1 else pixels.mean(0, keepdims=True)


def _verdict(shown: Shown) -> str:
    kind = "verdict" if shown.alignment.trusted else "verdict untrusted"
    text = html.escape(verdict_words(shown.alignment, shown.calibration))
    return f'<p class="{kind}">{text}</p>'


def _words(shown: Shown, places: Array, back: Array, inside: ArrayMask) -> str:
    """The transform as a sentence."""
    matrix, (fixed, moving) = shown.alignment.moving_to_fixed, shown.pictures
    words = transform_words(matrix, fixed.size, moving.size, shown.files[0].pixel_size_micrometres)
    text = f"Laid centre on centre with the fixed image, the moving image is {words}."
    if not np.array_equal(own_to_common(*shown.files), np.eye(3)):
        text = f"The moving image is first seen with pixels as large as those of fixed. {text}"
    if shown.alignment.displacement is not None:
        bend = np.linalg.norm(back - places_in_moving(matrix, places), axis=0)[inside]
        mean, greatest = (bend.mean(), bend.max()) if bend.size else (0.0, 0.0)
        text += (
            f" On top of that it is deformed, by {mean:.1f} px in the mean and {greatest:.1f} px "
            f"at most."
        )
    return f"<p>{html.escape(text)}</p>"


def _shrunk(step: float) -> str:
    """That there is more to see than the page shows, where there is."""
    if step == 1:
        return ""
    return (
        f"<p>A pixel of these pictures stands for {step:.3g} x {step:.3g} of the fixed image; "
        "moving_registered.tif beside this page has them all.</p>"
    )


def _figure(address: str, alt: str, caption: str) -> str:
    alt, caption = html.escape(alt), html.escape(caption)
    return (
        f'<figure><div class="picture"><img src="{address}" alt="{alt}"></div>'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _slider(eye: Sequence[tuple[Array, ArrayMask]], files: tuple[ImageFile, ImageFile]) -> str:
    """Both images on one place, and the seam between them that is moved."""
    names = [html.escape(file.path.name) for file in files]
    alts = [f"Fixed image: {names[0]}", f"Moving image, registered: {names[1]}"]
    images = "".join(
        f'<img src="{embedded(*picture)}" alt="{alt}" draggable="false">'
        for picture, alt in zip(eye, alts, strict=True)
    )
    return (
        f'<figure><div class="picture" id="seam">{images}</div>'
        '<div class="sides"><span>◀ fixed</span><span>moving, registered ▶</span></div>'
        '<input type="range" id="range" min="0" max="100" step="1" value="50" '
        'aria-labelledby="how"><figcaption id="how">Move the seam between fixed and moving: drag '
        "it, or use the arrow keys.</figcaption></figure>"
    )


def _representations(shown: Shown, both: Sequence[tuple[Array, ArrayMask]]) -> str:
    roles, figures = ("fixed", "moving, registered"), ""
    for (image, mask), role, modality in zip(both, roles, shown.modalities, strict=True):
        caption = role.capitalize() if modality is None else f"{role.capitalize()}: {modality}"
        address = embedded(around_median(image, mask), mask)
        figures += _figure(address, f"Representation of the image that is {role}", caption)
    return (
        "<h2>Representations</h2><p>What was registered: both images as the model sees them, which "
        f'should look alike.</p><div class="pictures">{figures}</div>'
    )


def _scores(shown: Shown) -> str:
    """Score against angle, or why there is no such curve."""
    alignment = shown.alignment
    drawn = curve(alignment.score_by_angle, rotation_degrees(alignment.moving_to_fixed))
    if not drawn:
        return (
            "<h2>Score against angle</h2><p>There is no curve, as fewer than two angles could be "
            "scored: the images, or what the masks leave of them, overlap too little.</p>"
        )
    told = (
        "The best score at each angle tried, at the coarse scale where all of them are: one peak "
        "that stands alone speaks for the angle found."
    )
    if drawn.count("<polyline") > 1:
        told += " Where the line is broken, nothing could be scored."
    if shown.transform != "rigid":
        told += (
            " The curve is that of the rotation and translation from which elastix went on; it "
            "tries no angles of its own."
        )
    return (
        f'<h2>Score against angle</h2><figure class="curve">{drawn}<figcaption>{told}</figcaption>'
        "</figure>"
    )


def _repeat(shown: Shown) -> str:
    """What is needed to do it again."""
    rows = []
    roles = ("fixed", "moving")
    for role, file, modality in zip(roles, shown.files, shown.modalities, strict=True):
        told = [file.path.name, f"{file.shape[1]} x {file.shape[2]} px"]
        if file.pixel_size_micrometres is not None:
            told.append("pixels of {:.4g} x {:.4g} µm".format(*file.pixel_size_micrometres))
        rows.append((role, ", ".join(told + ([] if modality is None else [modality]))))
    rows.append(("method", f"{shown.method}, {shown.transform}"))
    table = "".join(
        f'<tr><th scope="row">{html.escape(k)}</th><td>{html.escape(v)}</td></tr>' for k, v in rows
    )
    matrix = shown.alignment.moving_to_fixed @ own_to_common(*shown.files)
    numbers = "\n".join(" ".join(f"{x:11.5f}" for x in line) for line in matrix)
    what = "moving_to_fixed"
    if shown.alignment.displacement is not None:
        what += ", from which the deformation in displacement.mha went on,"
    words = (html.escape(shlex.quote(word)) for word in shown.command)
    command = " ".join(f"<span>{word}</span>" for word in words)
    tools = ", ".join(f"{name} {version}" for name, version in versions().items())
    return (
        f"<h2>To repeat it</h2><table>{table}</table><p>In the folder where it was called, and "
        "with another name after --out, for nothing is overwritten:</p>"
        f"<pre><code>{command}</code></pre>"
        f"<p>{what} over (row, column, 1), in the pixels of both files; transform.json "
        f'beside this page has all its digits:</p><pre class="matrix">{numbers}</pre>'
        f"<footer>{html.escape(tools)}</footer>"
    )
