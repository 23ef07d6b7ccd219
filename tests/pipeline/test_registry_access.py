"""Where the registry's files are looked for."""

from pathlib import Path

import pytest

from pipeline.registry_access import RegistryParams, at_root

PARAMS = RegistryParams(
    decisions="sqlite:///decisions.db",
    head=Path("data/decisions.head"),
    reviewers=Path("data/reviewers.yaml"),
    promoter=Path("data/promoter.pub"),
    four_eyes=True,
)


def test_a_runs_workspace_shares_head_and_lists_with_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    """A head of its own would know nothing of what the others recorded in the one log."""
    monkeypatch.setenv("SEGLOOP_ROOT", "/srv/project")
    found = at_root(PARAMS)
    assert [found.head, found.reviewers, found.promoter] == [
        Path("/srv/project/data") / name for name in ("decisions.head", "reviewers.yaml", "promoter.pub")
    ]


def test_without_a_root_the_paths_are_those_of_the_working_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """A person's command works where it is called."""
    monkeypatch.delenv("SEGLOOP_ROOT", raising=False)
    assert at_root(PARAMS) == PARAMS
