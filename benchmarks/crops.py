"""Cut the pairs that the paper's pictures show out of the data sets, once, small enough to keep.

    python benchmarks/crops.py --data DATA [--out records/crops]

writes one pair of each set of :data:`CROPS` as ``OUT/SET/MODALITY/NAME.png``, in the bit depth of
its source. Which scene and which part of it is the same rule for both, and no result was looked at
for it: of the test part the scene in the middle of its names, and of that the middle.
"""

import argparse
import sys
from pathlib import Path

from skimage import io

from equicomir.images.listing import list_folders
from equicomir.shapes import Array

#: set: (fixed and moving modality, greatest height and width of what is kept, in pixels)
CROPS = {
    "brain_mri": (("T1", "T2"), 218),  # a whole slice
    "motor_neurons": (("phase_contrast", "nfh"), 368),
}


def middle(image: Array, pixels: int) -> Array:
    """The middle of an image, of at most so many pixels a side.

    Args:
        image: (height, width), of any type.
        pixels: greatest height and width.

    Returns:
        That part; where an odd number is left over, one more is cut at the bottom and right.

    Example:
        >>> import numpy as np
        >>> middle(np.arange(12).reshape(2, 6), 3).tolist()
        [[1, 2, 3], [7, 8, 9]]
    """
    top, left = (max(0, n - pixels) // 2 for n in image.shape)
    return image[top : top + pixels, left : left + pixels]


def main() -> None:
    """Cut and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--out", type=Path, default=Path("records/crops"))
    chosen = parser.parse_args()
    for name, (modalities, pixels) in CROPS.items():
        scenes = list_folders([chosen.data / name / "test" / m for m in modalities])
        scene = scenes[len(scenes) // 2]
        for modality, path in scene.files.items():
            to = chosen.out / name / modality / f"{scene.name}.png"
            to.parent.mkdir(parents=True, exist_ok=True)
            io.imsave(to, middle(io.imread(path), pixels), check_contrast=False)
            print(f"{to}: {to.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError) as mistake:  # one sentence that says what to do; no traceback
        sys.exit(f"crops: {mistake}")
