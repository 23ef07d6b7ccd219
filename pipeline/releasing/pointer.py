"""What git keeps in the place of the dataset: `data/dataset.dvc`, or dvc.lock where a stage makes the dataset."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

LOCK, GRAPH = Path("dvc.lock"), Path("dvc.yaml")


@dataclass(frozen=True)
class Pointer:
    """The file that names the dataset's content.

    Attributes:
        dataset: The dataset's folder, relative to the workspace.
        by_stage: A stage makes the dataset, so that dvc.lock names it.
    """

    dataset: Path
    by_stage: bool

    @property
    def file(self) -> Path:
        """The file itself."""
        return LOCK if self.by_stage else self.dataset.with_name(f"{self.dataset.name}.dvc")

    @property
    def files(self) -> tuple[Path, ...]:
        """All that git needs to read it: dvc.lock means nothing without dvc.yaml."""
        return (LOCK, GRAPH) if self.by_stage else (self.file, self.dataset.with_name(".gitignore"))

    def md5(self, text: str | None) -> str | None:
        """DVC's digest of the dataset's folder.

        Args:
            text: Content of the file; None where it is missing.
        """
        content = yaml.safe_load(text or "")
        if not isinstance(content, dict):
            return None
        if not self.by_stage:
            return _md5(content.get("outs", []), self.dataset.name)
        outs = [out for stage in content.get("stages", {}).values() for out in stage.get("outs", [])]
        return _md5(outs, self.dataset.as_posix())


def find_pointer(repo: Any, dataset: Path) -> Pointer:
    """Finds how DVC keeps the dataset, or is to keep it.

    Args:
        repo: The DVC repository.
        dataset: The dataset's folder, relative to the repository's root.
    """
    from dvc.stage import PipelineStage

    place = str(Path(repo.root_dir) / dataset)
    stages = [out.stage for out in repo.index.outs if out.fs_path == place]
    return Pointer(dataset, any(isinstance(stage, PipelineStage) for stage in stages))


def _md5(outs: list[dict[str, Any]], path: str) -> str | None:
    found = (out.get("md5") for out in outs if PurePosixPath(out["path"]) == PurePosixPath(path))
    return next(found, None)
