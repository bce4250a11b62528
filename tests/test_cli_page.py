"""The page of a registration: true to the numbers, alone in the world, and seen in a browser."""

import base64
import dataclasses
import io
import math
import re
import shlex
import shutil
from html.parser import HTMLParser
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
import tifffile
import torch
from hypothesis import example, given
from PIL import Image

from equicomir.commands import register
from equicomir.commands.page import PAGE, Shown, write_page
from equicomir.commands.page_pictures import (
    page_places,
    places_in_moving,
    seen_at,
    stretched,
)
from equicomir.commands.resampled import Picture, read_picture
from equicomir.geometry import rigid
from equicomir.images.files import open_image
from equicomir.registration import search
from equicomir.registration.alignment import Alignment
from equicomir.registration.verdict import read_calibration
from equicomir.transforms.deformations import displacement_of

EMPTY = {"meta", "link", "img", "input", "br", "line", "polyline"}
CALIBRATION = read_calibration(search.register)


class Read(HTMLParser):
    """What a page says and asks for; a tag that is not closed in order is an error."""

    def __init__(self, page):
        super().__init__()
        self.open, self.texts, self.addresses, self.sources = [], [], [], []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.addresses += [v for k, v in attrs if k in ("src", "href", "srcset", "action", "data")]
        assert not [k for k, _ in attrs if k.startswith("on") or k == "style"]  # both forbidden
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.addresses += [v for k, v in attrs if "href" in k]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("style", "script"):
            self.sources.append(data)
        else:
            self.texts.append((tuple(self.open), data))

    def within(self, tag):
        return "".join(text for tags, text in self.texts if tag in tags)

    @property
    def seen(self):
        return [text for tags, text in self.texts if "body" in tags and text.strip()]


