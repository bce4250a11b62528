"""Encoders of all modalities as one model: what is trained, saved, loaded and asked for images.

A saved model is a folder of two files: ``weights.safetensors`` (parameters and statistics) and
``settings.json`` (everything needed to build the same encoders again). Neither can run code, or ask
for more memory than an encoder is allowed; the second is sealed (:mod:`equicomir.sealed`) and tells
the SHA-256 of the first.
"""

import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import nn

from equicomir.allowance import check_reach, check_size, read_weights
from equicomir.encoders.encoder import Encoder
from equicomir.encoders.plain import plain
from equicomir.encoders.roto_translation import roto_translation
from equicomir.encoders.steerable import steerable
from equicomir.encoders.tiramisu import tiramisu
from equicomir.encoders.unet import Parity, Pooling
from equicomir.filters import HighPass, high_pass_of
from equicomir.images.intensities import Scaling
from equicomir.images.layer_names import layer_of
from equicomir.images.layers import frequencies_of, with_layers
from equicomir.sealed import as_json, read_sealed, write_together
from equicomir.shapes import Images, Stack, check_tensor

_OF_WEIGHTS = "weights_sha256"  # the entry of the settings that tells of the other file

_OF_TORCH = (RuntimeError, ArithmeticError)  # what it raises of impossible numbers

_FAMILIES: dict[str, Callable[..., Encoder]] = {
    make.__name__: make for make in (steerable, roto_translation, plain, tiramisu)
}


@dataclass(frozen=True)
class EncoderSettings:
    """Which encoder a modality gets.

    Attributes:
        family: ``"steerable"``, ``"roto_translation"``, ``"plain"`` or ``"tiramisu"``; the last has
            one architecture, for which all below but ``representation_channels`` stay as they are.
        group: as :func:`equicomir.encoders.steerable.steerable` says; the plain control takes its
            number of channels from it.
        widths: fields at each resolution, finest first.
        kernel_size: odd, in pixels.
        smooth: kernels without high frequencies (``"steerable"`` alone).
        parity: ``"even"`` or ``"odd"``: the scheme of valid sizes.
        pooling: ``"average"`` or ``"blur"``.
        residual: add to each block between equal widths its input.
        representation_channels: of the shared representation.
        layers: extra input channels, as :func:`equicomir.images.layer_names.layer_of` reads them,
            such as ``"gradient_field(1.5)"``; a steerable encoder is told how each turns.
    """

    family: str = "steerable"
    group: str = "C8"
    widths: tuple[int, ...] = (2, 4, 8)
    kernel_size: int = 5
    smooth: bool = False
    parity: Parity = "even"
    pooling: Pooling = "average"
    residual: bool = False
    representation_channels: int = 1
    layers: tuple[str, ...] = ()

    def make(self, in_channels: int, *, generator: torch.Generator) -> Encoder:
        """An encoder by these settings.

        Args:
            in_channels: of its images, without the extra layers.
            generator: draws the first weights.

        Returns:
            The encoder, untrained.

        Raises:
            ValueError: the settings name no encoder or layer that there is, or a layer that is no
                scalar for an encoder that is equivariant but knows scalars only.
        """
        if self.family not in _FAMILIES:
            known = sorted(_FAMILIES)
            raise ValueError(f"family: expected one of {known}, got {self.family!r}.")
        make = _FAMILIES[self.family]
        taken, options = inspect.signature(make).parameters, asdict(self)
        del options["family"], options["layers"]
        layers = [layer_of(name) for name in self.layers]
        frequencies = frequencies_of(in_channels, layers)
        if "frequencies" in taken:
            options["frequencies"] = frequencies
        elif self.family == "roto_translation" and any(frequencies):
            raise ValueError(
                f"layers: expected scalars, as the family {self.family!r} turns no vectors, got "
                f"{self.layers}; choose 'steerable', or layers such as gradient_magnitude()."
            )
        for name in [name for name in options if name not in taken]:  # of architecture
            default = getattr(type(self), name)
            if options.pop(name) != default:
                raise ValueError(
                    f"{name}: expected {default!r}, as the family {self.family!r} has no choice "
                    f"of it, got {getattr(self, name)!r}."
                )
        channels = sum(1 if frequency == 0 else 2 for frequency in frequencies)
        return make(channels, generator=generator, **options)


