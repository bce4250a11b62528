"""Laws of reading: a window of a read is a read of a window, for every way a file is stored."""

import pickle
import subprocess
import sys
import zlib
from importlib.util import find_spec

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from equicomir.images import tiff_pixels
from equicomir.images.files import open_image, read_image

needs_codecs = pytest.mark.skipif(
    find_spec("imagecodecs") is None, reason="imagecodecs, which unpacks this, is not installed"
)
PLAIN = (None, "zlib", "lzma")
PACKED = ("lzw", "zstd", "packbits", "jpeg2000", "lerc")
CODESTREAMS = ("jpeg2000", "lerc")
DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "float16", "float32", "float64", "bool")


def pixels(generator, dtype, shape):
    """Random values of any type, exact in float32."""
    values = torch.randint(0, 2 if dtype == "bool" else 120, shape, generator=generator).numpy()
    return values.astype(dtype)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("files")


def check_windows(image, expected, draw, level=0):
    """Read all, and a drawn window; both equal what was written, (channels, height, width)."""
    expected = torch.from_numpy(expected.astype(np.float32))
    whole = image.read(level)
    assert torch.equal(whole, expected)
    assert whole.dtype == torch.float32
    height, width = image.level_sizes[level]
    rows = tuple(
        sorted(draw(st.lists(st.integers(0, height), min_size=2, max_size=2, unique=True)))
    )
    columns = tuple(
        sorted(draw(st.lists(st.integers(0, width), min_size=2, max_size=2, unique=True)))
    )
    window = image.read(level, rows=rows, columns=columns)
    assert torch.equal(window, expected[:, slice(*rows), slice(*columns)])


def check_tiff(folder, draw, compressions):
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    compression = draw(st.sampled_from(compressions))
    types = ("uint8", "uint16") if compression == "jpeg2000" else DTYPES
    types = ("uint8", "float32") if compression == "lerc" else types
    dtype = draw(st.sampled_from(types))
    size = (draw(st.integers(2, 70)), draw(st.integers(2, 70)))  # tifffile writes 1 wide otherwise
    layout = draw(st.sampled_from(["grey", "interleaved", "planar", "channels"]))
    layout = "grey" if dtype == "bool" else layout
    count = 1 if layout == "grey" else 3 if layout != "channels" else draw(st.integers(2, 6))
    array = pixels(generator, dtype, (count, *size))
    options = {
        "tile": draw(st.sampled_from([None, (16, 16), (32, 16)])),
        # of big-endian arrays tifffile writes wrong JPEG 2000 and no LERC
        "byteorder": draw(st.sampled_from("<" if compression in CODESTREAMS else "<>")),
        "bigtiff": draw(st.booleans()),
        "compression": compression,
        "metadata": {
            "axes": {"grey": "YX", "interleaved": "YXS", "planar": "SYX"}.get(layout, "CYX")
        },
        "photometric": "rgb" if layout in ("interleaved", "planar") else "minisblack",
    }
    if layout == "planar":
        options["planarconfig"] = "separate"
    if options["tile"] is None and dtype != "bool":
        options["rowsperstrip"] = draw(st.integers(1, size[0]))
    packs = compression in ("zlib", "lzma", "lzw", "zstd") and np.dtype(dtype).itemsize < 4
    if packs and dtype not in ("bool", "float16") and find_spec("imagecodecs"):
        options["predictor"] = draw(st.booleans())
    ending = draw(st.sampled_from([".tif", ".ome.tif"] if dtype != "float16" else [".tif"]))
    path = folder / f"law{ending}"
    written = array.transpose(1, 2, 0) if layout == "interleaved" else array
    tifffile.imwrite(path, written[0] if layout == "grey" else written, **options)
    image = open_image(path)
    assert image.shape == array.shape
    assert image.dtype == array.dtype
    check_windows(image, array, draw)


@given(st.data())
def test_a_window_of_a_tiff_is_the_same_read_alone_or_with_the_rest(folder, data):
    check_tiff(folder, data.draw, PLAIN)


@pytest.mark.parametrize("compression", PLAIN)
def test_a_picture_of_bits_in_many_tiles_is_read(tmp_path, compression):
    """Whose depth no tag tells, as it is the default; packing may make small tiles larger."""
    array = pixels(torch.Generator().manual_seed(0), "bool", (1, 70, 50))
    path = tmp_path / "bits.tif"
    tifffile.imwrite(path, array[0], tile=(16, 16), compression=compression)
    assert torch.equal(read_image(path), torch.from_numpy(array).float())


