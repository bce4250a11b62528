"""The table of damaged and surprising files: each is read right, or refused in one sentence."""

import io
import os
import struct
import zlib
from importlib.util import find_spec

import numpy as np
import pytest
import tifffile
from PIL import Image
from tifffile import imwrite

from equicomir.images.files import open_image

RANDOM = np.random.default_rng(0)
GREY = RANDOM.integers(0, 256, (24, 36)).astype(np.uint8)
RGB = RANDOM.integers(0, 256, (24, 36, 3)).astype(np.uint8)
WIDE = RANDOM.integers(0, 65536, (24, 36, 3)).astype(np.uint16)
SMOOTH = np.add.outer(np.arange(24) * 4, np.arange(36) * 3).astype(np.uint8)
LABELLED = RANDOM.permutation(np.arange(24 * 36) % 4).reshape(24, 36).astype(np.uint8)
PALETTE = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 8, 7]], np.uint8)
CODECS = find_spec("imagecodecs") is not None


def png(path, array, **options):
    Image.fromarray(array).save(path, "PNG", **options)


def jpeg(path, array, mode=None, **options):
    picture = Image.fromarray(array)
    (picture.convert(mode) if mode else picture).save(path, "JPEG", quality=95, **options)


def decoded(array, mode=None):
    """What Pillow makes of a JPEG of the array."""
    file = io.BytesIO()
    jpeg(file, array, mode)
    return np.array(Image.open(file))


def png_by_hand(path, height, width, bits, colour, rows, *, key=None):
    """A PNG with a header and rows that Pillow would not write."""

    def chunk(kind, content):
        return (
            struct.pack(">I", len(content)) + kind + content
            + struct.pack(">I", zlib.crc32(kind + content))
        )  # fmt: skip

    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    chunks = [chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    if key is not None:
        chunks.insert(1, chunk(b"tRNS", key))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


def wide_rows(array):
    return b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)


def cut(path, make, keep):
    """Keep a part of the file: a share, or all but so many bytes."""
    make(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)] if keep > 0 else whole[:keep])


def flipped(path, make, share):
    """One byte of the file inverted."""
    make(path)
    whole = bytearray(path.read_bytes())
    whole[int(len(whole) * share)] ^= 0xFF
    path.write_bytes(whole)


def tag(path, code, value, **options):
    """A TIFF with one tag overwritten by what is not true."""
    imwrite(path, GREY, **options)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages[0].tags[code].overwrite(value)


def looped(path):
    path.symlink_to(path.name)


def two_images(path, first, second):
    with tifffile.TiffWriter(path) as writer:
        writer.write(first)
        writer.write(second)


def sparse(path):
    def tiles():
        yield GREY[:16, :16]
        yield from [None] * 5

    imwrite(path, tiles(), shape=GREY.shape, dtype=GREY.dtype, tile=(16, 16), compression="zlib")


def bomb(path, tile=(16384, 16384), packed=b"x" * 100):
    """Four tiles of what is no image of that size."""
    options = {"tile": tile, "compression": "zlib", "metadata": None}
    shape = (2 * tile[0] - 4, 2 * tile[1] - 4)
    imwrite(path, (packed for _ in range(4)), shape=shape, dtype=np.uint8, **options)


def planes(path, **options):
    imwrite(path, WIDE.transpose(2, 0, 1), photometric="minisblack", **options)


def chained(path):
    """Three pages one after the other; the link to the third leads out of the file."""
    with tifffile.TiffWriter(path) as writer:
        for page in WIDE.transpose(2, 0, 1):
            writer.write(page, metadata=None, contiguous=False)
    with tifffile.TiffFile(path) as tiff:
        second = tiff.pages[1]
        place = second.offset + 2 + 12 * len(second.tags)
    content = bytearray(path.read_bytes())
    content[place : place + 4] = struct.pack("<I", 10**9)
    path.write_bytes(content)


