"""Brings MLflow's aliases and tags in line with the decision log: a projection, mended whenever it drifted."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.decisions.entry import CERTIFIED, Entry
from pipeline.decisions.states import champion, previous, state_of
from pipeline.model_versions import Registered, all_versions
from pipeline.tracking import client, outage

STATE_TAG, CERTIFICATE_TAG = "segloop.state", "segloop.certificate"
STANDS = (
    "What was decided stands. Start MLflow, then run `segloop registry reconcile`; do not decide again: a "
    "second rollback goes one version further back."
)
OWNED = ("champion", "previous", "canary", "shadow")  # `candidate` belongs to `register`


@dataclass(frozen=True)
class Change:
    """One thing that MLflow did not show as the log says."""

    what: str
    before: str
    after: str


def reconcile(name: str, entries: Sequence[Entry], *, dry_run: bool = False) -> list[Change]:
    """Makes MLflow show what the log says; twice is once.

    A version that MLflow has lost gets no alias (see `lost`), and holds nothing else up.

    Args:
        name: The registered model.
        entries: Of this model.
        dry_run: Only tell.

    Raises:
        OutageError: MLflow is away; the log holds, and the next call goes on.
        UserError: MLflow refuses.
    """
    with outage("bringing the aliases in line; the decision log holds", remedy=STANDS):
        versions = all_versions(name)
        there = {each.version for each in versions}
        wanted = {alias: version for alias, version in wanted_aliases(entries).items() if version in there}
        changes = [*_aliases(name, versions, wanted, dry_run=dry_run)]
        for version in versions:
            changes += _tags(version, wanted_tags(entries, version.version), dry_run=dry_run)
    return changes


def show_state(name: str, entries: Sequence[Entry], version: int) -> None:
    """Makes the tags of one version show what the log says; call it inside `outage` or `shown`."""
    for each in all_versions(name):
        if each.version == version:
            _tags(each, wanted_tags(entries, version), dry_run=False)


def lost(entries: Sequence[Entry], versions: Sequence[Registered]) -> dict[str, int]:
    """The aliases whose version MLflow lacks, with that version's number."""
    there = {each.version for each in versions}
    return {alias: version for alias, version in wanted_aliases(entries).items() if version not in there}


def wanted_aliases(entries: Sequence[Entry]) -> dict[str, int]:
    """The version that each alias shall point at; those without one are absent.

    A canary or a shadow ends with the next change of the champion.
    """
    found = {"champion": champion(entries), "previous": previous(entries)}
    for entry in entries:
        scope = certificate_of(entry).get("scope")
        if scope == "champion":
            found |= {"canary": None, "shadow": None}
        elif scope in OWNED:
            found[str(scope)] = entry.version
    return {alias: version for alias, version in found.items() if version is not None}


def wanted_tags(entries: Sequence[Entry], version: int) -> dict[str, str]:
    """What a version's tags shall show: where it stands, and its last certificate."""
    mine = [entry for entry in entries if entry.version == version]
    if not mine:
        return {}
    tags = {STATE_TAG: state_of(entries, version).value}
    certified = [entry for entry in mine if entry.kind in CERTIFIED]
    if certified:
        tags[CERTIFICATE_TAG] = json.dumps(certificate_of(certified[-1]), sort_keys=True)
    return tags


def certificate_of(entry: Entry) -> dict[str, object]:
    """The certificate of a promotion or rollback; empty for any other decision."""
    if entry.kind not in CERTIFIED:
        return {}
    found = entry.payload.get("certificate")
    return found if isinstance(found, dict) else {}


def _aliases(name: str, versions: Sequence[Registered], wanted: dict[str, int], *, dry_run: bool) -> list[Change]:
    now = {alias: each.version for each in versions for alias in each.aliases if alias in OWNED}
    changes = []
    for alias in OWNED:
        before, after = now.get(alias), wanted.get(alias)
        if before == after:
            continue
        changes.append(Change(f"alias {alias}", _named(before), _named(after)))
        if dry_run:
            continue
        if after is None:
            client().delete_registered_model_alias(name, alias)
        else:
            client().set_registered_model_alias(name, alias, str(after))
    return changes


def _tags(version: Registered, wanted: dict[str, str], *, dry_run: bool) -> list[Change]:
    changes = []
    for tag in (STATE_TAG, CERTIFICATE_TAG):
        before, after = version.tags.get(tag), wanted.get(tag)
        if before == after:
            continue
        changes.append(Change(f"tag {tag} of version {version.version}", before or "none", after or "none"))
        if dry_run:
            continue
        if after is None:
            client().delete_model_version_tag(version.name, str(version.version), tag)
        else:
            client().set_model_version_tag(version.name, str(version.version), tag, after)
    return changes


def _named(version: int | None) -> str:
    return "none" if version is None else f"version {version}"