@needs_codecs
@given(st.data())
def test_packed_tiffs_obey_the_same_law(folder, data):
    check_tiff(folder, data.draw, PACKED)


@pytest.mark.parametrize("compression", PLAIN)
def test_the_law_fails_for_a_reader_that_forgets_a_piece(tmp_path, monkeypatch, compression):
    """The planted fault: the last tile under the window is left out."""
    array = pixels(torch.Generator().manual_seed(0), "uint8", (1, 40, 40)) + 1
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, array[0], tile=(16, 16), compression=compression)
    right = tiff_pixels._pieces_under
    assert torch.equal(read_image(path), torch.from_numpy(array).float())
    monkeypatch.setattr(tiff_pixels, "_pieces_under", lambda *a: right(*a)[:-1])
    assert not torch.equal(read_image(path), torch.from_numpy(array).float())


@given(st.data())
def test_other_formats_obey_the_same_law(folder, data):
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 2**31)))
    size = (data.draw(st.integers(5, 40)), data.draw(st.integers(5, 40)))
    if data.draw(st.booleans()):
        dtype = data.draw(st.sampled_from(DTYPES))
        array = pixels(generator, dtype, (data.draw(st.integers(1, 4)), *size))
        order = data.draw(st.sampled_from("CF"))
        path = folder / "law.npy"
        np.save(path, np.asarray(array.transpose(1, 2, 0), order=order))
    else:
        array = pixels(generator, "uint8", (data.draw(st.sampled_from([1, 3])), *size))
        path = folder / "law.png"
        Image.fromarray(array.transpose(1, 2, 0).squeeze()).save(path)
    check_windows(open_image(path), array, data.draw)


@given(st.data(), st.integers(1, 8))
def test_every_orientation_is_turned_upright_window_by_window(folder, data, orientation):
    """Pillow's own turning is the reference."""
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 2**31)))
    array = pixels(generator, "uint8", (20, 33))
    path = folder / "turned.tif"
    tifffile.imwrite(path, array, extratags=[(274, 3, 1, orientation, True)], tile=(16, 16))
    turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # to Image.Transpose
    upright = Image.fromarray(array)
    if orientation > 1:
        upright = upright.transpose(Image.Transpose(turns[orientation]))
    image = open_image(path)
    assert (orientation > 1) == any("turned upright" in note for note in image.notes)
    check_windows(image, np.array(upright)[None], data.draw)


@given(st.data())
def test_every_level_of_a_pyramid_has_its_size_and_pixels(folder, data):
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 2**31)))
    size = (data.draw(st.integers(64, 99)), data.draw(st.integers(64, 99)))
    separate = data.draw(st.booleans())
    finest = pixels(generator, "uint16", (3, *size))
    levels = [finest[:, :: 2**k, :: 2**k] for k in range(3)]
    written = levels if separate else [level.transpose(1, 2, 0) for level in levels]
    options = {"tile": (16, 16), "photometric": "minisblack" if separate else "rgb"}
    options["compression"] = data.draw(st.sampled_from([None, "zlib"]))
    path = folder / "pyramid.ome.tif"
    metadata = {"axes": "CYX" if separate else "YXS", "PhysicalSizeY": 0.5, "PhysicalSizeX": 0.25}
    with tifffile.TiffWriter(path) as writer:
        writer.write(written[0], subifds=2, metadata=metadata, **options)
        for level in written[1:]:
            writer.write(level, subfiletype=1, **options)
    image = open_image(path)
    assert image.level_sizes == tuple(level.shape[1:] for level in levels)
    assert image.pixel_size_micrometres == (0.5, 0.25)
    for number, level in enumerate(levels):
        check_windows(image, level, data.draw, number)