def ome_without_partner(path):
    planes(path, ome=True, metadata={"axes": "CYX"})
    content = path.read_bytes()
    path.write_bytes(content.replace(b'SizeC="3"', b'SizeC="9"'))


def paletted():
    picture = Image.frombytes("P", (36, 24), LABELLED.tobytes())
    picture.putpalette(PALETTE.tobytes())
    return picture


def ends_in_zeros(path):
    cut(path, lambda q: jpeg(q, RGB), 0.7)
    path.write_bytes(path.read_bytes() + bytes(3000))


def archive(path):
    with path.open("wb") as file:
        np.savez(file, GREY)


def rotated(path):
    exif = Image.Exif()
    exif[274] = 6
    jpeg(path, SMOOTH, exif=exif.tobytes())


RGBA = np.dstack([RGB, np.full_like(GREY, 255)])
HOLED = RGBA.copy()
HOLED[3, 4, 3] = 100
NAN = GREY.astype(np.float32)
NAN[5, 6] = np.nan
INFINITE = np.where(RANDOM.random(GREY.shape) > 0.9, np.inf, GREY).astype(np.float32)
CHANNELS = RANDOM.integers(0, 99, (7, 24, 36)).astype(np.int16)
BITS = (RANDOM.random((24, 36)) > 0.5).astype(np.uint8)
PACKED = b"".join(b"\0" + np.packbits(row).tobytes() for row in BITS)

