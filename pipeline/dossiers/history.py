"""Where both versions come from: what changed between them, and their lineage."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.dossiers.changes import (
    CommitChanges,
    Setting,
    commit_changes,
    export_facts,
    setting_changes,
)
from pipeline.dossiers.data_changes import DataChanges, data_changes
from pipeline.dossiers.facts import Fact, beside
from pipeline.dossiers.inputs import RunFacts
from pipeline.dossiers.sides import Evidence
from pipeline.dossiers.wording import UNKNOWN, at_commit, moment
from pipeline.gating.verdict import Verdict
from pipeline.releasing.recorded_changes import ClassChange


@dataclass(frozen=True)
class Changes:
    """What changed since the champion.

    Attributes:
        data: Items and class shares.
        taxonomy: Sentences: what recorded migrations made of the classes, and what else differs.
        settings: That differ.
        settings_note: What could not be compared.
        commits: Between them; or why they are not known.
        commits_note: Said instead, or beside.
    """

    data: DataChanges
    taxonomy: list[str]
    settings: list[Setting]
    settings_note: str
    commits: CommitChanges | None
    commits_note: str


def changes(repository: Path | None, candidate: Evidence, champion: Evidence) -> Changes:
    """What changed in data, taxonomy, settings and code from the champion to the candidate."""
    commits = commit_changes(repository, champion.side.run.commit, candidate.side.run.commit)
    dirty = [side.title for side in (candidate, champion) if side.side.run.dirty]
    beside_them = f"Files differed from the commit when {' and '.join(dirty)} was made." if dirty else ""
    return Changes(
        data=data_changes(candidate, champion),
        taxonomy=ClassChange(champion.taxonomy, candidate.taxonomy).sentences(),
        settings=setting_changes(_settings(champion), _settings(candidate)),
        settings_note=_settings_note(candidate.side.run, champion.side.run),
        commits=commits if isinstance(commits, CommitChanges) else None,
        commits_note=beside_them if isinstance(commits, CommitChanges) else f"{commits} {beside_them}".strip(),
    )


def lineage(verdict: Verdict, candidate: Evidence, champion: Evidence | None) -> list[Fact]:
    """Whatever identifies the two and what they were made from."""
    facts = beside(_origins(candidate), _origins(champion) if champion else None)
    shared = {
        "holdout of the verdict": verdict.holdout_digest,
        "verdict (gate digest)": verdict.digest(),
        "gate settings": verdict.settings_digest,
        "decided": moment(verdict.decided_at),
        "judged on": ", ".join(f"{name} {content}" for name, content in verdict.machine.items()) or UNKNOWN,
    }
    return [*facts, *(Fact(name, content, "") for name, content in shared.items())]


def _origins(side: Evidence) -> dict[str, str]:
    run = side.side.run
    return {
        "version": str(side.subject.version),
        "run": side.subject.run_id,
        "made by": run.author or UNKNOWN,
        "commit": at_commit(run.commit, dirty=run.dirty),
        "dataset": run.dataset_digest or UNKNOWN,
        "holdout at registration": str(side.holdout["digest"]) if side.holdout else UNKNOWN,
        "taxonomy version": str(side.taxonomy.version),
        "training": str(side.trained.get("digest", UNKNOWN)),
        "model (SHA-256)": side.subject.model_digest,
        "precision": str(side.exported.get("precision", UNKNOWN)),
        "evidence": side.subject.evidence_digest,
    }


def _settings(side: Evidence) -> dict[str, Any]:
    return {**dict(side.side.run.params or {}), **export_facts(side.exported)}


def _settings_note(candidate: RunFacts, champion: RunFacts) -> str:
    lacking = [name for name, run in (("candidate", candidate), ("champion", champion)) if run.params is None]
    return (
        f"The params of the {' and the '.join(lacking)} are not known; compared is what the export says."
        if lacking
        else ""
    )
