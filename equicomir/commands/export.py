"""``equicomir export``: the encoders as ONNX, with what another program must know of them."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

from equicomir.commands.options import Flat, Model, OptionalName, Output, folder_to_write, parsed
from equicomir.encoders.export import write_onnx
from equicomir.representations import Representations, load


@dataclass(frozen=True, kw_only=True)
class Export:
    """The encoders of a model as ONNX, one file a modality, for other programs.

    Beside each file one of the same name in .json says what the network does not do itself: how
    intensities are scaled, which extra input channels it expects, and which sizes it takes.

    For example:

        equicomir export model --onnx encoder.onnx

    Attributes:
        model: Folder of a model, as "equicomir train" writes it.
        onnx: File to write; with several modalities each has its name before the ending, as in
            encoder.HE.onnx.
        modality: Export this one alone, into exactly that file.
        output: How the command speaks.
    """

    model: Model
    onnx: Path
    modality: OptionalName = None
    output: Annotated[Output, Flat] = field(default_factory=Output)


def main(arguments: Sequence[str]) -> int:
    """Export; as :func:`equicomir.cli.main`.

    Raises:
        ValueError: an option or a file will not do; it is named.
    """
    options = parsed(Export, arguments, prog="equicomir export")
    if options.onnx.suffix.lower() != ".onnx":
        raise ValueError(f"--onnx: expected a name that ends in .onnx, got {options.onnx.name}.")
    model = load(options.model)
    chosen = list(model.scalings) if options.modality is None else [options.modality]
    for modality in chosen:
        model.encoder(modality)
    folder_to_write(options.onnx.absolute().parent)
    written = {}
    with options.output.progress("exporting", len(chosen)) as advance:
        for modality in chosen:
            path = options.onnx
            if options.modality is None:
                path = path.with_name(f"{path.stem}.{modality}{path.suffix}")
            write_onnx(model.encoder(modality), path)
            beside = json.dumps(what_it_expects(model, modality), indent=2)
            path.with_suffix(".json").write_text(beside + "\n", encoding="utf-8")
            written[modality] = str(path)
            advance(1)
    for modality, name in written.items():
        options.output.say(f"{name}: the encoder of {modality}; {Path(name).stem}.json says more.")
    options.output.tell({"onnx": written})
    return 0


def what_it_expects(model: Representations, modality: str) -> dict[str, Any]:
    """What must be done to an image before the exported network sees it.

    Args:
        model: that is exported.
        modality: of the image.

    Returns:
        JSON values.
    """
    encoder = model.encoder(modality)
    return {
        "modality": modality,
        "input": "images, float32, (batch, channels, height, width), scaled",
        "channels": encoder.in_channels,
        "scaling": asdict(model.scalings[modality]),
        "extra_channels_after_scaling": list(model.settings.layers),
        "height_and_width": {
            "multiple_of": encoder.size_multiple,
            "plus": encoder.size_offset,
            "at_least": encoder.least_size,
        },
    }
