"""The way to the decision log: where it is, whose keys count, and what it says about versions in MLflow."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, ValidationError

from pipeline.decisions.entry import Draft, Entry, Kind
from pipeline.decisions.keys import Reviewer, check_name, load_private, read_public_keys, read_reviewers
from pipeline.decisions.log import DecisionLog
from pipeline.decisions.states import State, champion, legal, state_of
from pipeline.errors import UserError, VerdictError
from pipeline.gating.verdict import Subject, Verdict
from pipeline.model_versions import Registered, find_version
from pipeline.params import Section
from pipeline.provenance import author

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

URL_VARIABLE, KEY_VARIABLE = "SEGLOOP_DECISIONS", "SEGLOOP_PROMOTER_KEY"
KEYS = Path("~/.config/segloop")


class RegistryParams(Section):
    """Section `registry`.

    Attributes:
        decisions: SQLAlchemy's URL of the decision log; SEGLOOP_DECISIONS names another, with its password.
        head: The file that remembers how far the log reached.
        reviewers: The allow-list of reviewers' public keys.
        promoter: The promoter's public key.
        four_eyes: Whoever trained a version may not approve it.
    """

    decisions: str = Field(min_length=1)
    head: Path
    reviewers: Path
    promoter: Path
    four_eyes: bool


@dataclass(frozen=True)
class Registry:
    """The decision log of this workspace, and whom it trusts."""

    log: DecisionLog
    params: RegistryParams
    key: "Ed25519PrivateKey | None" = None

    @property
    def reviewers(self) -> dict[str, Reviewer]:
        """The allow-list.

        Raises:
            UserError: It is malformed.
        """
        return read_reviewers(self.params.reviewers)

    @property
    def promoter_keys(self) -> list[str]:
        """The promoter's public keys, from this workspace's files and never from MLflow.

        Raises:
            UserError: They are malformed.
        """
        return read_public_keys(self.params.promoter) if self.params.promoter.exists() else []

    def champion(self, name: str) -> Registered | None:
        """The version that serves, as the log says; None before the first promotion.

        Raises:
            UserError: MLflow has no such version any more.
            OutageError: The log or MLflow is away.
        """
        number = champion(self.log.entries(name))
        if number is None:
            return None
        try:
            return find_version(name, str(number))
        except UserError as error:
            raise UserError(
                f"The decision log says that version {number} is the champion, but MLflow lacks it. Restore it there, "
                f"or go back to the one before with `segloop rollback`. ({error})"
            ) from None

    def state(self, version: Registered) -> State:
        """Where a version stands."""
        return state_of(self.log.entries(version.name), version.version)

    def verdict(self, version: Registered) -> Verdict | None:
        """The last verdict on a version, whether or not it still holds; None without one.

        Raises:
            VerdictError: The log holds something else in its place.
        """
        entry = self.gate_entry(version)
        try:
            return Verdict.model_validate(entry.payload.get("verdict")) if entry else None
        except ValidationError:
            raise VerdictError(
                f"Decision {entry.sequence if entry else 0} holds no verdict that this release can read. Run `segloop "
                f"audit verify`; if the log is sound, judge anew: `segloop gate {version.version} --again`."
            ) from None

    def record_gate(self, verdict: Verdict, made_by: Mapping[str, str]) -> Entry:
        """Appends a verdict to the log, with whom the run names as its author now.

        Raises:
            UserError: The version may not be judged where it stands.
            VerdictError: The log was tampered with.
            OutageError: It is away.
        """
        subject = verdict.candidate
        legal(self.log.entries(subject.name), Kind.GATE, subject.version)
        draft = Draft(
            kind=Kind.GATE,
            model_name=subject.name,
            version=subject.version,
            model_digest=subject.model_digest,
            actor=author(Path()),
            gate_digest=verdict.digest(),
            note=verdict.summary(),
            payload={"verdict": verdict.model_dump(mode="json"), **made_by},
        )
        return self.log.append(draft)

    def gate_entry(self, version: Registered) -> Entry | None:
        """The decision that holds the last verdict on a version; None without one."""
        mine = [each for each in self.log.entries(version.name) if each.version == version.version]
        return next((each for each in reversed(mine) if each.kind == Kind.GATE), None)


def open_registry(params: RegistryParams, *, as_promoter: bool = False) -> Registry:
    """Opens the decision log of this workspace.

    Args:
        params: Section `registry`.
        as_promoter: The promoter's private key is needed; where it lies at its usual place it is used anyway, so that
            every entry's head is signed.

    Raises:
        UserError: The key is missing, or is not the one that this workspace trusts.
        OutageError: The log is away.
    """
    place, params = key_path(), at_root(params)
    if as_promoter and not (place.exists() and params.promoter.exists()):
        missing = place if not place.exists() else params.promoter
        raise UserError(
            f"There is no promoter's key at {missing}. `segloop registry init` makes one; where promotions are made "
            f"elsewhere, {KEY_VARIABLE} names the private key's file."
        )
    trusted = read_public_keys(params.promoter) if params.promoter.exists() else []
    key = load_private(place) if trusted and (as_promoter or _readable(place)) else None
    url = os.environ.get(URL_VARIABLE) or params.decisions
    return Registry(DecisionLog(url, head_file=params.head, key=key, trusted=trusted), params, key)


def at_root(params: RegistryParams) -> RegistryParams:
    """The files as they lie in the project's checkout, also for a command in the workspace of a run.

    There is one log, and so one head of it, one promoter and one list of reviewers.

    Args:
        params: Section `registry`; relative paths are relative to SEGLOOP_ROOT where that is set.
    """
    root = os.environ.get("SEGLOOP_ROOT")
    if not root:
        return params
    files = {name: Path(root) / getattr(params, name) for name in ("head", "reviewers", "promoter")}
    return params.model_copy(update=files)


def key_path() -> Path:
    """Where the promoter's private key lies."""
    named = os.environ.get(KEY_VARIABLE)
    return Path(named) if named else KEYS.expanduser() / "promoter.pem"


def reviewer_key_path(name: str) -> Path:
    """Where a reviewer's private key lies.

    Raises:
        UserError: The name cannot be a file's.
    """
    check_name(name)
    return KEYS.expanduser() / "reviewers" / f"{name}.pem"


def same_inputs(
    verdict: Verdict, contenders: list[Subject], holdout_digest: str, settings_digest: str, *, alone: bool = False
) -> bool:
    """Whether a verdict was made of exactly this: the same evidence of the same versions, holdout and settings."""
    then = [each for each in (verdict.candidate, verdict.champion) if each is not None]
    return (
        [_evidence(each) for each in then] == [_evidence(each) for each in contenders]
        and verdict.holdout_digest == holdout_digest
        and verdict.settings_digest == settings_digest
        and verdict.alone == alone
    )


def _evidence(subject: Subject) -> tuple[int, str, str]:
    return subject.version, subject.model_digest, subject.evidence_digest


def _readable(place: Path) -> bool:
    """Whether the file can be opened: a sandbox that forbids it lets every question about it pass."""
    try:
        with place.open("rb"):
            return True
    except OSError:
        return False