def test_names_and_pixel_sizes_come_from_ome_imagej_scanners_and_tags(tmp_path):
    array = pixels(torch.Generator().manual_seed(0), "uint16", (3, 20, 30))
    named = {"axes": "CYX", "Channel": {"Name": ["DAPI", "SHG", "µ"]}}
    nanometres = {"PhysicalSizeX": 250.0, "PhysicalSizeXUnit": "nm"}
    nanometres |= {"PhysicalSizeY": 0.0005, "PhysicalSizeYUnit": "mm"}
    cases = {
        "a.ome.tif": {"metadata": named | nanometres},
        "b.tif": {
            "imagej": True,
            "resolution": (4.0, 2.0),
            "metadata": {"axes": "CYX", "unit": "um", "Labels": ["DAPI", "SHG", "µ"]},
        },
    }
    for name, options in cases.items():
        tifffile.imwrite(tmp_path / name, array, photometric="minisblack", **options)
        image = open_image(tmp_path / name)
        assert image.channel_names == ("DAPI", "SHG", "µ")
        assert image.pixel_size_micrometres == pytest.approx((0.5, 0.25))
    sizes = {
        "centimetres": ({"resolution": (40000, 20000), "resolutionunit": 3}, (0.5, 0.25)),
        "print": ({"resolution": (300, 300), "resolutionunit": 2}, None),
        "none": ({}, None),
        "no unit": ({"resolution": (4, 2), "resolutionunit": 1}, None),
        "scanner": ({"description": "Aperio |AppMag = 20|MPP = 0.4990"}, (0.499, 0.499)),
    }
    for name, (options, expected) in sizes.items():
        tifffile.imwrite(tmp_path / f"{name}.tif", array[0], metadata=None, **options)
        came = open_image(tmp_path / f"{name}.tif").pixel_size_micrometres
        assert came == (None if expected is None else pytest.approx(expected)), name


def test_planes_of_a_stack_are_chosen_by_the_caller(tmp_path):
    array = pixels(torch.Generator().manual_seed(0), "uint16", (4, 2, 20, 30))
    path = tmp_path / "stack.ome.tif"
    tifffile.imwrite(path, array, photometric="minisblack", metadata={"axes": "ZCYX"})
    with pytest.raises(ValueError, match=r"a stack \(4 of depth\).*plane=0 to 3"):
        open_image(path)
    np.testing.assert_array_equal(open_image(path, plane=2).read(), array[2])
    both = open_image(path, plane=slice(1, 3))
    np.testing.assert_array_equal(both.read(), array[1:3].reshape(4, 20, 30))
    assert both.notes == ("4 planes taken as channels",)
    with pytest.raises(ValueError, match="expected plane from 0 to 3, got 4"):
        open_image(path, plane=4)


def test_pixels_that_are_not_defined_are_masked_and_zero(tmp_path):
    array = np.random.default_rng(0).random((3, 20, 30)).astype(np.float32)
    array[1, 2, 3], array[0, 5, 6] = np.nan, -np.inf
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, array, photometric="rgb", planarconfig="separate")
    image, mask = open_image(path).read_masked()
    assert (~mask).nonzero().tolist() == [[2, 3], [5, 6]]
    assert image[:, ~mask].abs().sum() == 0
    assert torch.equal(image[:, mask], torch.from_numpy(array)[:, mask])
    assert open_image(path).read(rows=(6, 20)).shape == (3, 14, 30)
    tifffile.imwrite(path, np.full((9, 9), np.nan))
    assert not open_image(path).read_masked()[1].any()


def write_any(folder, kind):
    """One file of a kind, and its pixels."""
    array = np.random.default_rng(0).integers(1, 255, (40, 30, 3)).astype(np.uint8)
    options = {"photometric": "rgb", "compression": "zlib", "rowsperstrip": 8}
    path = folder / f"any{kind}"
    if kind == ".npy":
        np.save(path, array)
    elif kind in (".png", ".jpg"):
        Image.fromarray(array).save(path)
    elif kind == ".ome.tif":
        tifffile.imwrite(path, array, photometric="rgb", tile=(16, 16), metadata={"axes": "YXS"})
    else:
        tifffile.imwrite(path, array, **options if kind == ".tif" else {"photometric": "rgb"})
    return path, read_image(path)


ANY = (".npy", ".png", ".jpg", ".tif", ".tiff", ".ome.tif")


@given(st.sampled_from(ANY), st.floats(0, 1, exclude_max=True))
def test_a_file_cut_anywhere_is_never_read_wrong(folder, kind, share):
    path, image = write_any(folder, kind)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    try:
        came = read_image(path)
    except ValueError as refusal:
        assert str(refusal).startswith(f"{path}: expected ")  # noqa: PT017 - or reads right
    else:
        assert torch.equal(came, image)


@given(st.sampled_from(ANY), st.floats(0, 1, exclude_max=True), st.integers(1, 255), st.booleans())
def test_a_damaged_byte_raises_nothing_but_a_sentence(folder, kind, share, change, early):
    path, image = write_any(folder, kind)
    whole = bytearray(path.read_bytes())
    place = int(share * min(len(whole), 400 if early else len(whole)))
    whole[place] ^= change
    path.write_bytes(whole)
    try:
        came = read_image(path)
    except ValueError as refusal:
        assert str(refusal).startswith(f"{path}: expected ")  # noqa: PT017 - or reads something
    else:
        assert kind != ".png" or torch.equal(came, image)  # the one with checksums throughout


