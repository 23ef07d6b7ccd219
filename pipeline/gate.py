"""Action: judges a registered version against the service levels and the champion."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from pipeline.aliases import show_state
from pipeline.command import run
from pipeline.dataset import DatasetParams
from pipeline.decisions.states import JUDGED, State, champion
from pipeline.errors import UserError, VerdictError
from pipeline.evaluate import EvaluateParams, open_holdout
from pipeline.files import write_json
from pipeline.gate_report import print_verdict
from pipeline.gating.claims import Classes
from pipeline.gating.counts import Counts, paired, read_counts
from pipeline.gating.judge import Figure, Judgement, judge
from pipeline.gating.slo import GateParams
from pipeline.gating.verdict import LabelNoise, Subject, Verdict
from pipeline.holdout_counts import HoldoutCounts, Measuring, holdout_counts, judging_digest
from pipeline.images import Limits
from pipeline.label_doubts import label_doubts
from pipeline.latency import latency_p95_ms, machine
from pipeline.model_versions import Registered, VersionFiles, fetch, find_version
from pipeline.outcome import tell
from pipeline.outputs import short
from pipeline.params import read_section
from pipeline.register import RegisterParams
from pipeline.registry_access import Registry, RegistryParams, open_registry, same_inputs
from pipeline.run_author import made_by
from pipeline.taxonomy import load_taxonomy
from pipeline.tracking import client, configure, shown

MIB = 1 << 20
VERDICT = "verdict.json"
OUTCOME_TAG, DIGEST_TAG = "segloop.gate", "segloop.gate_digest"


@dataclass(frozen=True)
class Contender:
    """A version with its files and what it did on today's holdout."""

    version: Registered
    files: VersionFiles
    found: HoldoutCounts
    counts: Counts

    @property
    def subject(self) -> Subject:
        """How the verdict names it."""
        return Subject(
            name=self.version.name,
            version=self.version.version,
            run_id=self.version.run_id,
            model_digest=self.files.model_digest,
            evidence_digest=self.found.digest,
            measured=self.found.measured,
        )


def main(
    version: Annotated[str, typer.Argument(help="Its number or alias.")] = "candidate",
    data: Annotated[Path, typer.Option(help="The folder of the stages' outputs, for today's holdout.")] = Path("data"),
    out: Annotated[Path, typer.Option(help="Folder that gets verdict.json.")] = Path("data/gate"),
    again: Annotated[bool, typer.Option("--again", help="Judge anew, though a valid verdict exists.")] = False,
    alone: Annotated[
        bool, typer.Option("--alone", help="Without the champion, which has other classes or is lost.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Judge and print; record nothing.")] = False,
    taxonomy: Annotated[Path, typer.Option(help="The taxonomy.")] = Path("data/taxonomy.yaml"),
    params: Annotated[Path, typer.Option(help="The parameters.")] = Path("params.yaml"),
) -> None:
    """Judge a version against the service levels and the champion.

    Exits 0 when it passes, 1 when it does not. Where the champion cannot be compared with, since it has other classes
    or MLflow has lost it, --alone judges without it; only an override promotes on such a verdict.

    Example: segloop gate candidate
    """
    settings = read_section(GateParams, "gate", params)
    name = read_section(RegisterParams, "register", params).model_name
    holdout = open_holdout(read_section(DatasetParams, "dataset", params).path, data / "holdout.json")
    measuring = Measuring(
        holdout,
        load_taxonomy(taxonomy),
        read_section(EvaluateParams, "evaluate", params),
        read_section(Limits, "limits", params),
    )
    check_names(settings, measuring)
    registry = open_registry(read_section(RegistryParams, "registry", params))
    configure()
    wanted = find_version(name, version)
    if registry.state(wanted) is State.CHAMPION:
        raise UserError(f"{wanted.title} is the champion already; judge another version.")
    alone = alone and champion(registry.log.entries(name)) is not None
    contenders = [contender(wanted, measuring), *([] if alone else rivals(registry, wanted, measuring))]
    before = None if again else standing(registry, contenders, measuring, settings, alone=alone)
    verdict = before or decide(contenders, measuring, settings, alone=alone)
    if not dry_run:
        write_json(out / VERDICT, verdict.model_dump(mode="json"))
        if before is None:
            registry.record_gate(verdict, made_by(wanted))
    tell(version=wanted.version, verdict=verdict.summary(), passed=verdict.passed, gate_digest=verdict.digest())
    print_verdict(verdict, judged_before=before is not None)
    if not dry_run:
        publish(verdict, out / VERDICT, registry)
    if not verdict.passed:
        raise VerdictError(f"{wanted.title} {verdict.summary()}.")


def standing(
    registry: Registry, contenders: list[Contender], measuring: Measuring, settings: GateParams, *, alone: bool
) -> Verdict | None:
    """The last verdict, if it was made of exactly this and the version has not served since; else None."""
    wanted = contenders[0].version
    last = registry.verdict(wanted)
    if last is None or registry.state(wanted) not in JUDGED | {State.BLOCKED}:
        return None
    subjects = [each.subject for each in contenders]
    digest = judging_digest(settings, measuring.taxonomy, measuring.settings)
    same = same_inputs(last, subjects, str(measuring.holdout.facts["digest"]), digest, alone=alone)
    return last if same else None


