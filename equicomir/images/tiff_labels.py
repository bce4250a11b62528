"""Pixel size and channel names of a TIFF, from whoever wrote them: OME, ImageJ, a scanner, tags.

Labels never stop a file from being read: what cannot be understood is not said.
"""

import math
import re
from collections.abc import Iterator
from xml.etree import ElementTree

from tifffile import TiffFile, TiffPage

from equicomir.images.opened import believable_size

PixelSize = tuple[float, float] | None

_MICROMETRES = {
    "pm": 1e-6, "å": 1e-4, "nm": 1e-3, "µm": 1.0, "μm": 1.0, "um": 1.0, "micron": 1.0,
    "microns": 1.0, "micrometer": 1.0, "mm": 1e3, "cm": 1e4, "dm": 1e5, "m": 1e6,
    "in": 25400.0, "inch": 25400.0,
}  # fmt: skip


def labels(tiff: TiffFile, index: int) -> tuple[PixelSize, tuple[str, ...]]:
    """Pixel size (row, column) in micrometres or None, and channel names or none.

    Args:
        tiff: an open file.
        index: which of its images.

    Returns:
        Both.
    """
    try:
        if tiff.ome_metadata:
            return _ome(tiff.ome_metadata, index)
        if tiff.imagej_metadata:
            return _imagej(tiff.imagej_metadata, tiff.series[index].keyframe)
    except (ElementTree.ParseError, ValueError, LookupError, TypeError, StopIteration):
        return None, ()
    return _tags(tiff.series[index].keyframe), ()


def _positive(row: float, column: float) -> PixelSize:
    good = all(math.isfinite(size) and size > 0 for size in (row, column))
    return (row, column) if good else None


def _inside(element: ElementTree.Element, name: str) -> Iterator[ElementTree.Element]:
    """Children of a name in any of OME's namespaces."""
    return (child for child in element if child.tag.rpartition("}")[2] == name)


def _ome(text: str, index: int) -> tuple[PixelSize, tuple[str, ...]]:
    images = list(_inside(ElementTree.fromstring(text), "Image"))
    pixels = next(_inside(images[index], "Pixels"))
    names = [channel.get("Name", "") for channel in _inside(pixels, "Channel")]
    sizes = []
    for axis in ("Y", "X"):
        size = pixels.get(f"PhysicalSize{axis}")
        unit = _MICROMETRES.get(pixels.get(f"PhysicalSize{axis}Unit", "µm").lower())
        if size is not None and unit is not None:
            sizes.append(float(size) * unit)
    pixel_size = _positive(*sizes) if len(sizes) == 2 else None
    return pixel_size, tuple(names) if all(names) else ()


def _imagej(said: dict[str, object], page: TiffPage) -> tuple[PixelSize, tuple[str, ...]]:
    unit = _MICROMETRES.get(str(said.get("unit", "")).replace("\\u00B5", "µ").strip().lower())
    across, down = page.get_resolution()
    size = _positive(unit / down, unit / across) if unit and down > 0 and across > 0 else None
    names = said.get("Labels")
    return size, tuple(map(str, names)) if isinstance(names, list) else ()


def _tags(page: TiffPage) -> PixelSize:
    aperio = re.search(r"\bMPP\s*=\s*([0-9.]+)", page.description)
    if aperio:
        size = float(aperio[1])
        return _positive(size, size)
    if 282 not in page.tags or 283 not in page.tags:
        return None
    across, down = page.get_resolution()
    unit = {3: 1e4, 4: 1e3, 5: 1.0}.get(int(page.resolutionunit))
    if across <= 0 or down <= 0 or (unit is None and int(page.resolutionunit) != 2):
        return None
    return _positive(unit / down, unit / across) if unit else believable_size((down, across))
