"""Batches for the tests of the inbox, and a workspace to take them into."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from ingest_source import PARAMS, TAXONOMY, write_source

from pipeline.command import run
from pipeline.files import sha256_bytes, sha256_file
from pipeline.inbox import main

INBOX: dict[str, Any] = {
    "url": "inbox",
    "ledger": "data/inbox.csv",
    "staging": ".segloop/inbox",
    "group_by": "^([^_]+)_",
    "wait_hours": 24,
    "longest_pause_s": 0.2,
    "storage": {
        "endpoint_url": None,
        "region": None,
        "transfers": 4,
        "attempts": 3,
        "connect_timeout_s": 10,
        "read_timeout_s": 30,
    },
    "limits": {"max_manifest_bytes": 10**6, "max_files": 5000, "max_bytes": 10**8},
}


def write_workspace(root: Path, **changes: object) -> None:
    """Writes taxonomy and params into a folder."""
    (root / "data").mkdir(parents=True, exist_ok=True)
    (root / "data" / "taxonomy.yaml").write_text(yaml.safe_dump(TAXONOMY))
    (root / "params.yaml").write_text(yaml.safe_dump({**PARAMS, "inbox": {**INBOX, **changes}}))


def write_batch(inbox: Path, batch: str, names: list[str], seed: int = 0, **says: object) -> Path:
    """Writes a batch of tiny images with its manifest; `says` replaces keys of the manifest."""
    folder = write_source(inbox / batch, names, seed)
    write_manifest(folder, **says)
    return folder


def write_manifest(folder: Path, **says: object) -> str:
    """Writes the manifest of what lies in a folder, and returns its digest."""
    files = [file for file in sorted(folder.rglob("*")) if file.is_file() and file.name != "manifest.json"]
    listed = [
        {"path": file.relative_to(folder).as_posix(), "sha256": sha256_file(file), "bytes": file.stat().st_size}
        for file in files
    ]
    manifest = {
        "schema": 1,
        "files": listed,
        "format": "folders",
        "source": "",
        "taxonomy_version": 1,
        "annotator": "ada",
        "captured_at": "2026-05-01T12:00:00Z",
    }
    data = json.dumps(manifest | says).encode()
    (folder / "manifest.json").write_bytes(data)
    return sha256_bytes(data)


def digest_of(folder: Path) -> str:
    """The first digits of a batch's digest, as names have them."""
    return sha256_file(folder / "manifest.json")[:8]


def take(*arguments: str) -> int:
    """Runs the command in the working folder, and returns its exit code."""
    with pytest.raises(SystemExit) as ended:
        run(main, list(arguments))
    assert isinstance(ended.value.code, int)
    return ended.value.code


def items(root: Path = Path()) -> list[str]:
    """The items of the workspace's dataset, each as often as it is there."""
    parts = sorted((root / "data" / "dataset").glob("*/part-*.parquet"))
    return sorted(name for part in parts for name in pd.read_parquet(part, columns=["item_id"])["item_id"])


def verdicts(root: Path = Path()) -> dict[str, list[str]]:
    """The verdicts of the ledger, by batch."""
    found: dict[str, list[str]] = {}
    file = root / "data" / "inbox.csv"
    if file.exists():
        for row in csv.DictReader(file.read_text().splitlines()):
            found.setdefault(row["batch"], []).append(row["verdict"])
    return found


def report(folder: Path) -> Mapping[str, Any]:
    """The report beside a batch that was judged."""
    content: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return content
