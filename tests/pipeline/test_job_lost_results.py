"""A job whose results were lost from DVC's cache after it had succeeded."""

from pathlib import Path

import pytest
from job_case import make_project

pytestmark = pytest.mark.e2e  # DVC's commands take a second or two each


def test_a_job_that_lost_its_results_is_computed_again(tmp_path: Path) -> None:
    """It has failed, by an outage; whoever submits it gets a new attempt, whose results are there."""
    project = make_project(tmp_path)
    assert project.job("submit", "train")[0] == 0
    assert project.job("follow", "train")[0] == 0
    assert "succeeded" in project.job("status", "train")[1]
    project.ok("dvc", "gc", "--workspace", "--force")
    assert "failed, attempt 1, exit code 3" in project.job("status", "train")[1]
    assert project.job("follow", "train")[0] == 3
    code, said = project.job("submit", "train")
    assert (code, "started attempt 2" in said) == (0, True), said
    code, said = project.job("follow", "train")
    assert code == 0, said
    code, said = project.job("restore", "train")
    assert code == 0, said
    assert project.weights == "tile tile tile 3"
