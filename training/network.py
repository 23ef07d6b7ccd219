"""Segmentation networks by name, from segmentation_models_pytorch."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import segmentation_models_pytorch as smp
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn


class NetworkSettings(BaseModel):
    """Which network.

    Attributes:
        architecture: A name that `segmentation_models_pytorch.create_model` knows, such as Unet or FPN.
        encoder: One of its encoders, or `tu-NAME` for one of timm.
        encoder_weights: Name of pretrained weights, fetched from a hub; null starts from random weights.
        options: Further arguments of the architecture, such as encoder_depth or decoder_channels.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    architecture: str
    encoder: str
    encoder_weights: str | None
    options: dict[str, Any]


def build_network(settings: NetworkSettings, num_classes: int) -> nn.Module:
    """Build a network that turns (B, 3, H, W) float into logits (B, num_classes, H, W).

    Raises:
        ValueError: The architecture or the encoder is not known, or an option does not fit.
        ConnectionError: The pretrained weights could not be fetched.
    """
    _check_options(settings)
    with _fetching(settings):
        network: nn.Module = smp.create_model(
            settings.architecture,
            encoder_name=settings.encoder,
            encoder_weights=settings.encoder_weights,
            classes=num_classes,
            **settings.options,
        )
    return network


def encode(network: nn.Module, image: Tensor) -> tuple[Tensor, Tensor]:
    """Logits and the encoder's deepest features, from one pass.

    Args:
        network: One that `build_network` made.
        image: (B, 3, H, W) float, H and W divisible by `stride`.

    Returns:
        Logits (B, C, H, W) and features (B, D, h, w).
    """
    parts: Any = network
    features = parts.encoder(image)
    if isinstance(features, tuple):  # DPT: features and the transformer's prefix tokens
        return parts.segmentation_head(parts.decoder(*features)), features[0][-1]
    return parts.segmentation_head(parts.decoder(features)), features[-1]


def embed(features: Tensor) -> Tensor:
    """Pool features (B, D, h, w) into an embedding (B, D): their mean over the image."""
    return features.mean(dim=(2, 3))


def stride(network: nn.Module) -> int:
    """What height and width of an input must be divisible by, in pixels."""
    parts: Any = network
    return int(parts.encoder.output_stride) if parts.requires_divisible_input_shape else 1


def check_tile(network: nn.Module, tile_px: int) -> None:
    """Refuse a tile size that the network cannot take.

    Raises:
        ValueError: The tile's side is not divisible by the network's stride.
    """
    step = stride(network)
    if tile_px % step:
        raise ValueError(
            f"tile_px is {tile_px}, but the network takes sides divisible by {step}. Prepare tiles of "
            f"{max(tile_px // step, 1) * step} or {(tile_px // step + 1) * step} px, or reduce encoder_depth."
        )


def statistics_of(settings: NetworkSettings) -> tuple[list[float], list[float]] | None:
    """Channel mean and deviation that pretrained weights were trained with; None for random weights.

    Raises:
        ValueError: The encoder has no such weights.
        ConnectionError: They could not be fetched.
    """
    if settings.encoder_weights is None:
        return None
    with _fetching(settings):
        known = smp.encoders.get_preprocessing_params(settings.encoder, settings.encoder_weights)
    return list(known["mean"]), list(known["std"])


def _check_options(settings: NetworkSettings) -> None:
    """Refuse unknown options: the library takes any keyword and ignores those that it does not know."""
    architecture = smp.MODEL_ARCHITECTURES_MAPPING.get(settings.architecture.lower())
    if architecture is None or settings.encoder.startswith("tu-"):  # timm's encoders take options of their own
        return
    known = {name for name, each in inspect.signature(architecture).parameters.items() if each.kind != each.VAR_KEYWORD}
    unknown = sorted(set(settings.options) - known)
    if unknown:
        raise ValueError(
            f"{settings.architecture} has no option {', '.join(unknown)}. It has: {', '.join(sorted(known))}."
        )


@contextmanager
def _fetching(settings: NetworkSettings) -> Iterator[None]:
    """Tell a hub that is out of reach from a network that does not exist."""
    try:
        yield
    except OSError as error:
        raise ConnectionError(_away(settings, error)) from error
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        if _is_outage(error):
            raise ConnectionError(_away(settings, error)) from error
        raise ValueError(
            f"No network {settings.architecture} with encoder {settings.encoder}, encoder_weights "
            f"{settings.encoder_weights} and options {settings.options}: {error}"
        ) from error


def _away(settings: NetworkSettings, error: BaseException) -> str:
    return (
        f"The pretrained weights '{settings.encoder_weights}' of encoder {settings.encoder} could not be fetched "
        f"({type(error).__name__}: {error}). Connect to the hub, or set encoder_weights to null to start from "
        "random weights."
    )


def _is_outage(error: BaseException) -> bool:
    """Whether a network error hides behind an error of another kind."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError):
            return True
        seen = seen.__cause__ or seen.__context__
    return False
