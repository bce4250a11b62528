"""Which files belong together: scenes listed from folders or from a table, before any is read."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from equicomir.images.files import READABLE

#: What a table's columns may be called that are no modalities.
COLUMNS = ("scene", "group", "part", "mask")
PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class SceneFiles:
    """The files of one scene.

    Attributes:
        name: unique among the scenes.
        files: one a modality; the first is fixed, the second moving.
        mask: an image that is not zero where the scene counts, or None for everywhere.
        group: what the scene shares with others (patient, core, cell line), never on both sides
            of a split; empty for nothing.
        part: ``"train"``, ``"validation"``, ``"test"``, or empty where nobody said.
    """

    name: str
    files: dict[str, Path]
    mask: Path | None = None
    group: str = ""
    part: str = ""


def scene_name(path: Path) -> str:
    """What the files of one scene share: the name without the endings of images.

    Example:
        >>> scene_name(Path("SHG/core.7.ome.tif")), scene_name(Path("HE/core.7.png"))
        ('core.7', 'core.7')
    """
    stem = path.stem if path.suffix.lower() in READABLE else path.name
    return stem[:-4] if stem.lower().endswith(".ome") else stem


def list_folders(folders: Sequence[Path], *, masks: Path | None = None) -> list[SceneFiles]:
    """Scenes of one folder a modality, matched by name.

    Args:
        folders: one a modality, named by it; the first is fixed, the second moving.
        masks: a folder of masks by the same names, or None.

    Returns:
        One scene a name, sorted.

    Raises:
        ValueError: fewer than two folders, or two of one name; a folder is missing or empty; a
            name occurs twice in a folder or lacks a partner: the file is named.
    """
    modalities = [folder.name for folder in folders]
    if len(set(modalities)) < len(modalities) or len(modalities) < 2:
        raise ValueError(f"folders: expected two or more of different names, got {modalities}.")
    found = [files_in(folder) for folder in folders]
    for one in found:
        for folder, other in zip(folders, found, strict=True):
            _refuse_alone(one, other, folder)
    masked = files_in(masks) if masks else {}
    if masks:
        _refuse_alone(found[0], masked, masks)
    return [
        SceneFiles(
            name,
            {m: files[name] for m, files in zip(modalities, found, strict=True)},
            masked.get(name),
        )
        for name in sorted(found[0])
    ]


def files_in(folder: Path) -> dict[str, Path]:
    """The images of a folder, by scene.

    Raises:
        ValueError: it is no folder, or holds none, or two of one name.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: expected a folder of images, found none.")
    found = sorted(p for p in folder.iterdir() if p.suffix.lower() in READABLE)
    if not found:
        raise ValueError(f"{folder}: expected images ({', '.join(sorted(READABLE))}), found none.")
    named: dict[str, Path] = {}
    for path in found:
        name = scene_name(path)
        if name in named:
            raise ValueError(f"{path}: expected one file a name, got {named[name].name} too.")
        named[name] = path
    return named


def _refuse_alone(one: dict[str, Path], other: dict[str, Path], folder: Path) -> None:
    alone = sorted(one.keys() - other.keys())
    if alone:
        more = f" (nor has {len(alone) - 1} more, {', '.join(alone[1:4])})" if alone[1:] else ""
        raise ValueError(f"{one[alone[0]]}: expected a partner in {folder}, found none{more}.")


