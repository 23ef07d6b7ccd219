"""Action: records a reviewer's signed decision about a judged version."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pipeline.aliases import show_state
from pipeline.command import run
from pipeline.decisions.entry import Draft, Kind
from pipeline.decisions.keys import load_private, public_text, same_person
from pipeline.decisions.review import Review, review_draft
from pipeline.decisions.states import legal, names_of
from pipeline.errors import UserError, VerdictError
from pipeline.model_versions import Registered, fetch, find_version
from pipeline.outputs import short
from pipeline.params import read_section
from pipeline.provenance import author
from pipeline.register import RegisterParams
from pipeline.registry_access import Registry, RegistryParams, open_registry, reviewer_key_path
from pipeline.run_author import authors_of
from pipeline.tracking import client, configure, shown

REVIEW_TAG = "segloop.review"
ASKED = "asked"  # the value by which somebody asks for a review in MLflow's pages


class Decision(StrEnum):
    """What a reviewer says."""

    APPROVE = "approve"
    REJECT = "reject"


def main(
    version: Annotated[str, typer.Argument(help="Its number or alias.")],
    decision: Annotated[Decision, typer.Argument(help="approve or reject.")],
    note: Annotated[str, typer.Option(help="Why; required.")],
    reviewer: Annotated[str, typer.Option("--as", help="The reviewer's name. Default: git's user.name.")] = "",
    key: Annotated[Path | None, typer.Option(help="The reviewer's private key. Default: in ~/.config.")] = None,
    params: Annotated[Path, typer.Option(help="The parameters.")] = Path("params.yaml"),
) -> None:
    """Record a reviewer's signed decision about a judged version.

    The signature covers the version, the digest of its graph and that of its verdict: when one of them changes, the
    review is void. Look at the dossier first.

    Example: segloop review candidate approve --note "pallets at the dock are better, people unchanged" --as alice
    """
    if not note.strip():
        raise UserError("--note is empty; say why, for whoever reads the record later.")
    registry = open_registry(read_section(RegistryParams, "registry", params))
    configure()
    wanted = find_version(read_section(RegisterParams, "register", params).model_name, version)
    name = reviewer or author(Path())
    authors = authors_of(wanted, registry.log.entries(wanted.name)) if registry.params.four_eyes else set()
    if any(same_person(each, author) for each in names_of(name, registry.reviewers) for author in authors):
        raise VerdictError(f"'{name}' trained {wanted.title}: somebody else must review it (registry.four_eyes).")
    listed = registry.reviewers.get(name)
    if listed is None:
        there = ", ".join(registry.reviewers) or "nobody"
        raise UserError(
            f"'{name}' is no reviewer; {registry.params.reviewers} lists {there}. Say who you are by --as, or have "
            f"yourself listed: `segloop reviewer add {name}`."
        )
    private = load_private(key or reviewer_key_path(name))
    if listed.public_key != public_text(private):
        raise UserError(f"'{name}' with this key is not on {registry.params.reviewers}: `segloop reviewer add {name}`.")
    statement = describe(registry, wanted, decision, name, note)
    entry = registry.log.append(review_draft(private, statement), expected_sequence=statement.sequence)
    with shown("review"):
        client().set_model_version_tag(wanted.name, str(wanted.version), REVIEW_TAG, f"{decision.value} by {name}")
        show_state(wanted.name, registry.log.entries(wanted.name), wanted.version)
    print(
        f"decision {entry.sequence}: '{name}' says {decision.value} to {wanted.title}, "
        f"model {short(entry.model_digest)}, verdict {short(entry.gate_digest)}"
    )
    if decision is Decision.APPROVE:
        print(f"next: segloop promote {wanted.version}")


def describe(registry: Registry, wanted: Registered, decision: Decision, name: str, note: str) -> Review:
    """What the reviewer signs.

    Raises:
        UserError: The version was never judged, or may not be reviewed where it stands.
    """
    entries = registry.log.entries(wanted.name)
    legal(entries, Kind.REVIEW, wanted.version)
    verdict = registry.verdict(wanted)
    if verdict is None:
        raise UserError(f"{wanted.title} was never judged: run `segloop gate {wanted.version}`.")
    files = fetch(wanted)
    if files.model_digest != verdict.candidate.model_digest:
        raise VerdictError(f"The graph of {wanted.title} is not the one that was judged: `segloop gate --again`.")
    return Review(
        model_name=wanted.name,
        version=wanted.version,
        model_digest=files.model_digest,
        gate_digest=verdict.digest(),
        decision=decision.value,
        note=note.strip(),
        reviewer=name,
        sequence=registry.log.next_sequence(),
    )


def open_asked(registry: Registry, versions: list[Registered]) -> list[Registered]:
    """Opens a pending review for each version that somebody asked for by MLflow's tag; decides nothing.

    Returns:
        Those for which one was opened now.
    """
    opened = []
    for each in versions:
        entries = [entry for entry in registry.log.entries(each.name) if entry.version == each.version]
        pending = bool(entries) and entries[-1].kind == Kind.REVIEW_ASKED
        verdict = registry.verdict(each)
        if each.tags.get(REVIEW_TAG) != ASKED or pending or verdict is None:
            continue
        try:
            legal(registry.log.entries(each.name), Kind.REVIEW_ASKED, each.version)
        except UserError:
            continue  # the champion, say: a tag has no say in it
        draft = Draft(
            kind=Kind.REVIEW_ASKED,
            model_name=each.name,
            version=each.version,
            model_digest=verdict.candidate.model_digest,
            actor="a tag in MLflow",
            gate_digest=verdict.digest(),
            note="asked for by a tag, which proves nothing",
        )
        registry.log.append(draft)
        opened.append(each)
    return opened


if __name__ == "__main__":
    run(main)
