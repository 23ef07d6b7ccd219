"""Stage `train`: tiles into a network's weights, its metrics by epoch, and pictures of both."""

import shutil
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import Field

from pipeline.command import SIGNALLED, run
from pipeline.errors import OutageError, UserError
from pipeline.files import atomic_dir, digest_json, sha256_file, write_json
from pipeline.live import LiveLog
from pipeline.params import Section, read_section
from training.callbacks import LAST, drop_damaged
from training.fit import METRICS, Fitted, StoppedError, fit
from training.settings import FitSettings
from training.tiles import TileFolder

if TYPE_CHECKING:
    from torch import nn

SCHEMA = 1
FROM_TILES = ("num_classes", "ignore_index", "tile_px", "overlap_px", "scale", "classes", "taxonomy_version")


class TrainParams(FitSettings, Section):
    """Section `train`.

    Attributes:
        pictures: Validation tiles shown with their predictions.
    """

    pictures: int = Field(ge=1)

    def fit_settings(self) -> FitSettings:
        """What the weights are a function of."""
        return FitSettings.model_validate(self.model_dump(exclude={"pictures"}))


def main(
    tiles: Annotated[Path, typer.Option(help="Folder of the prepared tiles.")],
    out: Annotated[Path, typer.Option(help="Folder of weights, metrics and pictures; replaced as a whole.")],
    store: Annotated[Path, typer.Option(help="Folder of checkpoints, from which a killed training is resumed.")] = Path(
        ".segloop/training"
    ),
    params: Annotated[Path, typer.Option(help="Parameters file.")] = Path("params.yaml"),
) -> None:
    """Trains a network on prepared tiles; run again after a kill, it resumes from the last finished epoch.

    Example: segloop train --tiles data/tiles --out data/training
    """
    settings = read_section(TrainParams, "train", params)
    folder = _tiles(tiles)
    made_from = {"tiles": folder.facts["digest"], "params": settings.model_dump(mode="json")}
    digest = digest_json(made_from)
    checkpoints = store / f"{digest}-{_code_digest()[:12]}"
    fitted = _fit(folder, settings, checkpoints, digest)
    if not fitted.leading:
        return
    with atomic_dir(out) as new:
        shutil.copy(checkpoints / METRICS, new / METRICS)
        _write_weights(new / "model.safetensors", fitted.network)
        write_json(new / "model.json", _model_facts(folder, settings, fitted))
        _write_pictures(new, folder, settings, fitted)
        write_json(new / "training.json", _training_facts(fitted, made_from))
    shutil.rmtree(checkpoints)
    print(_summary(fitted))


def _tiles(path: Path) -> TileFolder:
    try:
        return TileFolder.read(path)
    except ValueError as error:
        raise UserError(str(error)) from None


def _code_digest() -> str:
    """Digest of the code that trains: a checkpoint of other code is not resumed."""
    import training

    (folder,) = map(Path, training.__path__)
    return digest_json({file.name: sha256_file(file) for file in sorted(folder.glob("*.py"))})


def _fit(folder: TileFolder, settings: TrainParams, checkpoints: Path, digest: str) -> Fitted:
    """Train, with each epoch told on the terminal and to MLflow.

    Raises:
        UserError: Tiles and params do not fit together, or the training diverged.
        OutageError: Pretrained weights could not be fetched.
        SystemExit: A signal ended the training.
    """
    live = LiveLog(digest)
    if damaged := drop_damaged(checkpoints):
        print(f"warning: {damaged[0]} is missing or damaged: dropped, training starts from scratch.", file=sys.stderr)
    elif (checkpoints / LAST).exists():
        print(f"resuming from {checkpoints / LAST}")
    try:
        return fit(
            folder,
            settings.fit_settings(),
            checkpoints,
            listeners=(lambda line: _tell(line, settings.max_epochs), live),
            progress_bar=sys.stderr.isatty(),
        )
    except ValueError as error:
        raise UserError(str(error)) from error
    except ConnectionError as error:
        raise OutageError(str(error)) from error
    except StoppedError as stopped:
        if stopped.leading:
            print(_farewell(stopped.epochs), file=sys.stderr)
        raise SystemExit(SIGNALLED + stopped.signal) from None
    finally:
        live.close()


def _farewell(epochs: int) -> str:
    if not epochs:
        return "stopped before the end of epoch 1; run it again to start anew"
    return f"stopped after epoch {epochs}; run it again to resume"


def _tell(line: dict[str, Any], epochs: int) -> None:
    print(
        f"epoch {line['epoch'] + 1} of {epochs}: loss {line['train_loss']:.3f}, "
        f"validation loss {_score(line['val_loss'])}, mIoU {_score(line['val_miou'])}, {line['seconds']:.1f} s",
        flush=True,
    )


def _write_weights(file: Path, network: "nn.Module") -> None:
    from safetensors.torch import save_file

    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, file)


def _write_pictures(new: Path, folder: TileFolder, settings: TrainParams, fitted: Fitted) -> None:
    from training.pictures import curves, predict, predictions, telling
    from training.task import Normaliser

    val = folder.split("val")
    shown = val.__getitems__(telling(val, settings.pictures).tolist())
    normaliser = Normaliser(fitted.mean, fitted.std, channels_last=settings.channels_last)
    labels = predict(fitted.network, normaliser, shown)
    facts = folder.facts
    (new / "predictions.png").write_bytes(predictions(shown, labels, facts["classes"], facts["ignore_index"]))
    (new / "curves.png").write_bytes(curves(fitted.history, fitted.best_epoch))


def _model_facts(folder: TileFolder, settings: TrainParams, fitted: Fitted) -> dict[str, Any]:
    """What it takes to build the network and to prepare its input."""
    return {
        "schema": SCHEMA,
        "architecture": settings.network.architecture,
        "encoder": settings.network.encoder,
        "options": settings.network.options,
        "mean": fitted.mean,
        "std": fitted.std,
        **{key: folder.facts[key] for key in FROM_TILES},
    }


def _training_facts(fitted: Fitted, made_from: dict[str, Any]) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "digest": digest_json(made_from),
        "made_from": made_from,
        "best_epoch": fitted.best_epoch,
        "val_miou": fitted.history[fitted.best_epoch]["val_miou"],
        "epochs_run": len(fitted.history),
        "seconds": sum(each["seconds"] or 0.0 for each in fitted.history),
        "device": fitted.device,
        "versions": {name: version(name) for name in ("torch", "lightning", "segmentation-models-pytorch")},
    }


def _summary(fitted: Fitted) -> str:
    best = fitted.history[fitted.best_epoch]
    by_class = ", ".join(
        f"{name.removeprefix('val_iou/')} {_score(value)}"
        for name, value in best.items()
        if name.startswith("val_iou/")
    )
    return f"best epoch {fitted.best_epoch + 1} of {len(fitted.history)}: mIoU {_score(best['val_miou'])} ({by_class})"


def _score(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    run(main)
