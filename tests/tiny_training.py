"""A tiny trained network with its tiles, in the formats of the stages `train` and `prepare`."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save_file
from tiny import scene

from pipeline.files import digest_json, write_json
from training.network import NetworkSettings, build_network

TILE_PX = 32
NAMES = ("background", "floor", "pallet", "human", "obstacle")
CLASSES = [
    {"id": label, "name": name, "colour": f"#{40 * label:02x}4060", "critical": name == "human"}
    for label, name in enumerate(NAMES)
]
NETWORK = NetworkSettings(
    architecture="Unet",
    encoder="resnet18",
    encoder_weights=None,
    options={"encoder_depth": 3, "decoder_channels": [16, 8, 8]},
)


def write_training(root: Path, scale: float = 1.0, steps: int = 12) -> tuple[Path, Path]:
    """Writes `training/` and `tiles/` under a folder and gives both; a few steps make it better than chance."""
    facts = {
        "tile_px": TILE_PX,
        "overlap_px": 8,
        "scale": scale,
        "num_classes": len(CLASSES),
        "ignore_index": 255,
        "classes": CLASSES,
        "taxonomy_version": 1,
    }
    tiles = _write_tiles(root / "tiles")
    more = {"schema": 1, "class_px": [1] * len(CLASSES), "digest": digest_json("tiles"), "dataset_digest": "d"}
    write_json(root / "tiles" / "tiles.json", facts | more)
    state = trained(tiles, steps).state_dict()
    training = root / "training"
    network = {"architecture": NETWORK.architecture, "encoder": NETWORK.encoder, "options": NETWORK.options}
    write_json(training / "model.json", facts | network | {"schema": 1, "mean": [0.5] * 3, "std": [0.25] * 3})
    write_json(training / "training.json", {"schema": 1, "digest": digest_json("training")})
    save_file({name: value.contiguous() for name, value in state.items()}, training / "model.safetensors")
    return training, root / "tiles"


def trained(tiles: np.ndarray, steps: int) -> torch.nn.Module:
    """A seeded network after a few steps on tiles of shape (N, T, T, 4)."""
    torch.manual_seed(0)
    network = build_network(NETWORK, len(CLASSES))
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    block = torch.from_numpy(tiles)
    pixels = (block[..., :3].permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.25
    for _ in range(steps):
        loss = torch.nn.functional.cross_entropy(network(pixels), block[..., 3].long(), ignore_index=255)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return network.eval()


def _write_tiles(folder: Path) -> np.ndarray:
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        block = np.stack([np.dstack(scene(rng, (TILE_PX, TILE_PX), len(CLASSES))) for _ in range(4)])
        block[0, :4, :, 3] = 255
        counts = [np.bincount(tile[..., 3].ravel(), minlength=256)[: len(CLASSES)].tolist() for tile in block]
        place = {"tile": range(4), "shard": 0, "offset": range(4), "item_id": "a", "y": 0, "x": 0}
        (folder / split).mkdir(parents=True)
        pd.DataFrame(place | {"class_px": counts}).to_parquet(folder / split / "index.parquet")
        np.save(folder / split / "shard-00000.npy", block)
    return np.load(folder / "train" / "shard-00000.npy")