# name of the file, how it is made, and what must come: the pixels or the sentence
KINDS = {
    # read right
    "grey 8 bit PNG": ("a.png", lambda p: png(p, GREY), GREY),
    "grey 16 bit PNG": ("a.png", lambda p: png(p, WIDE[..., 0]), WIDE[..., 0]),
    "RGB PNG": ("a.png", lambda p: png(p, RGB), RGB),
    "equal RGB PNG": ("a.png", lambda p: png(p, np.dstack([GREY] * 3)), np.dstack([GREY] * 3)),
    "1 bit PNG": ("a.png", lambda p: png_by_hand(p, 24, 36, 1, 0, PACKED), BITS),
    "palette PNG": (
        "a.png",
        lambda p: paletted().save(p),
        PALETTE[LABELLED],
    ),
    "opaque alpha PNG": ("a.png", lambda p: png(p, RGBA), RGB),
    "grey and opaque alpha PNG": (
        "a.png", lambda p: png(p, np.dstack([GREY, np.full_like(GREY, 255)])), GREY
    ),
    "16 bit colour PNG": (
        "a.png",
        lambda p: png_by_hand(p, 24, 36, 16, 2, wide_rows(WIDE)),
        WIDE if CODECS else "expected imagecodecs",
    ),
    "EXIF-turned PNG": (
        "a.png", lambda p: png(p, SMOOTH, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0"
                               b"\x01\0\x08\0\0\0\0\0\0"), np.rot90(SMOOTH)
    ),
    "grey JPEG": ("a.jpg", lambda p: jpeg(p, SMOOTH), decoded(SMOOTH)),
    "RGB JPEG": ("a.jpg", lambda p: jpeg(p, RGB), decoded(RGB)),
    "EXIF-turned JPEG": ("a.jpg", rotated, np.rot90(decoded(SMOOTH), -1)),
    "16 bit TIFF": ("a.tif", lambda p: imwrite(p, WIDE, photometric="rgb"), WIDE),
    "big-endian TIFF": ("a.tif", lambda p: imwrite(p, WIDE[..., 0], byteorder=">"), WIDE[..., 0]),
    "BigTIFF": ("a.tif", lambda p: imwrite(p, GREY, bigtiff=True), GREY),
    "signed TIFF": (
        "a.tif", lambda p: imwrite(p, GREY.astype(np.int16) - 99), GREY.astype(np.int16) - 99.0
    ),
    "32 bit TIFF": ("a.tif", lambda p: imwrite(p, GREY.astype(np.uint32) * 9), GREY * 9.0),
    "half float TIFF": ("a.tif", lambda p: imwrite(p, (GREY / 8).astype(np.float16)), GREY / 8),
    "double TIFF": ("a.tif", lambda p: imwrite(p, GREY / 8), GREY / 8),
    "boolean TIFF": ("a.tif", lambda p: imwrite(p, BITS.astype(bool)), BITS),
    "planar TIFF": (
        "a.tif",
        lambda p: imwrite(p, WIDE.transpose(2, 0, 1), photometric="rgb", planarconfig="separate"),
        WIDE,
    ),
    "palette TIFF": (
        "a.tif",
        lambda p: imwrite(
            p, LABELLED, photometric="palette",
            colormap=np.pad(PALETTE, ((0, 252), (0, 0))).T.astype(np.uint16) * 257,
        ),
        PALETTE[LABELLED],
    ),
    "opaque alpha TIFF": ("a.tif", lambda p: imwrite(p, RGBA, photometric="rgb"), RGB),
    "turned TIFF": (
        "a.tif", lambda p: imwrite(p, GREY, extratags=[(274, 3, 1, 6, True)]), np.rot90(GREY, -1)
    ),
    "channels of an OME-TIFF": (
        "a.ome.tif", lambda p: planes(p, metadata={"axes": "CYX"}), WIDE
    ),
    "slide with a smaller label": ("a.tif", lambda p: two_images(p, GREY, GREY[:9, :9]), GREY),
    "TIFF named PNG": ("a.png", lambda p: imwrite(p, GREY), GREY),
    "PNG named NPY": ("a.npy", lambda p: png(p, GREY), GREY),
    "no ending": ("scan", lambda p: imwrite(p, GREY), GREY),
    "non-ASCII name": ("Gewebe µ 組織 🔬.tif", lambda p: imwrite(p, GREY), GREY),
    "Fortran NPY": ("a.npy", lambda p: np.save(p, np.asfortranarray(GREY)), GREY),
    "big-endian NPY": ("a.npy", lambda p: np.save(p, WIDE.astype(">u2")), WIDE),
    "many channels NPY": ("a.npy", lambda p: np.save(p, CHANNELS), CHANNELS.transpose(1, 2, 0)),
    # refused
    "nothing": ("a.png", lambda p: None, "No such file"),
    "empty file": ("a.tif", lambda p: p.write_bytes(b""), "empty file"),
    "zero bytes": ("a.tif", lambda p: p.write_bytes(bytes(5000)), "got something else"),
    "text": ("a.png", lambda p: p.write_text("not an image"), "got something else"),
    "folder": ("a.png", lambda p: p.mkdir(), "folder or device"),
    "pipe": ("a.png", os.mkfifo, "folder or device"),
    "symbolic-link loop": ("a.png", looped, "symbolic links"),
    "GIF": ("a.png", lambda p: Image.fromarray(GREY).save(p, "GIF"), "got GIF; save it as TIFF"),
    "BMP": ("a.tif", lambda p: Image.fromarray(GREY).save(p, "BMP"), "got BMP; save it as TIFF"),
    "NPZ": ("a.npy", archive, "zip or NPZ"),
    "cut PNG": ("a.png", lambda p: cut(p, lambda q: png(q, RGB), 0.6), "truncated"),
    "PNG without its end": ("a.png", lambda p: cut(p, lambda q: png(q, RGB), -12), "truncated"),
    "flipped PNG": ("a.png", lambda p: flipped(p, lambda q: png(q, RGB), 0.5), "damaged"),
    "alpha PNG": ("a.png", lambda p: png(p, HOLED), "got 1 pixels that are transparent"),
    "colour key PNG": (
        "a.png", lambda p: png(p, GREY, transparency=int(GREY[0, 0])), "that are transparent"
    ),
    "2 bit PNG with a colour key": (
        "a.png",
        lambda p: png_by_hand(
            p, 24, 36, 2, 0, b"".join(b"\0" + bytes(9) for _ in range(23)) + b"\0\x40" + bytes(8),
            key=b"\0\1",
        ),
        "got 1 pixels that are transparent",
    ),
    "1 bit PNG with a colour key": (
        "a.png",
        lambda p: png_by_hand(
            p, 24, 36, 1, 0, PACKED, key=b"\0\1"
        ),
        f"got {BITS.sum()} pixels that are transparent",
    ),
    "16 bit PNG with a colour key": (
        "a.png",
        lambda p: png_by_hand(
            p, 24, 36, 16, 0, wide_rows(WIDE[..., 0]), key=WIDE[0, 0, :1].astype(">u2").tobytes()
        ),
        "pixels that are transparent",
    ),
    "TIFF without its bits": (
        "a.tif",
        lambda p: (
            imwrite(p, GREY, metadata=None),
            p.write_bytes(p.read_bytes().replace(b"\2\1\3\0", b"\2\0\3\0", 1)),
        ),
        "expected the tag BitsPerSample",
    ),
    "TIFF without a tag": (
        "a.tif",
        lambda p: (
            imwrite(p, GREY, metadata=None),
            p.write_bytes(p.read_bytes().replace(b"\3\1\3\0", b"\3\0\3\0", 1)),
        ),
        "expected the tag Compression",
    ),
    "wrong colour type PNG": (
        "a.png", lambda p: png_by_hand(p, 24, 36, 8, 5, bytes(888)), "wrong header"
    ),
    "PNG bomb": (
        "a.png",
        lambda p: png_by_hand(p, 60000, 60000, 8, 0, bytes(10**7)),
        "the header is wrong",
    ),
    "huge PNG": (
        "a.png",
        lambda p: png_by_hand(p, 2**31 - 1, 2**31 - 1, 16, 0, b"\0"),
        "the header is wrong",
    ),
    "animated PNG": (
        "a.png",
        lambda p: png(p, RGB, save_all=True, append_images=[Image.fromarray(RGB[::-1].copy())]),
        "animation",
    ),
    "cut JPEG": ("a.jpg", lambda p: cut(p, lambda q: jpeg(q, RGB), 0.7), "truncated"),
    "JPEG ending in zeros": ("a.jpg", ends_in_zeros, "truncated"),
    "CMYK JPEG": ("a.jpg", lambda p: jpeg(p, RGB, "CMYK"), "got CMYK; convert it to RGB"),
    "JPEG bomb": (
        "a.jpg",
        lambda p: (
            jpeg(p, GREY),
            p.write_bytes(p.read_bytes().replace(b"\x08\0\x18\0\x24", b"\x08\xfe\xfe\xfe\xfe")),
        ),
        "the header is wrong",
    ),
    "cut TIFF": ("a.tif", lambda p: cut(p, lambda q: imwrite(q, GREY), 0.7), "truncated at"),
    "cut packed TIFF": (
        "a.tif",
        lambda p: cut(p, lambda q: imwrite(q, GREY, compression="zlib", tile=(16, 16)), 0.7),
        "truncated at",
    ),
    "TIFF header alone": ("a.tif", lambda p: p.write_bytes(b"II*\0\x08\0\0\0"), "a whole TIFF"),
    "flipped packed TIFF": (
        "a.tif",
        lambda p: flipped(p, lambda q: imwrite(q, GREY, compression="zlib"), 0.7),
        "readable image",
    ),
    "wrong height TIFF": ("a.tif", lambda p: tag(p, 257, 2400), "expected"),
    "huge TIFF": ("a.tif", lambda p: tag(p, 256, 2**31, metadata=None), "at most 1073741824 bytes"),
    "huge packed TIFF": ("a.tif", lambda p: tag(p, 257, 2**31, compression="zlib"), "whole TIFF"),
    "TIFF bomb": (
        "a.tif",
        bomb,
        "the header is wrong",
    ),
    "zip bomb TIFF": ("a.tif", lambda p: bomb(p, (256, 256), bytes(400_000)), "got 400000"),
    "unknown compression TIFF": ("a.tif", lambda p: tag(p, 259, 9999), "readable image"),
    "CMYK TIFF": (
        "a.tif", lambda p: imwrite(p, np.dstack([GREY] * 4), photometric="separated"), "got CMYK"
    ),
    "CIELAB TIFF": ("a.tif", lambda p: imwrite(p, RGB, photometric="cielab"), "got CIELAB"),
    "complex TIFF": ("a.tif", lambda p: imwrite(p, GREY * 1j), "got complex128"),
    "alpha TIFF": ("a.tif", lambda p: imwrite(p, HOLED, photometric="rgb"), "are transparent"),
    "missing tiles TIFF": ("a.tif", sparse, "608 pixels that are transparent or not stored"),
    "NaN TIFF": ("a.tif", lambda p: imwrite(p, NAN), "expected finite values, got 1 pixels"),
    "infinite TIFF": ("a.tif", lambda p: imwrite(p, INFINITE), "expected finite values"),
    "NaN NPY": ("a.npy", lambda p: np.save(p, NAN), "expected finite values"),
    "double beyond float": ("a.npy", lambda p: np.save(p, GREY * 1e300), "expected finite values"),
    "depth stack": ("a.tif", lambda p: planes(p, metadata={"axes": "ZYX"}), "3 of depth"),
    "time stack": ("a.tif", lambda p: planes(p, imagej=True, metadata={"axes": "TYX"}), "of time"),
    "unnamed stack": ("a.tif", planes, "take all as channels with plane=slice"),
    "two images": ("a.tif", lambda p: two_images(p, GREY[:9], GREY), "expected one image, got 2"),
    "broken page chain": ("a.tif", chained, "expected a whole TIFF"),
    "OME with fewer planes": ("a.ome.tif", ome_without_partner, "expected"),
    "object NPY": (
        "a.npy", lambda p: np.save(p, np.array([{}], object), allow_pickle=True), "readable image"
    ),
    "cut NPY": ("a.npy", lambda p: cut(p, lambda q: np.save(q, GREY), 0.7), "readable image"),
    "one row NPY": ("a.npy", lambda p: np.save(p, GREY[0]), "of shape \\(36,\\)"),
    "four axes NPY": ("a.npy", lambda p: np.save(p, GREY[None, None]), "of shape"),
    "structured NPY": ("a.npy", lambda p: np.save(p, np.zeros((9, 9), "u1,f4")), "of shape"),
    "empty NPY": ("a.npy", lambda p: np.save(p, np.zeros((0, 4))), "of shape \\(0, 4\\)"),
    "huge NPY": (
        "a.npy",
        lambda p: (
            np.save(p, GREY),
            p.write_bytes(p.read_bytes().replace(b"(24, 36), }    ", b"(99999, 99999), }")[:929]),
        ),
        "readable image",
    ),
}  # fmt: skip


def test_the_table_is_long():
    assert len(KINDS) >= 80


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_read_right_or_refused_in_one_sentence(kind, tmp_path, capfd):
    name, make, expected = KINDS[kind]
    path = tmp_path / name
    make(path)
    if isinstance(expected, str):
        with pytest.raises(ValueError, match=expected) as refusal:
            open_image(path).read()
        sentence = str(refusal.value)
        assert sentence.startswith(f"{path}: expected ")
        assert sentence.endswith(".")
        assert "\n" not in sentence
    else:
        image = open_image(path).read()
        planes = expected[:, :, None] if expected.ndim == 2 else expected
        np.testing.assert_array_equal(image.numpy(), planes.transpose(2, 0, 1).astype(np.float32))
    assert capfd.readouterr() == ("", "")  # readers must not talk past us