def scene(seed, height=40, width=36):
    """A picture of blocks, which no turn leaves as it is."""
    rng = np.random.default_rng(seed)
    blocks = rng.normal(size=(-(-height // 8), -(-width // 8)))
    return blocks.repeat(8, 0).repeat(8, 1)[:height, :width]


def shown(folder, image, moving, matrix, *, names=("f.tif", "m.tif"), **options):
    files = []
    for name, one in zip(("f.npy", "m.npy"), (image, moving), strict=True):
        np.save(folder / name, one.astype(np.float32))
        files.append(open_image(folder / name))
    pictures = tuple(read_picture(file, None) for file in files)
    alignment = options.pop("alignment", None) or Alignment(matrix, 0.5, confidence=0.9)
    return Shown(
        alignment=alignment,
        calibration=CALIBRATION,
        files=tuple(
            dataclasses.replace(f, path=Path(n)) for f, n in zip(files, names, strict=True)
        ),
        pictures=pictures,
        representations=options.pop("representations", (image[None], -moving[None])),
        modalities=options.pop("modalities", ("A", "B")),
        method="search",
        transform=options.pop("transform", "rigid"),
        command=options.pop("command", ("equicomir", "register", "model", *names, "--out", "r")),
    )


def written(folder, what):
    write_page(folder / PAGE, what)
    return (folder / PAGE).read_text(encoding="utf-8")


def decoded(address):
    kind, data = re.fullmatch(r"data:image/(png|jpeg);base64,(.*)", address).groups()
    return kind, np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


# ------------------------------------------------------------------------------- page

WORDS = st.text(
    st.characters(exclude_categories=["Cc", "Cs", "Cn"]), min_size=1, max_size=20
).filter(lambda text: text.strip())
NAMES = WORDS.filter(lambda name: "/" not in name and name not in (".", ".."))


@given(names=st.tuples(NAMES, NAMES), modality=WORDS, words=st.lists(WORDS, max_size=4))
@example(names=("<b>a", "&amp;\"'.tif"), modality="<!-- &lt;", words=["</pre>", "<script>", "$x ;"])
def test_names_and_command_are_told_as_they_are_whatever_they_hold(
    tmp_path_factory, names, modality, words
):
    """Nothing of them becomes a tag, and a shell takes the command apart into the same words."""
    folder = tmp_path_factory.mktemp("p")
    command = ["equicomir", "register", *names, *words]
    what = shown(
        folder,
        scene(0),
        scene(0),
        np.eye(3),
        names=names,
        modalities=(modality, None),
        command=command,
    )
    page = Read(written(folder, what))
    assert shlex.split(page.within("code")) == command
    # The control: joined by blanks alone, a command with a blank in a name is another one.
    assert " " not in "".join(command) or " ".join(command) != page.within("code")
    assert page.within("h1") == f"{names[1]} on {names[0]}"
    assert page.within("title").endswith(f"{names[1]} on {names[0]}")
    assert modality in page.within("td")
    assert f"Fixed: {modality}" in page.within("figcaption")
    assert all(address.startswith("data:image/png;base64,") for address in page.addresses)
    assert len(page.addresses) == 5
    assert not re.search(r"url\(|@import|https?:|fetch|XMLHttp|import\(", " ".join(page.sources))


def test_a_name_that_is_no_text_is_no_end(tmp_path):
    what = shown(tmp_path, scene(0), scene(0), np.eye(3), names=("a\udce4.tif", "b.tif"))
    assert "b.tif on a?.tif" in written(tmp_path, what)


@pytest.mark.parametrize("trusted", [True, False])
def test_what_is_not_trusted_is_said_first(tmp_path, trusted):
    alignment = Alignment(rigid(3), 0.5, confidence=0.9 if trusted else 0.1, trusted=trusted)
    page = Read(written(tmp_path, shown(tmp_path, scene(0), scene(1), None, alignment=alignment)))
    first = page.seen[0]
    assert first.startswith("Trusted: " if trusted else "Not to be trusted: ")
    assert ("0.90" if trusted else "0.10") in first
    assert page.within("title").startswith("NOT TRUSTED: ") != trusted


def test_what_there_is_not_is_left_out_or_said_in_words(tmp_path):
    curve_of = [(float(a), 0.1) for a in range(0, 360, 10)]
    full = shown(tmp_path, scene(0), scene(0), None, alignment=Alignment(np.eye(3), 0.5, curve_of))
    assert {"Representations", "Score against angle"} <= set(Read(written(tmp_path, full)).seen)
    assert "line is broken" not in written(tmp_path, full)
    parted = Alignment(np.eye(3), 0.5, [p for p in curve_of if not 90 < p[0] < 150])
    assert "line is broken" in written(tmp_path, dataclasses.replace(full, alignment=parted))
    bare = dataclasses.replace(
        full, representations=None, alignment=Alignment(np.eye(3), 0.5, confidence=0.5)
    )
    page = Read(written(tmp_path, bare))
    assert "Representations" not in page.seen
    assert len(page.addresses) == 3
    assert "There is no curve, as fewer than two angles could be scored" in " ".join(page.seen)
    assert "<polyline" in written(tmp_path, full)
    assert "<polyline" not in written(tmp_path, bare)


def test_the_curve_of_what_elastix_began_with_is_shown_and_said_to_be_that(tmp_path):
    curve_of = [(float(a), 0.1) for a in range(0, 360, 10)]
    found = Alignment(rigid(5), 0.5, curve_of)
    rigidly = shown(tmp_path, scene(0), scene(0), None, alignment=found)
    assert "from which elastix went on; it tries no angles" not in written(tmp_path, rigidly)
    page = written(tmp_path, dataclasses.replace(rigidly, transform="affine"))
    assert "<polyline" in page
    assert "from which elastix went on; it tries no angles" in page


def test_a_deformation_is_told_by_its_lengths_beyond_the_matrix(tmp_path):
    size, matrix = (40, 36), rigid(25, (3, -2), centre=(20, 18))
    bend = np.zeros((2, *size))
    bend[0], bend[1, 20, 18] = 1.5, 2
    displacement = displacement_of(np.linalg.inv(matrix), size) + bend
    alignment = Alignment(matrix, 0.5, displacement=displacement, confidence=0.5)
    what = shown(tmp_path, scene(0), scene(0), None, alignment=alignment, transform="bspline")
    said = " ".join(Read(written(tmp_path, what)).seen)
    assert "turned by 25.0 degrees counter-clockwise" in said
    assert "deformed, by 1.5 px in the mean and 2.5 px at most" in said
    assert "displacement.mha" in said


def test_a_large_image_is_shown_smaller_and_the_page_says_so(tmp_path, monkeypatch):
    what = shown(tmp_path, scene(0), scene(1), np.eye(3))
    assert "stands for" not in written(tmp_path, what)
    monkeypatch.setattr("equicomir.commands.page_pictures.LONGEST_SIDE", 16)
    page = Read(written(tmp_path, what))
    assert {decoded(address)[1].shape[:2] for address in page.addresses} == {(16, 14)}
    assert "stands for 2.5 x 2.5 of the fixed image" in " ".join(page.seen)


def test_pixels_of_another_size_are_told_and_the_matrix_is_that_of_the_files(tmp_path):
    what = shown(tmp_path, scene(0), scene(0), rigid(0, (4, 0)))
    sizes = ((0.5, 0.5), (1.0, 1.0))
    files = tuple(
        dataclasses.replace(file, pixel_size_micrometres=size)
        for file, size in zip(what.files, sizes, strict=True)
    )
    page = Read(written(tmp_path, dataclasses.replace(what, files=files)))
    said = " ".join(page.seen)
    assert "first seen with pixels as large" in said
    assert "moved 4.0 px (2 µm) down" in said
    assert "pixels of 0.5 x 0.5 µm" in said
    *_, matrix = (text for tags, text in page.texts if "pre" in tags)
    numbers = np.array(matrix.split(), float).reshape(3, 3)
    np.testing.assert_allclose(numbers, rigid(0, (4, 0)) @ np.diag([2, 2, 1]), atol=1e-5)


def test_colours_are_shown_as_colours(tmp_path):
    what = shown(tmp_path, scene(0), scene(0), np.eye(3), representations=None)
    pixels = torch.from_numpy(np.stack([scene(n) for n in range(3)])).float()
    colour = Picture(pixels, torch.ones(40, 36, dtype=torch.bool))
    file = dataclasses.replace(what.files[0], channel_names=("red", "green", "blue"))
    many = dataclasses.replace(file, channel_names=("DAPI", "FITC", "TRITC"))
    for first, channels in ((file, 3), (many, 1)):
        one = dataclasses.replace(
            what, files=(first, what.files[1]), pictures=(colour, what.pictures[1])
        )
        _, came = decoded(Read(written(tmp_path, one)).addresses[0])
        assert came.reshape(40, 36, -1).shape[2] == channels


def test_register_writes_the_page_before_the_transform(tmp_path, monkeypatch, capsys):
    image = (1000 * (3 + scene(0, 32, 32))).clip(0).astype(np.uint16)
    found = Alignment(rigid(-90, centre=(15.5, 15.5)), 1.0, confidence=0.8, trusted=True)
    monkeypatch.setattr(register, "aligned", lambda *_, **__: found)
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("größe a.tif", image)
    tifffile.imwrite("b.tif", np.rot90(image))
    there = []
    real = register.write_found

    def last(folder, *args, **options):
        there.append(sorted(path.name for path in folder.iterdir()))
        return real(folder, *args, **options)

    monkeypatch.setattr(register, "write_found", last)
    words = ["größe a.tif", "b.tif", "--method", "information", "--out", "r", "--quiet"]
    assert register.main(words) == 0
    assert there == [[PAGE]]
    page = Read(Path("r", PAGE).read_text(encoding="utf-8"))
    assert shlex.split(page.within("code")) == ["equicomir", "register", *words]
    assert "turned by 90.0 degrees clockwise" in " ".join(page.seen)
    with pytest.raises(SystemExit):
        register.main(["--help"])
    assert PAGE in capsys.readouterr().out


# ------------------------------------------------------------------------------- browser


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium is installed")
    with sync_api.sync_playwright() as player:
        started = player.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    """A page with all its sections, and names that have no place to break."""
    folder = tmp_path_factory.mktemp("grüße aus")
    image, size = scene(3, 120, 100), (120, 100)
    curve_of = [(float(a), 0.3 * math.cos(math.radians(a - 40))) for a in range(-180, 180, 5)]
    matrix = rigid(40, (5, 3), centre=(59.5, 49.5))
    places = places_in_moving(np.linalg.inv(matrix), page_places(size))
    moving, inside = seen_at(2 - scene(4, *size)[None], np.ones(size, bool), places, 1)
    long = "M" * 120
    what = shown(
        folder,
        image,
        np.where(inside, moving, -2)[0],
        None,
        alignment=Alignment(matrix, 0.3, curve_of, confidence=0.02),
        names=(f"{long}.tif", f"<i>{long}.tif"),
        modalities=(long, "B"),
        command=("equicomir", "register", f"/data/{long}/{long}", "fixed 1.tif", "m.tif"),
    )
    what = dataclasses.replace(what, command=[*what.command, "--out", "a folder/ä"])
    write_page(folder / PAGE, what)
    return folder / PAGE, what


def opened(browser, path, width):
    """A tab without a network, what it complains of, and what it asks for."""
    context = browser.new_context(viewport={"width": width, "height": 800}, offline=True)
    tab, complaints, asked = context.new_page(), [], []
    tab.on("console", lambda message: complaints.append(message.text))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(path.as_uri())
    return tab, complaints, asked


OVERFLOWING = """() => {
  const wide = document.documentElement.clientWidth;
  return [...document.body.querySelectorAll("*")].filter(e => {
    const box = e.getBoundingClientRect();
    const cut = getComputedStyle(e).overflowX !== "visible";
    const drawn = e.ownerSVGElement?.getBoundingClientRect();
    if (drawn) return box.left < drawn.left || box.right > drawn.right || box.top < drawn.top;
    const spilled = e.clientWidth > 0 && e.scrollWidth > e.clientWidth + 1 && !cut;
    return box.right > wide + 0.5 || box.left < -0.5 || spilled;
  }).map(e => e.tagName).concat(document.documentElement.scrollWidth > wide ? ["HTML"] : []);
}"""


@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_shows_it_without_complaint_and_nothing_overflows(browser, page_file, width):
    path, _ = page_file
    tab, complaints, asked = opened(browser, path, width)
    assert tab.evaluate(OVERFLOWING) == []
    pictures = tab.evaluate("[...document.images].map(i => i.complete && i.naturalWidth)")
    assert pictures == [100] * 5
    assert complaints == []
    assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]
    smallest = tab.evaluate(
        "Math.min(...[...document.querySelectorAll('p, li, figcaption, td, svg text')].map("
        "e => parseFloat(getComputedStyle(e).fontSize)"
        " * (e.getScreenCTM ? e.getScreenCTM().a : 1)))"
    )
    assert smallest >= 10.5  # pixels
    tab.context.close()


def test_the_network_is_forbidden_and_a_changed_script_does_not_run(browser, page_file, tmp_path):
    """The controls: a line added to the script and a wide box are both seen."""
    path, _ = page_file
    tab, complaints, _ = opened(browser, path, 390)
    came = tab.evaluate("fetch('http://127.0.0.1:9/').then(() => 'came', e => 'refused')")
    assert came == "refused"
    assert any("Content Security Policy" in text for text in complaints)
    tab.context.close()
    changed = tmp_path / "changed.html"
    page = path.read_text(encoding="utf-8")
    page = page.replace("</script>", "document.title = 'ran';</script>")
    changed.write_text(page.replace("<h1>", "<h1><img width='500'>"), encoding="utf-8")
    tab, complaints, _ = opened(browser, changed, 390)
    assert tab.title() != "ran"
    assert any("Content Security Policy" in text for text in complaints)
    assert "IMG" in tab.evaluate(OVERFLOWING)
    tab.context.close()


def seam_alike(tab, pictures):
    """How much of the variation of what is seen at the seam follows each picture."""
    shot = Image.open(io.BytesIO(tab.locator("#seam").screenshot())).convert("L")
    size = pictures[0].shape[::-1]
    values = np.asarray(shot.resize(size, Image.Resampling.BOX), float)
    inner = np.s_[25:-25, 25:-25]  # where moving is everywhere
    return [np.corrcoef(values[inner].ravel(), p[inner].ravel())[0, 1] ** 2 for p in pictures]


@pytest.mark.parametrize("width", [1280, 390])
def test_the_seam_moves_by_keyboard_and_by_mouse(browser, page_file, width):
    path, what = page_file
    size = what.pictures[0].size
    images = [picture.pixels.double().numpy() for picture in what.pictures]
    places = page_places(size)
    back = places_in_moving(what.alignment.moving_to_fixed, places)
    everywhere = np.ones(size, bool)
    pictures = [
        stretched(*seen_at(image, everywhere, where, 1))[0]
        for image, where in zip(images, (places, back), strict=True)
    ]
    tab, complaints, _ = opened(browser, path, width)
    at = lambda: float(tab.evaluate("document.getElementById('range').value"))  # noqa: E731
    assert at() == 50
    tab.locator("#range").focus()
    tab.keyboard.press("Home")
    assert at() == 0
    fixed, moving = seam_alike(tab, pictures)
    assert moving > 0.8 > 0.3 > fixed
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("ArrowRight")
    assert at() == 2
    tab.keyboard.press("End")
    assert at() == 100
    fixed, moving = seam_alike(tab, pictures)
    assert fixed > 0.8 > 0.3 > moving
    box = tab.locator("#range").bounding_box()
    middle = box["y"] + box["height"] / 2
    tab.mouse.move(box["x"] + box["width"] - 4, middle)
    tab.mouse.down()
    tab.mouse.move(box["x"] + 0.3 * box["width"], middle, steps=4)
    tab.mouse.up()
    assert abs(at() - 30) <= 3
    box = tab.locator("#seam").bounding_box()  # the picture itself is dragged too
    tab.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 50)
    tab.mouse.down()
    tab.mouse.move(box["x"] + 0.75 * box["width"], box["y"] + 60, steps=4)
    assert abs(at() - 75) <= 1
    tab.mouse.up()
    tab.mouse.move(box["x"] + 0.1 * box["width"], box["y"] + 60)
    assert abs(at() - 75) <= 1
    line = tab.evaluate("getComputedStyle(document.getElementById('seam'), '::after').left")
    assert abs(float(line.removesuffix("px")) - 0.75 * box["width"]) <= 0.02 * box["width"]
    assert complaints == []
    tab.context.close()


def test_the_command_is_copied_as_one_line(browser, page_file):
    path, what = page_file
    tab, _, _ = opened(browser, path, 390)
    copied = tab.evaluate(
        "(() => { getSelection().selectAllChildren(document.querySelector('code'));"
        " return getSelection().toString(); })()"
    )
    assert shlex.split(copied) == list(what.command)
    assert "\n" not in copied
    tab.context.close()
