"""Tests of the networks by name: what they give, what they refuse."""

from typing import Any

import pytest
import torch

from training.network import NetworkSettings, build_network, check_tile, embed, encode, statistics_of, stride


def settings(architecture: str = "Unet", encoder: str = "resnet18", **changes: Any) -> NetworkSettings:
    """A small network from random weights."""
    return NetworkSettings(
        **{"architecture": architecture, "encoder": encoder, "encoder_weights": None, "options": {}, **changes}
    )


@pytest.mark.parametrize(
    ("architecture", "encoder"),
    [("Unet", "mobilenet_v2"), ("FPN", "tu-mobilenetv3_small_100"), ("Segformer", "mit_b0")],
)
def test_any_architecture_gives_logits_and_features(architecture: str, encoder: str) -> None:
    """The logits of one pass with features equal those of the plain call, at the input's size."""
    network = build_network(settings(architecture, encoder), num_classes=4).eval()
    image = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        logits, features = encode(network, image)
        plain = network(image)
    assert logits.shape == (2, 4, 64, 96)
    assert torch.equal(logits, plain)
    assert embed(features).shape == (2, features.shape[1])


def test_the_stride_says_what_a_network_takes() -> None:
    """A tile that the stride does not divide is refused with sizes that would do."""
    network = build_network(settings("FPN"), num_classes=2)
    assert stride(network) == 32
    check_tile(network, 64)
    with pytest.raises(ValueError, match=r"32 or 64 px"):
        check_tile(network, 50)


def test_a_network_that_takes_any_size_refuses_no_tile() -> None:
    """Unet resizes inside, so that any side will do."""
    network = build_network(settings("Unet"), num_classes=2)
    assert stride(network) == 1
    check_tile(network, 50)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"architecture": "Unex"}, "Unex"),
        ({"encoder": "resnet19"}, "resnet19"),
        ({"encoder": "tu-resnet1x"}, "tu-resnet1x"),
        ({"options": {"depth": 4}}, "no option depth"),
        ({"options": {"encoder_depth": 9}}, "encoder_depth"),
    ],
)
def test_what_does_not_exist_is_refused_by_name(changes: dict[str, Any], said: str) -> None:
    """Unknown architectures, encoders and options are errors that repeat what was asked for."""
    with pytest.raises(ValueError, match=said):
        build_network(settings(**changes), num_classes=2)


def test_a_hub_out_of_reach_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Without the hub, pretrained weights are an outage whose message names them and the way without."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path_factory.mktemp("hub")))
    with pytest.raises(ConnectionError, match=r"'imagenet' of encoder resnet18 .* set encoder_weights to null"):
        build_network(settings(encoder_weights="imagenet"), num_classes=2)
    with pytest.raises(ConnectionError, match=r"'imagenet' of encoder resnet18 .* set encoder_weights to null"):
        statistics_of(settings(encoder_weights="imagenet"))
