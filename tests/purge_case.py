"""Purges in a workspace with two releases: what holds an item's bytes there, what stages made of it, and damage."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import release_case
from release_case import add_batch, light_project, more_items, objects, relabelled, tag_by_hand
from tiny import tiny_items
from workspace import Workspace

GONE, NOTE = "item-005", "consent withdrawn"


def two_releases(root: Path) -> Workspace:
    """Two releases, the item in a part of each (relabelled in the second); data/v1 is also all that a branch has."""
    workspace = light_project(root)
    tag_by_hand(workspace, "data/v1")
    workspace.ok("git", "branch", "older")
    add_batch(workspace, "second", [*relabelled([GONE, "item-001"], darker), *more_items(2, seed=7)])
    add_batch(workspace, "third", more_items(2, seed=8))
    tag_by_hand(workspace, "data/v2")
    return workspace


def darker(mask: np.ndarray) -> np.ndarray:
    """Humans become obstacles. Shape: (H, W), uint8."""
    mask[mask == 3] = 4
    return mask


def held(workspace: Workspace, name: str = GONE) -> list[Path]:
    """Every file of the workspace, its cache and its remote with the bytes of an item's image."""
    first = {item.item_id: item for item in tiny_items(groups=8)}
    needle = first[name].image
    roots = [workspace.root, release_case.remote_of(workspace)]
    files = (file for root in roots if root.exists() for file in root.rglob("*") if file.is_file())
    return [file for file in files if needle in file.read_bytes()]


def world(workspace: Workspace) -> dict[str, bytes]:
    """Dataset, pointer, record, cache and remote, to see that nothing changed."""
    roots = [workspace.root / "data", workspace.root / ".dvc" / "cache", release_case.remote_of(workspace)]
    return {str(file): file.read_bytes() for root in roots for file in sorted(root.rglob("*")) if file.is_file()}


def tiled(project: Workspace) -> Path:
    """Makes, as a stage would, a shard and a picture of the dataset's parts, beside figures; gives the folder."""
    (project.root / "make.py").write_text(
        "from pathlib import Path; out = Path('data/tiles'); out.mkdir();"
        "parts = sorted(Path('data/dataset').rglob('*.parquet'));"
        "(out / 'shard.npy').write_bytes(b''.join(part.read_bytes() for part in parts));"
        "(out / 'figures.json').write_text('{}'); Path('data/facts.json').write_text('{}')"
    )
    made = ["-o", "data/tiles", "-o", "data/facts.json"]
    project.ok("dvc", "stage", "add", "-q", "--run", "-n", "prepare", "-d", "data/dataset", *made, "python make.py")
    project.ok("git", "add", "-A")
    project.ok("git", "commit", "-q", "-m", "tiles")
    return project.root / "data/tiles"


def list_of_tiles(project: Workspace) -> str:
    """DVC's digest of the list of the files that the stage made."""
    found = re.search(r"path: data/tiles\s+hash: md5\s+md5: (\w+\.dir)", (project.root / "dvc.lock").read_text())
    assert found
    return found[1]


def branch_part(project: Workspace) -> str:
    """Commits a part with the item to a branch that is not checked out; gives DVC's digest of it."""
    project.ok("git", "switch", "-q", "-c", "side")
    add_batch(project, "side", [*relabelled([GONE, "item-004"], darker, revision=5)])
    before = set(objects(project))
    project.ok("dvc", "add", "-q", "data/dataset")
    project.ok("dvc", "push", "-q")
    project.ok("git", "add", "-A")
    project.ok("git", "commit", "-q", "-m", "side")
    project.ok("git", "switch", "-q", "-")
    project.ok("dvc", "checkout", "-q")
    (part,) = (md5 for md5 in set(objects(project)) - before if not md5.endswith(".dir"))
    return part


def cached(project: Workspace, md5: str) -> Path:
    """Where the cache has an object."""
    return project.root / ".dvc/cache/files/md5" / md5[:2] / md5[2:]


def damage(file: Path, change: Callable[[bytes], bytes]) -> None:
    """Changes bytes of an object as a disk would: its name and its permissions stay."""
    content = change(file.read_bytes())
    file.chmod(0o644)
    file.write_bytes(content)
    file.chmod(0o444)


def flipped(content: bytes) -> bytes:
    """The same with some pixels of item-004's image wrong."""
    image = next(item.image for item in tiny_items(groups=8) if item.item_id == "item-004")
    return content.replace(image, image[:-20] + bytes(20))
