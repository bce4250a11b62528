"""In napari: two layers and a model, and the moving layer turns into place.

A door like the commands, for a person who has the images on the screen. Nothing is resampled and no
layer is copied: the moving layer keeps its pixels and gets another ``affine``, so that everything
else that is drawn on it can be given the same one. What a model or a layer is refused for is said
in the words of the library, under the button.

napari is imported when it asks for the widget: it is an extra, and nothing else needs it.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from equicomir import registering
from equicomir.commands.resampled import Picture, between_pixels, with_pixels
from equicomir.geometry import rotation_degrees
from equicomir.registration.alignment import Alignment
from equicomir.representations import Representations
from equicomir.shapes import ArrayMask, Matrix

if TYPE_CHECKING:
    from magicgui.widgets import Container
    from napari.layers import Image, Labels

_HOW = "Choose a model and two layers; the moving one turns into place."
_UNTRUSTED = (
    "NOT to be trusted: look whether what lies in both images goes on unbroken, before you use it."
)


def picture_of(layer: "Image", channels: int, mask: "Labels | None" = None) -> Picture:
    """A layer as the model takes it.

    Args:
        layer: of (height, width), or in colours, or of (channels, height, width).
        channels: how many the modality has.
        mask: labels on the same pixels, not zero where the layer counts; None for everywhere.

    Returns:
        The layer's finest pixels; what is transparent does not count.

    Raises:
        ValueError: the layer has another number of channels or dimensions, or the mask another
            size.
        TypeError: the layer holds no real numbers.
    """
    values = np.asarray(layer.data[0] if layer.multiscale else layer.data)
    clear: ArrayMask | None = None
    if layer.rgb:
        opaque = np.iinfo(values.dtype).max if values.dtype.kind in "ui" else 1
        if values.shape[-1] == 4:
            clear = values[..., 3] < opaque
        values = np.moveaxis(values[..., :3], -1, 0)
    if values.ndim == 2:
        values = values[None]
    if values.ndim != 3 or len(values) != channels:
        raise ValueError(
            f"layer {layer.name}: expected an image of {channels} channels, as in training, got "
            f"{' x '.join(map(str, values.shape))}; choose another layer or modality."
        )
    pixels = registering.as_image(f"layer {layer.name}", values, channels)
    inside = np.ones(pixels.shape[1:], bool) if clear is None else ~clear
    if mask is not None:
        counted = np.asarray(mask.data) != 0
        if counted.shape != inside.shape:
            raise ValueError(
                f"layer {mask.name}: expected a mask of the size of {layer.name}, "
                f"{_by(inside)}, got {_by(counted)}."
            )
        inside &= counted
    return Picture(torch.where(torch.from_numpy(inside), pixels, 0.0), torch.from_numpy(inside))


def _by(values: ArrayMask) -> str:
    return " x ".join(map(str, values.shape))


def pixel_to_world(layer: "Image") -> Matrix:
    """Where napari draws the pixels of a layer: 3 x 3 over (row, column, 1) of pixel centres."""
    still = [0.0] * (layer.ndim - 2)
    at = np.array([layer.data_to_world([*still, *p])[-2:] for p in ((0, 0), (1, 0), (0, 1))])
    matrix = np.eye(3)
    matrix[:2] = np.stack([at[1] - at[0], at[2] - at[0], at[0]], axis=1)
    return matrix


def lay(moving: "Image", fixed: "Image", moving_to_fixed: Matrix) -> None:
    """Draw the pixels of a layer where a transform says that they lie in another one.

    Args:
        moving: gets another ``affine``; its scale, rotation and translation stay.
        fixed: stays.
        moving_to_fixed: between pixels of the layers.
    """
    before = np.eye(3)
    own = np.asarray(moving.affine.affine_matrix)
    before[:2, :2], before[:2, 2] = own[-3:-1, -3:-1], own[-3:-1, -1]
    # World = affine of (scale, rotation, translation of pixels): the second part stays.
    pixel_to_inner = np.linalg.inv(before) @ pixel_to_world(moving)
    after = pixel_to_world(fixed) @ moving_to_fixed @ np.linalg.inv(pixel_to_inner)
    whole = np.eye(moving.ndim + 1)
    whole[-3:-1, -3:-1], whole[-3:-1, -1] = after[:2, :2], after[:2, 2]
    moving.affine = whole


def registered(
    model: Representations,
    pictures: tuple[Picture, Picture],
    modalities: tuple[str, str],
    own_to_common: Matrix,
) -> tuple[Alignment, Matrix]:
    """Where the pixels of one layer lie in another one.

    Args:
        model: of both modalities.
        pictures: fixed and moving.
        modalities: likewise.
        own_to_common: from the moving layer's pixels to pixels as large as the fixed one's.

    Returns:
        The alignment, and the 3 x 3 matrix between the pixels of both layers.

    Raises:
        TypeError, ValueError: as :func:`equicomir.registering.register`.
    """
    fixed, moving = pictures[0], with_pixels(pictures[1], own_to_common)
    found = registering.register(
        model,
        fixed.pixels,
        moving.pixels,
        fixed_modality=modalities[0],
        moving_modality=modalities[1],
        fixed_mask=fixed.mask.numpy(),
        moving_mask=moving.mask.numpy(),
    )
    return found, found.moving_to_fixed @ own_to_common


def pixel_ratio(fixed: "Image", moving: "Image") -> Matrix:
    """As :func:`equicomir.commands.resampled.between_pixels`, by the scales of two layers.

    Where one layer has a unit and the other another one or none, their scales say nothing.
    """
    if [str(unit) for unit in fixed.units[-2:]] != [str(unit) for unit in moving.units[-2:]]:
        return np.eye(3)
    down, across = fixed.scale[-2:]
    return between_pixels((down, across), (moving.scale[-2], moving.scale[-1]))


def sentence(found: Alignment) -> str:
    """What is told of a registration."""
    if found.failure:
        return f"Nothing was found, and nothing was moved: {found.failure.rstrip('.')}."
    told = f"Turned by {rotation_degrees(found.moving_to_fixed):.1f} degrees"
    told += f"; confidence {found.confidence:.2f}"
    return f"{told}, trusted." if found.trusted else f"{told}. {_UNTRUSTED}"


# --------------------------------------------------------------------------------- panel


def widget() -> "Container[Any]":
    """The panel that napari shows under Plugins: model, layers, a button, and what became of it."""
    from magicgui.widgets import ComboBox, Container, FileEdit, Label, PushButton, create_widget

    def layer(name: str, kind: str, **options: Any) -> Any:
        annotation = f"napari.layers.{kind}"
        return create_widget(
            annotation=f"{annotation} | None" if options else annotation,
            name=name,
            label=name.replace("_", " "),
            options=options,
        )

    # Of the model's modalities: napari asks for them again after every change of layers.
    names: list[str] = []
    moved: list[tuple[Image, Any]] = []  # layers, and where they were
    panel: Container[Any] = Container(
        widgets=[
            FileEdit(name="model", label="model", mode="d", value=""),
            layer("fixed", "Image"),
            ComboBox(name="fixed_modality", label="is of", choices=lambda _: names),
            layer("fixed_mask", "Labels", nullable=True),
            layer("moving", "Image"),
            ComboBox(name="moving_modality", label="is of", choices=lambda _: names),
            layer("moving_mask", "Labels", nullable=True),
            PushButton(name="register", text="Register"),
            PushButton(name="back", text="Put back", enabled=False),
            Label(name="said", label=" ", value=_HOW),
        ]
    )
    panel.said.native.setWordWrap(True)
    panel.model.changed.connect(lambda folder: _choose(panel, folder, names))
    panel.register.changed.connect(lambda: _begin(panel, moved))
    panel.back.changed.connect(lambda: _put_back(panel, moved))
    return panel


def _choose(panel: "Container[Any]", folder: Path, names: list[str]) -> None:
    """Offer the modalities of a model, its first as fixed and its second as moving."""
    names.clear()
    try:
        names += registering.load(folder).scalings
    except ValueError as refused:
        panel.said.value = str(refused)
    else:
        panel.said.value = f"A model of {' and '.join(names)}."
    for choice, index in ((panel.fixed_modality, 0), (panel.moving_modality, -1)):
        choice.reset_choices()
        if names:
            choice.value = names[:2][index]


def _begin(panel: "Container[Any]", moved: list[tuple["Image", Any]]) -> None:
    """Register in the background, so that the viewer stays alive."""
    from napari.qt.threading import create_worker

    fixed, moving = panel.fixed.value, panel.moving.value
    modalities = (panel.fixed_modality.value, panel.moving_modality.value)
    try:
        if None in modalities:
            raise ValueError("model: expected a model's folder, got none; choose one.")
        if fixed is None or moving is None or fixed is moving:
            raise ValueError("fixed, moving: expected two layers of images, got one or none.")
        model = registering.load(panel.model.value)
        channels = [len(model.scalings[name].low) for name in modalities]
        pictures = (
            picture_of(fixed, channels[0], panel.fixed_mask.value),
            picture_of(moving, channels[1], panel.moving_mask.value),
        )
        ratio = pixel_ratio(fixed, moving)
    except (TypeError, ValueError) as refused:
        panel.said.value = str(refused)
        return

    def done(came: tuple[Alignment, Matrix] | str) -> None:
        if isinstance(came, str):
            panel.said.value = came
            return
        found, moving_to_fixed = came
        panel.said.value = sentence(found)
        if not found.failure:
            moved.append((moving, np.array(moving.affine.affine_matrix)))
            panel.back.enabled = True
            lay(moving, fixed, moving_to_fixed)

    worker = create_worker(_registered_or_refused, model, pictures, modalities, ratio)
    worker.returned.connect(done)
    worker.started.connect(lambda: panel.register.native.setEnabled(False))
    worker.finished.connect(lambda: panel.register.native.setEnabled(True))
    panel.said.value = "Registering ..."
    worker.start()


def _registered_or_refused(*asked: Any) -> tuple[Alignment, Matrix] | str:
    """As :func:`registered`, or what it refuses, in a sentence."""
    try:
        return registered(*asked)
    except (TypeError, ValueError) as refused:
        return str(refused)


def _put_back(panel: "Container[Any]", moved: list[tuple["Image", Any]]) -> None:
    """Draw the layer that was moved last where it was."""
    layer, affine = moved.pop()
    layer.affine = affine
    panel.back.enabled = bool(moved)
    panel.said.value = f"{layer.name} is where it was."
