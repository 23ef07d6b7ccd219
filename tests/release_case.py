"""A workspace with a tiny dataset of its own, validated once and copied for each test; git and DVC are real."""

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from tiny import tiny_items
from workspace import ROOT, Workspace, make_workspace

from pipeline.files import sha256_bytes
from pipeline.images import Limits, decode_mask, encode_mask
from pipeline.part_writer import write_batch
from pipeline.parts import Item
from pipeline.releasing.purged import RECORD, read_record
from pipeline.splits import LedgerRow, append_ledger, read_ledger

CLASSES = ["background", "floor", "pallet", "human", "obstacle"]
VOID = 255
LIMITS = Limits(max_bytes=2**24, max_pixels=2**22)
SECTIONS = {
    "release": {"remote": "../segloop-remote", "jobs": 2},
    "diff": {"pictures": 4, "picture_px": 64},
}
CYCLE = ("train", "val", "test", "train")


def make_template(root: Path) -> Workspace:
    """A workspace with 16 items in 8 groups that has been validated and committed."""
    workspace = make_workspace(root)
    params = workspace.root / "params.yaml"
    sections = SECTIONS | yaml.safe_load(params.read_text())
    sections["dataset"] = {"path": "data/dataset", "splits": "data/splits.csv"}
    sections["catalog"]["workers"] = 1
    sections["validate"] |= {"near_duplicate_bits": 0}  # scenes this small look alike
    params.write_text(yaml.safe_dump(sections))
    ignore = workspace.root / ".gitignore"
    kept = re.sub(r"^/data/\*$", "/data/?*", ignore.read_text(), flags=re.MULTILINE)
    ignore.write_text(kept + "!/data/releases/\n/.site/\n")
    workspace.ok("git", "config", "user.name", "Ada")
    workspace.ok("git", "config", "user.email", "ada@localhost")
    add_batch(workspace, "first", tiny_items(groups=8))
    workspace.ok("dvc", "repro", "validate")
    workspace.ok("git", "add", "-A")
    workspace.ok("git", "commit", "-q", "-m", "data")
    return workspace


def copy_of(workspace: Workspace, folder: Path) -> Workspace:
    """The same workspace at another place, with its DVC remote if it has one."""
    copy = Workspace(folder / "workspace")
    shutil.copytree(workspace.root, copy.root, symlinks=True)
    if remote_of(workspace).exists():
        shutil.copytree(remote_of(workspace), remote_of(copy))
    return copy


def enter(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Works in the workspace from here on."""
    monkeypatch.chdir(workspace.root)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(workspace.root / ".site"))
    return workspace


def remote_of(workspace: Workspace) -> Path:
    """The folder that is the DVC remote."""
    return workspace.root.parent / "segloop-remote"


def objects(workspace: Workspace) -> dict[str, Path]:
    """The objects on the DVC remote, by digest."""
    files = (remote_of(workspace) / "files" / "md5").glob("*/*")
    return {file.parent.name + file.name: file for file in files}


def tags(workspace: Workspace) -> list[str]:
    """The tags of the releases."""
    return workspace.ok("git", "tag", "--list", "data/v*").split()


def assert_trustworthy(workspace: Workspace) -> None:
    """Every tag that exists names bytes that lie on the remote, each with the digest of its name.

    What was purged since is there as what stands in for it.
    """
    there, record = objects(workspace), read_record(workspace.root / RECORD)
    for tag in tags(workspace):
        pointer = yaml.safe_load(workspace.ok("git", "show", f"{tag}:data/dataset.dvc"))
        folder = pointer["outs"][0]["md5"]
        listed = json.loads(there[folder].read_bytes())
        for name in [folder, *(record.stand_in(entry["md5"]) for entry in listed)]:
            content = there[name].read_bytes()
            assert hashlib.md5(content, usedforsecurity=False).hexdigest() == name.removesuffix(".dir")


def add_batch(workspace: Workspace, batch: str, items: Iterable[Item]) -> None:
    """Writes a batch into the dataset, and its groups into the ledger."""
    listed = list(items)
    write_batch(workspace.root / "data" / "dataset", batch, listed, ["camera"], CLASSES)
    file = workspace.root / "data" / "splits.csv"
    ledger = read_ledger(file)
    groups = sorted({item.group for item in listed} - set(ledger.splits))
    append_ledger(file, ledger, [LedgerRow(g, CYCLE[n % len(CYCLE)], batch) for n, g in enumerate(groups)])


def more_items(count: int, seed: int) -> list[Item]:
    """New items in a new group."""
    made = tiny_items(groups=1, per_group=count, seed=seed)
    return [replace(item, item_id=f"more-{seed}-{n}", group=f"h{seed}") for n, item in enumerate(made)]


def relabelled(names: Iterable[str], change: Callable[[np.ndarray], np.ndarray], revision: int = 2) -> list[Item]:
    """Items of the first batch with another mask.

    Args:
        names: Which.
        change: From the old mask to the new. Shapes: (H, W), uint8.
        revision: Of the new rows.
    """
    first = {item.item_id: item for item in tiny_items(groups=8)}
    result = []
    for name in names:
        mask = encode_mask(change(decode_mask(first[name].mask, LIMITS).copy()))
        result.append(replace(first[name], mask=mask, mask_source_sha256=sha256_bytes(mask), revision=revision))
    return result


def light_project(root: Path) -> Workspace:
    """A git and DVC repository with the same dataset and params, without the project's code or a validation."""
    workspace = Workspace(root)
    (root / "data").mkdir(parents=True)
    shutil.copy(ROOT / "data" / "taxonomy.yaml", root / "data" / "taxonomy.yaml")
    sections = yaml.safe_load((ROOT / "params.yaml").read_text()) | SECTIONS
    sections["dataset"] = {"path": "data/dataset", "splits": "data/splits.csv"}
    sections["diff"] = {"pictures": 1, "picture_px": 32}
    (root / "params.yaml").write_text(yaml.safe_dump(sections))
    (root / ".gitignore").write_text(
        "/data/?*\n!/data/*.dvc\n!/data/taxonomy.yaml\n!/data/splits.csv\n/.site/\n/found/\n"
    )
    workspace.ok("git", "init", "-q")
    workspace.ok("git", "config", "user.name", "Ada")
    workspace.ok("git", "config", "user.email", "ada@localhost")
    workspace.ok("dvc", "init", "-q")
    workspace.ok("git", "add", "-A")
    workspace.ok("git", "commit", "-q", "-m", "start")
    workspace.ok("dvc", "remote", "add", "-q", "-d", "storage", "../segloop-remote")
    add_batch(workspace, "first", tiny_items(groups=8))
    return workspace


def tag_by_hand(workspace: Workspace, tag: str) -> None:
    """What a release does to git and DVC, without its checks and its card."""
    workspace.ok("dvc", "add", "-q", "data/dataset")
    workspace.ok("dvc", "push", "-q")
    workspace.ok("git", "add", "-A")
    workspace.ok("git", "commit", "-q", "-m", tag)
    workspace.ok("git", "tag", "-a", "-m", tag, tag)