def list_table(path: Path) -> list[SceneFiles]:
    """Scenes of a CSV table: a line a scene, a column a modality.

    The columns ``scene``, ``group``, ``part`` and ``mask`` are optional and mean what
    :class:`SceneFiles` says; every other column is a modality, in the table's order, its cells
    paths relative to the table's folder. Commas or semicolons part the cells.

    Returns:
        The scenes, in the table's order.

    Raises:
        ValueError: no such table, fewer than two modalities, an empty or unknown cell, or a
            scene twice: the line is named.

    Example:
        >>> import tempfile
        >>> table = Path(tempfile.mkdtemp()) / "cores.csv"
        >>> lines = ["group,SHG,HE", "patient 3,a_shg.tif,a_he.tif"]
        >>> _ = table.write_text(chr(10).join(lines))
        >>> (scene,) = list_table(table)
        >>> scene.name, scene.group, scene.files["HE"].name
        ('a_shg', 'patient 3', 'a_he.tif')
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path}: expected a CSV table of scenes in UTF-8, got: {error}."
        ) from None
    first = text.splitlines()[0] if text.strip() else ""
    reader = csv.DictReader(text.splitlines(), delimiter=";" if ";" in first else ",")
    try:
        columns = [column.strip() for column in reader.fieldnames or ()]
    except csv.Error as error:
        raise ValueError(f"{path}: expected a CSV table of scenes, got: {error}.") from None
    reader.fieldnames = columns
    modalities = [column for column in columns if column not in COLUMNS]
    if len(modalities) < 2 or len(set(columns)) < len(columns) or "" in columns:
        raise ValueError(
            f"{path}: expected two or more columns of files with different names beside "
            f"{', '.join(COLUMNS)}, got {columns}."
        )
    scenes: dict[str, SceneFiles] = {}
    for line in _lines(path, reader):
        scene = _of_line(f"{path}, line {reader.line_num}", path.parent, modalities, line)
        if scene.name in scenes:
            raise ValueError(
                f"{path}, line {reader.line_num}: expected every scene once, got {scene.name!r} "
                f"again; name them in a column 'scene'."
            )
        scenes[scene.name] = scene
    if not scenes:
        raise ValueError(f"{path}: expected a line a scene, got none.")
    return list(scenes.values())


def _lines(path: Path, reader: "csv.DictReader[str]") -> Iterator[dict[str, str]]:
    try:
        yield from reader
    except csv.Error as error:
        raise ValueError(
            f"{path}, line {reader.line_num}: expected a line of a CSV table, got: {error}."
        ) from None


def _of_line(
    where: str, folder: Path, modalities: Sequence[str], line: dict[str, str]
) -> SceneFiles:
    """One scene of a table."""
    if None in line or None in line.values():
        raise ValueError(f"{where}: expected as many cells as the first line, got another number.")
    cells = {column: cell.strip() for column, cell in line.items()}
    empty = [modality for modality in modalities if not cells[modality]]
    if empty:
        raise ValueError(f"{where}: expected a file of {empty[0]}, got an empty cell.")
    part = cells.get("part", "")
    if part not in ("", *PARTS):
        raise ValueError(f"{where}: expected a part of {', '.join(PARTS)} or none, got {part!r}.")
    files = {modality: folder / cells[modality] for modality in modalities}
    name = cells.get("scene") or scene_name(files[modalities[0]])
    mask = folder / cells["mask"] if cells.get("mask") else None
    return SceneFiles(name, files, mask, cells.get("group", ""), part)


def split(
    scenes: Iterable[SceneFiles],
    *,
    validation: float = 0.2,
    test: float = 0.2,
    generator: np.random.Generator,
) -> list[SceneFiles]:
    """Divide scenes into three parts, a group never on both sides.

    Args:
        scenes: without parts; those that have one keep it, and so does their group.
        validation: fraction of the groups that are left for choosing, in [0, 1).
        test: fraction of the groups that are looked at once.
        generator: the source of randomness.

    Returns:
        The same scenes in the same order, each with its part. A fraction above zero gives one
        group at least.

    Raises:
        ValueError: fractions out of range, a group with two parts, or too few groups.

    Example:
        >>> scenes = [SceneFiles(f"{p}{i}", {}, group=p) for p in "abc" for i in (1, 2)]
        >>> parts = split(scenes, generator=np.random.default_rng(0))
        >>> sorted((s.part, s.group) for s in parts[::2]) == sorted(
        ...     (s.part, s.group) for s in parts[1::2])
        True
    """
    scenes = list(scenes)
    if not (0 <= validation < 1 and 0 <= test < 1 and validation + test < 1):
        raise ValueError(
            f"validation, test: expected fractions with a sum below 1, got {validation}, {test}."
        )
    taken = _parts_of_groups(scenes)
    free = [group for group, part in taken.items() if not part]
    counts = [round(fraction * len(free)) or int(fraction > 0) for fraction in (validation, test)]
    if free and sum(counts) >= len(free):
        raise ValueError(
            f"scenes: expected more than {sum(counts)} groups to divide, got {len(free)}; name "
            f"the parts in a column 'part', or validate on a region of its own."
        )
    shuffled = [free[i] for i in generator.permutation(len(free))]
    for part, count in zip(PARTS[1:], counts, strict=True):
        for _ in range(count if free else 0):
            taken[shuffled.pop()] = part
    return [replace(s, part=taken[s.group or s.name] or PARTS[0]) for s in scenes]


def _parts_of_groups(scenes: Sequence[SceneFiles]) -> dict[str, str]:
    """The part of each group, empty where nobody said; a scene without one is its own.

    Raises:
        ValueError: one has two.
    """
    parts: dict[str, str] = {}
    for scene in scenes:
        group = scene.group or scene.name
        known = parts.get(group, "")
        if known and scene.part and known != scene.part:
            raise ValueError(
                f"group {group!r}: expected all its scenes in one part, got {scene.name!r} "
                f"in {scene.part} and others in {known}."
            )
        parts[group] = known or scene.part
    return parts