def contender(version: Registered, measuring: Measuring) -> Contender:
    """Brings a version's files and its counts on today's holdout together.

    Raises:
        UserError: Its files are missing or damaged, or of another taxonomy.
        OutageError: MLflow is away.
    """
    files = fetch(version)
    found = holdout_counts(files, measuring)
    counts = read_counts(found.rows, measuring.taxonomy.num_classes, measuring.holdout.slices)
    return Contender(version, files, found, counts)


def rivals(registry: Registry, wanted: Registered, measuring: Measuring) -> list[Contender]:
    """The champion, as what the version is compared with; none before the first promotion.

    Raises:
        UserError: It cannot be compared with: MLflow lacks it or its files, or it has other classes.
        OutageError: MLflow is away.
    """
    try:
        serving = registry.champion(wanted.name)
        return [] if serving is None else [contender(serving, measuring)]
    except UserError as error:
        raise UserError(
            f"The champion cannot be compared with. {error} To judge without it, for an override: "
            f"`segloop gate {wanted.version} --alone`."
        ) from None


def decide(contenders: list[Contender], measuring: Measuring, settings: GateParams, *, alone: bool = False) -> Verdict:
    """Judges the first contender, beside the second if there is one."""
    candidate, rival = contenders[0], contenders[1] if len(contenders) > 1 else None
    critical = frozenset(each.name for each in measuring.taxonomy.classes if each.critical)
    classes = Classes(measuring.taxonomy.names, critical)
    figures = [
        Figure("size_mib", "The graph's size", _size_mib(candidate.files), settings.size_mib, "MiB"),
        Figure(
            "latency_p95_ms",
            "The 95th percentile of an image's time",
            latency_p95_ms(measuring.open(candidate.files), measuring, settings.latency_images),
            settings.latency_p95_ms,
            "ms",
        ),
    ]
    judged = judge(candidate.counts, rival.counts if rival else None, classes, settings, figures)
    noise = _label_noise(candidate, rival, measuring, settings, judged) if rival else LabelNoise()
    return Verdict(
        passed=judged.passed,
        candidate=candidate.subject,
        champion=rival.subject if rival else None,
        alone=alone,
        holdout_digest=str(measuring.holdout.facts["digest"]),
        settings_digest=judging_digest(settings, measuring.taxonomy, measuring.settings),
        class_names=list(classes.names),
        critical_classes=sorted(critical),
        acknowledged=measuring.holdout.facts["acknowledged"],
        decisions=judged.decisions,
        resampled=judged.resampled,
        label_noise=noise,
        machine=machine(),
        decided_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def publish(verdict: Verdict, file: Path, registry: Registry) -> None:
    """Shows the verdict in MLflow: tags of the version and a file of its run; for people, never proof.

    Raises:
        OutageError: MLflow is away; the verdict is in the decision log all the same.
    """
    subject = verdict.candidate
    with shown("verdict"):
        store, number = client(), str(subject.version)
        store.set_model_version_tag(subject.name, number, OUTCOME_TAG, "passed" if verdict.passed else "blocked")
        store.set_model_version_tag(subject.name, number, DIGEST_TAG, verdict.digest())
        show_state(subject.name, registry.log.entries(subject.name), subject.version)
        store.log_artifact(subject.run_id, str(file), f"gate/version-{number}-{short(verdict.digest())}")


def check_names(settings: GateParams, measuring: Measuring) -> None:
    """Refuses service levels of classes that the taxonomy does not have: they would be judged by nobody.

    Raises:
        UserError: One names an unknown class.
    """
    families = ("iou", "boundary_f", "false_positive_rate", "non_inferiority")
    for family in families:
        unknown = sorted(set(getattr(settings, family).classes) - set(measuring.taxonomy.names))
        if unknown:
            raise UserError(
                f"params.yaml, section 'gate': {family}.classes names {unknown}, which the taxonomy does not have "
                f"(it has {measuring.taxonomy.names}). Mend the spelling or remove them."
            )


def _size_mib(files: VersionFiles) -> float:
    return (files.export / "model.onnx").stat().st_size / MIB


def _label_noise(
    candidate: Contender, champion: Contender, measuring: Measuring, settings: GateParams, judged: Judgement
) -> LabelNoise:
    """Images whose mask both contradict, and how the verdict would read without them."""
    ours, theirs = paired(candidate.counts, champion.counts)
    graphs = [measuring.open(each.files) for each in (candidate, champion)]
    doubts = label_doubts((graphs[0], ours), (graphs[1], theirs), measuring, settings.doubt)
    if not doubts:
        return LabelNoise()
    doubted = {doubt.item_id for doubt in doubts}
    kept = [number for number, item in enumerate(ours.item_ids) if item not in doubted]
    if not kept:
        return LabelNoise(doubts=doubts)
    critical = frozenset(each.name for each in measuring.taxonomy.classes if each.critical)
    classes = Classes(measuring.taxonomy.names, critical)
    without = judge(ours.take(kept), theirs.take(kept), classes, settings)
    before = {each.slo: each for each in judged.decisions}
    changed = [each.slo for each in without.decisions if each.outcome != before[each.slo].outcome]
    figures_block = any(each.blocks for each in judged.decisions if each.slo not in {d.slo for d in without.decisions})
    return LabelNoise(doubts=doubts, passed_without=without.passed and not figures_block, changed_without=changed)


if __name__ == "__main__":
    run(main)