class Representations(nn.Module):
    """One encoder a modality, into one shared representation.

    Args:
        scalings: how the intensities of each modality are scaled; its order is the order of
            modalities, its length a modality the number of input channels.
        settings: of every encoder.
        high_pass: family and cut-off, in cycles per pixel, of the filter that is set before the
            similarity of representations, if there is one.
        generator: draws the first weights.

    Raises:
        ValueError: the settings name no encoder that there is, or no filter.

    Example:
        >>> scaling = Scaling((0.0,), (1.0,))
        >>> rng = torch.Generator().manual_seed(0)
        >>> model = Representations({"T1": scaling, "T2": scaling}, generator=rng)
        >>> model.encode("T1", torch.rand(1, 1, 33, 50)).shape
        torch.Size([1, 1, 33, 50])
    """

    def __init__(
        self,
        scalings: Mapping[str, Scaling],
        settings: EncoderSettings | None = None,
        *,
        high_pass: tuple[HighPass, float] | None = None,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.settings = settings or EncoderSettings()
        check_size(self.settings, [len(scaling.low) for scaling in scalings.values()])
        self.high_pass = high_pass
        self._filter = None if high_pass is None else high_pass_of(*high_pass)
        if self._filter is not None:
            check_reach("high_pass", self._filter.reach)
        self.scalings = dict(scalings)
        self.encoders = nn.ModuleList(
            self.settings.make(len(scaling.low), generator=generator)
            for scaling in self.scalings.values()
        )
        self.layers = [layer_of(name) for name in self.settings.layers]

    def encoder(self, modality: str) -> Encoder:
        """The network of one modality, which expects the extra layers among its channels.

        Raises:
            ValueError: the model does not know the modality.
        """
        if modality not in self.scalings:
            raise ValueError(f"modality: expected one of {list(self.scalings)}, got {modality!r}.")
        network = self.encoders[list(self.scalings).index(modality)]
        assert isinstance(network, Encoder)
        return network

    def forward(self, patches: Sequence[Images], modalities: Sequence[str] = ()) -> Stack:
        """Encode scaled patches of a valid size, one tensor a modality.

        Args:
            patches: each (batch, channels, height, width).
            modalities: whose they are; all of the model, in its order, if empty.

        Returns:
            Shape (modalities, batch, representation channels, height, width).
        """
        pairs = zip(modalities or self.scalings, patches, strict=True)
        return torch.stack([self.of_scaled(modality, images) for modality, images in pairs])

    def of_scaled(self, modality: str, images: Images) -> Images:
        """The representation of images whose intensities are scaled and whose size is valid.

        Args:
            modality: whose encoder to use.
            images: shape (batch, channels, height, width), of about 0 to 1.

        Returns:
            Shape (batch, representation channels, height, width).

        Raises:
            TypeError, ValueError: unknown modality, or not such images.
        """
        encoded: Images = self.encoder(modality)(with_layers(images, self.layers))
        return encoded

    @torch.no_grad()
    def encode(self, modality: str, images: Images) -> Images:
        """The representation of images of any size, in eval mode, without gradients.

        Images are continued by their border up to the next valid size, and cut again. Where that
        takes an odd number of pixels the continuation is not symmetric, and quarter turns are
        exact no more: cut to a valid size for that. All at once: where memory does not hold that,
        :func:`equicomir.tiles.encode` and :func:`equicomir.tiles.encode_file` give the same.

        Args:
            modality: whose encoder to use.
            images: shape (batch, channels, height, width), in the instrument's own units.

        Returns:
            Shape (batch, representation channels, height, width), on the device of the images,
            wherever the model is.

        Raises:
            TypeError: not a floating tensor.
            ValueError: unknown modality, or another number of channels than in training.
        """
        check_tensor("images", images, "batch channels height width")
        network = self.encoder(modality)
        height, width = images.shape[-2:]
        padded = network.valid_size_around(height, width)
        missing = [p - n for p, n in zip(padded, (height, width), strict=True)]
        top, left = (n // 2 for n in missing)
        scaled = self.scalings[modality](images).to(next(network.parameters()).device)
        padding = (left, missing[1] - left, top, missing[0] - top)
        was_training = self.training
        try:
            self.eval()
            encoded = self.of_scaled(modality, F.pad(scaled, padding, mode="replicate"))
        finally:
            self.train(was_training)
        return encoded[..., top : top + height, left : left + width].to(images.device)

    def begin_with(self, other: "Representations") -> None:
        """Take over the weights of another model, modality by modality.

        Args:
            other: of the same encoders and modalities, in whatever order.

        Raises:
            ValueError: it knows other modalities.
        """
        if set(other.scalings) != set(self.scalings):
            raise ValueError(
                f"initial: expected a model of {list(self.scalings)}, got one of "
                f"{list(other.scalings)}; name the modalities alike."
            )
        for modality in self.scalings:
            self.encoder(modality).load_state_dict(other.encoder(modality).state_dict())

    def compared(self, representations: Images) -> Images:
        """What the loss has compared of representations, and whoever registers is to compare.

        Behind a high-pass the loss has never seen how representations vary slowly: that differs
        between modalities as it likes, and may be all that a search then sees.

        Args:
            representations: shape (batch, representation channels, height, width), finite.

        Returns:
            The same shape; behind the model's high-pass, if it has one.
        """
        return representations if self._filter is None else self._filter(representations)

    def comparable(self, modality: str, images: Images) -> Images:
        """What is to be compared of images: :meth:`encode`, then :meth:`compared`.

        Args:
            modality: whose encoder to use.
            images: (batch, channels, height, width), in the instrument's own units.

        Returns:
            (batch, representation channels, height, width).

        Example:
            >>> scaling, rng = Scaling((0.0,), (1.0,)), torch.Generator().manual_seed(0)
            >>> model = Representations({"T1": scaling}, high_pass=("gaussian", 0.1), generator=rng)
            >>> x = torch.rand(1, 1, 32, 32)
            >>> bool(model.comparable("T1", x).mean().abs() < 0.1 * model.encode("T1", x).std())
            True
        """
        return self.compared(self.encode(modality, images))


def save(model: Representations, folder: Path, **notes: Any) -> None:
    """Write a model as ``weights.safetensors`` and ``settings.json``.

    Args:
        model: what to save.
        folder: made if it does not exist.
        notes: anything more for the settings file (JSON values), e.g. how it was trained.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    weights = safetensors.torch.save(state)
    settings = {
        "encoders": asdict(model.settings),
        "modalities": list(model.scalings),  # the order of the encoders, whoever sorts the names
        "scalings": {name: asdict(scaling) for name, scaling in model.scalings.items()},
        "high_pass": model.high_pass,
        **notes,
        _OF_WEIGHTS: hashlib.sha256(weights).hexdigest(),
    }
    write_together(
        {folder / "weights.safetensors": weights, folder / "settings.json": as_json(settings)}
    )


def load(folder: Path) -> Representations:
    """Read a model that :func:`save` wrote, in eval mode.

    Raises:
        ValueError: a file is missing, damaged, or does not belong to the other; it is named.

    Example:
        >>> import tempfile
        >>> rng = torch.Generator().manual_seed(0)
        >>> model = Representations({"T1": Scaling((0.0,), (1.0,))}, generator=rng)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(model, Path(folder))
        ...     again = load(Path(folder))
        >>> x = torch.rand(1, 1, 16, 16)
        >>> torch.equal(model.encode("T1", x), again.encode("T1", x))
        True
    """
    settings_path, weights_path = folder / "settings.json", folder / "weights.safetensors"
    try:
        settings = read_sealed(settings_path)
        encoders = dict(settings["encoders"])
        scalings = {
            name: Scaling(
                tuple(value["low"]),
                tuple(value["high"]),
                value.get("curve", "linear"),
                tuple(value.get("zero", ())),
                tuple(value.get("unit", ())),
            )
            for name, value in settings["scalings"].items()
        }
        order = settings.get("modalities", list(scalings))
        if sorted(order) != sorted(scalings):
            raise ValueError(f"modalities {order}, and scalings of {list(scalings)}")
        scalings = {name: scalings[name] for name in order}
        encoders["widths"] = tuple(encoders["widths"])
        encoders["layers"] = tuple(encoders.get("layers", ()))
        built = EncoderSettings(**encoders)
        high_pass = settings.get("high_pass")
        model = Representations(
            scalings,
            built,
            high_pass=None if high_pass is None else (high_pass[0], high_pass[1]),
            generator=torch.Generator(),
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError, *_OF_TORCH) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise ValueError(f"{settings_path}: expected a model's settings, got: {reason}.") from error
    try:
        told = settings.get(_OF_WEIGHTS)
        model.load_state_dict(read_weights(weights_path, model.state_dict(), told))
    except (OSError, ValueError, LookupError, RuntimeError, safetensors.SafetensorError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise ValueError(f"{weights_path}: expected these weights, got: {reason}.") from error
    return model.eval()
