"""Where both versions come from: what changed between them, their lineage, their cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.dossiers.changes import (
    CommitChanges,
    ItemChanges,
    Setting,
    commit_changes,
    export_facts,
    item_changes,
    setting_changes,
    taxonomy_changes,
)
from pipeline.dossiers.inputs import RunFacts, Side
from pipeline.dossiers.sides import Evidence
from pipeline.dossiers.wording import UNKNOWN, duration, minus, moment
from pipeline.errors import UserError
from pipeline.files import read_table
from pipeline.gating.verdict import Verdict
from pipeline.scores import stacked
from training.metrics import ratio


@dataclass(frozen=True)
class Fact:
    """A fact about both versions; the champion's is empty without one."""

    name: str
    candidate: str
    champion: str

    @property
    def differs(self) -> bool:
        """Whether the two are known and not the same."""
        return UNKNOWN not in {self.candidate, self.champion} and self.champion not in {"", self.candidate}


@dataclass(frozen=True)
class ShareRow:
    """A class's share of the pixels, then and now, in words."""

    name: str
    before: str
    after: str
    change: str


@dataclass(frozen=True)
class Shares:
    """Class shares of some pixels."""

    title: str
    rows: list[ShareRow]


@dataclass(frozen=True)
class Changes:
    """What changed since the champion.

    Attributes:
        items: Of the holdouts that both were registered with; None where one is not kept.
        items_note: Said instead, or beside.
        shares: Class shares of the holdouts, and of the training tiles where known.
        taxonomy: Sentences.
        settings: That differ.
        settings_note: What could not be compared.
        commits: Between them; or why they are not known.
        commits_note: Said instead, or beside.
    """

    items: ItemChanges | None
    items_note: str
    shares: list[Shares]
    taxonomy: list[str]
    settings: list[Setting]
    settings_note: str
    commits: CommitChanges | None
    commits_note: str


def changes(repository: Path | None, candidate: Evidence, champion: Evidence) -> Changes:
    """What changed in data, taxonomy, settings and code from the champion to the candidate."""
    commits = commit_changes(repository, champion.side.run.commit, candidate.side.run.commit)
    before, after = champion.holdout, candidate.holdout
    dirty = [side.title for side in (candidate, champion) if side.side.run.dirty]
    beside = f"Files differed from the commit when {' and '.join(dirty)} was made." if dirty else ""
    return Changes(
        items=item_changes(before["items"], after["items"]) if before and after else None,
        items_note="" if before and after else "The list of a holdout is not kept with both versions.",
        shares=_shares(candidate, champion),
        taxonomy=taxonomy_changes(champion.taxonomy, candidate.taxonomy),
        settings=setting_changes(_settings(champion), _settings(candidate)),
        settings_note=_settings_note(candidate.side.run, champion.side.run),
        commits=commits if isinstance(commits, CommitChanges) else None,
        commits_note=beside if isinstance(commits, CommitChanges) else f"{commits} {beside}".strip(),
    )


def lineage(verdict: Verdict, candidate: Evidence, champion: Evidence | None) -> list[Fact]:
    """Whatever identifies the two and what they were made from."""
    facts = [_beside(_origins(candidate), _origins(champion) if champion else {})]
    shared = {
        "holdout of the verdict": verdict.holdout_digest,
        "verdict (gate digest)": verdict.digest(),
        "gate settings": verdict.settings_digest,
        "decided": moment(verdict.decided_at),
        "judged on": ", ".join(f"{name} {content}" for name, content in verdict.machine.items()) or UNKNOWN,
    }
    return [*facts[0], *(Fact(name, content, "") for name, content in shared.items())]


def cost(candidate: Evidence, champion: Evidence | None) -> list[Fact]:
    """What the trainings took."""
    return _beside(_costs(candidate), _costs(champion) if champion else {})


def _beside(ours: Mapping[str, str], theirs: Mapping[str, str]) -> list[Fact]:
    return [Fact(name, content, theirs.get(name, "")) for name, content in ours.items()]


def _origins(side: Evidence) -> dict[str, str]:
    run = side.side.run
    commit = run.commit or UNKNOWN
    return {
        "version": str(side.subject.version),
        "run": side.subject.run_id,
        "made by": run.author or UNKNOWN,
        "commit": f"{commit} with changes" if run.dirty else commit,
        "dataset": run.dataset_digest or UNKNOWN,
        "holdout at registration": str(side.holdout["digest"]) if side.holdout else UNKNOWN,
        "taxonomy version": str(side.taxonomy.version),
        "training": str(side.trained.get("digest", UNKNOWN)),
        "model (SHA-256)": side.subject.model_digest,
        "precision": str(side.exported.get("precision", UNKNOWN)),
        "evidence": side.subject.evidence_digest,
    }


def _costs(side: Evidence) -> dict[str, str]:
    run, trained = side.side.run, side.trained
    seconds = [float(line["seconds"]) for line in run.epochs or [] if "seconds" in line]
    total = sum(seconds) if seconds else trained.get("seconds")
    return {
        "wall time of the training": UNKNOWN if total is None else duration(total),
        "epochs": f"{trained.get('epochs_run', UNKNOWN)}, best {trained.get('best_epoch', UNKNOWN)} (counted from 0)",
        "device": str(trained.get("device", UNKNOWN)),
        "energy": UNKNOWN if run.energy_kwh is None else f"{run.energy_kwh:.2f} kWh",
        "size of the graph": f"{side.exported['bytes'] / 2**20:.1f} MiB" if "bytes" in side.exported else UNKNOWN,
    }


def _shares(candidate: Evidence, champion: Evidence) -> list[Shares]:
    names = candidate.taxonomy.names
    found = []
    ours, theirs = (_holdout_px(side.side, len(names)) for side in (candidate, champion))
    if ours is not None and theirs is not None:
        found.append(Shares("Holdout at registration", _share_rows(theirs, ours, names)))
    tiles = [side.side.run.train_px for side in (champion, candidate)]
    if all(each is not None and len(each) == len(names) for each in tiles):
        before, after = map(np.asarray, tiles)
        found.append(Shares("Training tiles", _share_rows(before, after, names)))
    return found


def _holdout_px(side: Side, classes: int) -> npt.NDArray[np.int64] | None:
    """Labelled pixels by class of the holdout that a version was registered with."""
    try:
        rows = read_table(side.artifacts / "evaluation" / "confusions.parquet", {"confusion"}, "register it anew")
    except UserError:
        return None  # its counts on the verdict's holdout are there, or the dossier would not have come this far
    pixels: npt.NDArray[np.int64] = stacked(rows, "confusion").reshape(-1, classes, classes).sum(axis=(0, 2))
    return pixels


def _share_rows(before: npt.NDArray[np.int64], after: npt.NDArray[np.int64], names: Sequence[str]) -> list[ShareRow]:
    old, new = ratio(before, np.full(len(names), before.sum())), ratio(after, np.full(len(names), after.sum()))
    return [
        ShareRow(name, f"{was:.2%}", f"{now:.2%}", minus(f"{100 * (now - was):+.2f}"))
        for name, was, now in zip(names, old, new, strict=True)
    ]


def _settings(side: Evidence) -> dict[str, Any]:
    return {**dict(side.side.run.params or {}), **export_facts(side.exported)}


def _settings_note(candidate: RunFacts, champion: RunFacts) -> str:
    lacking = [name for name, run in (("candidate", candidate), ("champion", champion)) if run.params is None]
    return (
        f"The params of the {' and the '.join(lacking)} are not known; compared is what the export says."
        if lacking
        else ""
    )
