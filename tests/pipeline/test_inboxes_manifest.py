"""Tests of the manifest: what it must say, and what a path in it may not be."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.inboxes.manifest import BatchError, BatchLimits, Manifest, parse_manifest

DOCS = Path(__file__).parent.parent.parent / "docs" / "inbox.md"
LIMITS = BatchLimits(max_manifest_bytes=10_000, max_files=5, max_bytes=1000)


def _file(path: str, size: int = 1) -> dict[str, Any]:
    return {"path": path, "sha256": "ab" * 32, "bytes": size}


def _parse(files: list[dict[str, Any]], **says: object) -> Manifest:
    content = {"schema": 1, "files": files, "format": "folders", "taxonomy_version": 1} | says
    return parse_manifest(json.dumps(content).encode(), LIMITS)


def test_the_documented_manifest_is_one_and_every_key_is_explained() -> None:
    """The example is read as it stands, shows every key, and the table below it has a row for each."""
    text = DOCS.read_text()
    example = text.split("```json\n")[1].split("```")[0]
    manifest = parse_manifest(example.encode(), LIMITS)
    keys = {field.alias or name for name, field in Manifest.model_fields.items()}
    assert manifest.taxonomy_version == 1
    assert json.loads(example).keys() == keys
    assert all(f"\n| `{key}` | " in text for key in keys)


def test_what_need_not_be_said_has_a_default() -> None:
    """Source, annotator and moment may be left out."""
    manifest = _parse([_file("images/a.png", 3), _file("masks/a.png", 4)])
    assert (manifest.source, manifest.annotator, manifest.captured_at, manifest.bytes) == ("", None, None, 7)


UNUSABLE = {
    "absolute": "/etc/passwd",
    "upwards": "a/../../b",
    "upwards inside": "a/../b",
    "here": "./a",
    "empty name": "a//b",
    "empty": "",
    "trailing": "a/",
    "backslash": "..\\a",
    "newline": "a\nb",
    "nul": "a\0b",
    "long": "a/" * 600 + "b",
    "long name": "a" * 256,
    "manifest": "manifest.json",
    "report": "report.json",
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_a_path_that_is_not_plain_is_refused(case: str) -> None:
    """Whatever leads out of the batch, has a second spelling, or is reserved; the path is named."""
    with pytest.raises(BatchError, match="the path"):
        _parse([_file("good"), _file(UNUSABLE[case])])


@pytest.mark.parametrize(
    "paths",
    [("a", "a"), ("caf\u00e9", "cafe\u0301"), ("a", "a/b"), ("a/b/c", "a/b")],
    ids=["same", "nfc", "in", "over"],
)
def test_two_files_of_one_name_are_refused(paths: tuple[str, str]) -> None:
    """Twice the same path, in any normal form of Unicode, or a file where another file's folder is."""
    with pytest.raises(BatchError, match=r"twice|both a file and a folder"):
        _parse([_file(path) for path in paths])


def test_limits_hold_before_anything_is_fetched() -> None:
    """Too many files, too many bytes and too long a manifest are refused, with the limit."""
    with pytest.raises(BatchError, match="6 files are over the limit of 5"):
        _parse([_file(str(number)) for number in range(6)])
    with pytest.raises(BatchError, match="1001 bytes are over the limit of 1000"):
        _parse([_file("a", 1000), _file("b")])
    with pytest.raises(BatchError, match="larger than the limit of 10000"):
        _parse([_file("a")], source="x" * 10_000)


WRONG = {
    "no files": {"files": []},
    "negative size": {"files": [_file("a", -1)]},
    "no digest": {"files": [_file("a") | {"sha256": "abc"}]},
    "digest and line break": {"files": [_file("a") | {"sha256": "ab" * 32 + "\n"}]},
    "size in words": {"files": [_file("a") | {"bytes": "1"}]},
    "another schema": {"schema": 2},
    "unknown key": {"split": "test"},
    "no zone": {"captured_at": "2026-05-01T12:00:00"},
    "year": {"captured_at": "1200-05-01T12:00:00Z"},
    "control characters": {"annotator": "a\x1b[31mda"},
    "version in words": {"taxonomy_version": "1"},
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_manifest_is_refused(case: str) -> None:
    """A value of another kind, a missing or an unknown key: the reason begins with the manifest's name."""
    with pytest.raises(BatchError, match=r"^manifest\.json: "):
        _parse(**({"files": [_file("a")]} | WRONG[case]))


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"[]", b"null", b"[" * 9000, b'{"schema": 1'])
def test_what_is_no_json_object_is_refused(data: bytes) -> None:
    """Empty, binary, cut short, of another kind, or nested without end."""
    with pytest.raises(BatchError, match=r"^manifest\.json: "):
        parse_manifest(data, LIMITS)


def test_a_thousand_mistakes_make_a_short_reason() -> None:
    """The first few are told, and how many more there are."""
    files = [_file("a") | {"bytes": "1"} for _ in range(50)]
    with pytest.raises(BatchError, match=r"and 4\d more"):
        _parse(files)
