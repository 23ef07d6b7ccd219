"""Tests of reading params.yaml."""

from pathlib import Path

import pytest

from pipeline.errors import UserError
from pipeline.params import Section, read_section


class _Params(Section):
    tile_px: int


def _read(tmp_path: Path, text: str) -> _Params:
    file = tmp_path / "params.yaml"
    file.write_text(text)
    return read_section(_Params, "prepare", file)


def test_a_section_is_read(tmp_path: Path) -> None:
    """The values of the file arrive in the model."""
    assert _read(tmp_path, "prepare: {tile_px: 64}").tile_px == 64


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prepare: {tile_px: 64, tile: 3}", "section 'prepare': key 'tile': unknown key"),
        ("prepare: {tile_pix: 64}", r"key 'tile_pix': unknown key\. Did you mean 'tile_px'\?"),
        ("prepare: {tile_px: wide}", "key 'tile_px': .*received 'wide'"),
        ("prepare: {}", "key 'tile_px': Field required"),
        ("train: {}", "no section 'prepare'. It has: train"),
        ("- 1", "must hold a mapping"),
        ("a: [", "not readable as YAML"),
    ],
)
def test_a_wrong_file_is_the_users_mistake(tmp_path: Path, text: str, message: str) -> None:
    """The message names the section, the key and the value received."""
    with pytest.raises(UserError, match=message):
        _read(tmp_path, text)


def test_a_missing_file_is_the_users_mistake(tmp_path: Path) -> None:
    """The message names the file."""
    with pytest.raises(UserError, match="no file"):
        read_section(_Params, "prepare", tmp_path / "params.yaml")