def test_windows_outside_and_reads_too_large_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.eye(20, dtype=np.uint8))
    image = open_image(tmp_path / "a.tif")
    for rows in ((0, 21), (-1, 5), (5, 5), (7, 3)):
        with pytest.raises(ValueError, match=r"a\.tif: expected rows .* within 0 and 20, got \("):
            image.read(rows=rows)
    with pytest.raises(ValueError, match="expected a level from 0 to 0, got 1"):
        image.read(1)
    with pytest.raises(ValueError, match="expected image from 0 to 0, got 3"):
        open_image(tmp_path / "a.tif", image=3)
    shape = (3, 40000, 20000)
    empty = zlib.compress(bytes(4096 * 4096))
    tiles = (empty for _ in range(3 * 10 * 5))
    path = tmp_path / "large.tif"
    options = {"photometric": "rgb", "planarconfig": "separate", "compression": "zlib"}
    tifffile.imwrite(path, tiles, shape=shape, dtype=np.uint8, tile=(4096, 4096), **options)
    with pytest.raises(ValueError, match="read a window or a coarser level"):
        open_image(path).read()


def test_a_file_that_changes_after_it_was_opened_is_refused(tmp_path):
    path = tmp_path / "a.tif"
    for options in ({}, {"compression": "zlib", "rowsperstrip": 4}):
        tifffile.imwrite(path, np.random.default_rng(0).random((50, 50)), **options)
        image = pickle.loads(pickle.dumps(open_image(path)))  # as data loaders send it
        assert torch.equal(image.read(), read_image(path))
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(ValueError, match=r"a\.tif: expected a readable image, got"):
            image.read()


@needs_codecs
def test_jpeg_tiles_come_as_rgb(tmp_path):
    ramp = np.add.outer(np.arange(64), np.arange(48)).astype(np.uint8)
    array = np.dstack([ramp, 255 - ramp, ramp // 2])
    path = tmp_path / "slide.tif"
    tifffile.imwrite(path, array, photometric="rgb", compression="jpeg", tile=(16, 16))
    image = open_image(path)
    assert (
        image.read() - torch.from_numpy(array.transpose(2, 0, 1).astype(np.float32))
    ).abs().mean() < 3
    assert torch.equal(image.read(rows=(9, 40), columns=(20, 33)), image.read()[:, 9:40, 20:33])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/status")
def test_a_slide_is_read_in_little_memory(tmp_path):
    """4 000 px, tiled and packed: 16 MB of pixels; benchmarks/image_files.py does 20 000 px."""
    path = tmp_path / "slide.ome.tif"
    tile = np.random.default_rng(0).integers(0, 255, (512, 512)).astype(np.uint8)
    tifffile.imwrite(
        path, (tile for _ in range(64)), shape=(4000, 4000), dtype=np.uint8, tile=(512, 512),
        compression="zlib", compressionargs={"level": 1},
    )  # fmt: skip
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from equicomir.images.files import open_image\n"
        "status = Path('/proc/self/status')\n"
        "memory = lambda line: int(status.read_text().partition(line + ':')[2].split()[0]) / 1024\n"
        "before = memory('VmRSS')\n"
        "image = open_image(sys.argv[1])\n"
        "for k in range(20):\n"
        "    patch = image.read(rows=(k * 100, k * 100 + 256), columns=(k * 50, k * 50 + 256))\n"
        "print(patch.shape[-1], memory('VmHWM') - before)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, str(path)], check=True, capture_output=True, text=True
    )
    size, megabytes = ran.stdout.split()
    assert size == "256"
    assert float(megabytes) < 60


def test_pages_that_go_round_for_ever_end_in_one_sentence(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.arange(64, dtype=np.uint8).reshape(8, 8), metadata=None)
    whole = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages[0].offset
    tags, last = int.from_bytes(whole[offset : offset + 2], "little"), len(whole)
    end = offset + 2 + 12 * tags
    whole[end : end + 4] = last.to_bytes(4, "little")
    path.write_bytes(whole + bytes(2) + last.to_bytes(4, "little"))  # no tag, and itself the next
    with pytest.raises(ValueError, match=r"a\.tif: expected a whole TIFF, got: .*circular"):
        open_image(path)
