"""Tests of looking a request up in the record of served requests."""

from pathlib import Path

import pandas as pd
import pytest

from pipeline.errors import UserError
from pipeline.served_requests import version_of_request


def record(folder: Path, *rows: tuple[str, str, int]) -> None:
    """Writes a day's file of the record."""
    folder.mkdir(parents=True)
    table = pd.DataFrame(rows, columns=["request_id", "model_name", "model_version"])
    table.assign(confidence=0.5).to_parquet(folder / "requests.parquet")


def test_a_request_leads_to_the_version_that_answered_it(tmp_path: Path) -> None:
    """Files of several days are searched; other models' requests are none of ours."""
    record(tmp_path / "day=1", ("a-1", "segmenter", 3), ("a-2", "other", 9))
    record(tmp_path / "day=2", ("b-1", "segmenter", 4))
    assert version_of_request("b-1", "segmenter", tmp_path) == "4"
    with pytest.raises(UserError, match="has no request of that id"):
        version_of_request("a-2", "segmenter", tmp_path)


def test_without_a_record_the_place_is_named(tmp_path: Path) -> None:
    """Before anything was served, the error says where the record would lie."""
    with pytest.raises(UserError, match=r"telemetry holds no record of served requests"):
        version_of_request("a-1", "segmenter", tmp_path / "telemetry")


def test_what_cannot_be_an_id_is_refused(tmp_path: Path) -> None:
    """A path or a sentence is looked up nowhere."""
    with pytest.raises(UserError, match="is no version, no alias, no run and no request id"):
        version_of_request("../../etc/passwd", "segmenter", tmp_path)


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    """A file that is no Parquet gives an error, not a traceback."""
    (tmp_path / "requests.parquet").write_text("nothing")
    with pytest.raises(UserError, match="cannot be read"):
        version_of_request("a-1", "segmenter", tmp_path)


def test_a_request_of_two_versions_is_not_guessed(tmp_path: Path) -> None:
    """An id that was recorded twice, for different versions, says nothing."""
    record(tmp_path / "day=1", ("a-1", "segmenter", 3), ("a-1", "segmenter", 4))
    with pytest.raises(UserError, match="recorded for versions 3, 4"):
        version_of_request("a-1", "segmenter", tmp_path)
