"""Draw the committed lists of test pairs, once, from their seeds.

    python benchmarks/draw_pairs.py [DATA_FOLDER]

writes ``benchmarks/pairs/SET_MODALITIES_WIDTH.csv``: at least 100 pairs for each level and each
direction, from the test part alone. Drawing again gives the same files (a test compares the
embedded set's). DATA_FOLDER holds sets laid out as ``SET/{train,validation,test}/MODALITY``;
without it only the embedded set's list is drawn.
"""

import sys
from pathlib import Path

import numpy as np

from equicomir.evaluation.displacements import TestPair, draw_pairs, write_pairs
from equicomir.images.listing import list_folders
from equicomir.images.pairs import Scene, read_scenes
from equicomir.images.sources import embedded

PAIRS = Path(__file__).parent / "pairs"
COUNT = 100  # a level and direction
#: (set, modalities, {width: least fraction of the patch that is not background})
SETS = (
    ("motor_neurons", ("phase_contrast", "nfh"), {256: 0.0, 192: 0.0, 128: 0.0}),
    # Below 128 px at least 90 % tissue; above, half: a patch of background has no answer.
    ("brain_mri", ("T1", "T2"), {128: 0.5, 96: 0.9, 64: 0.9, 48: 0.9}),
    ("fly_cells", ("channel_d", "channel_r"), {256: 0.0, 128: 0.0}),
    ("tissue_core", ("bright_field", "second_harmonic"), {256: 0.0, 128: 0.0}),
    # The first and the third modality, for h2.
    ("motor_neurons", ("phase_contrast", "map2"), {128: 0.0}),
    ("brain_mri", ("T1", "FLAIR"), {64: 0.9, 48: 0.9}),
)
MASKS = {"tissue_core": "valid"}  # name of the folder
EMBEDDED_WIDTH = 96


def list_path(name: str, modalities: tuple[str, ...], width: int) -> Path:
    """Where the list of a set, its modalities and a width is."""
    return PAIRS / f"{name}_{'_'.join(modalities)}_{width}.csv"


def draw(
    scenes: list[Scene], modalities: tuple[str, str], width: int, least_content: float
) -> list[TestPair]:
    """The list of one set and width, from its seed (the width itself)."""
    generator = np.random.default_rng(width)
    return draw_pairs(
        scenes, modalities, width, COUNT, least_content=least_content, generator=generator
    )


def main(data: Path | None) -> None:
    """Draw and write every list whose images are there."""
    parts = embedded()
    first, second = parts.modalities
    write_pairs(
        list_path(parts.name, parts.modalities, EMBEDDED_WIDTH),
        draw(parts.test, (first, second), EMBEDDED_WIDTH, 0.0),
    )
    for name, modalities, widths in SETS if data else ():
        assert data is not None
        test = data / name / "test"
        masks = test / MASKS[name] if name in MASKS else None
        scenes = read_scenes(list_folders([test / m for m in modalities], masks=masks))
        for width, least_content in widths.items():
            pairs = draw(scenes, modalities, width, least_content)
            write_pairs(list_path(name, modalities, width), pairs)
            print(f"{name} {' and '.join(modalities)} {width} px: {len(pairs)} pairs")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
