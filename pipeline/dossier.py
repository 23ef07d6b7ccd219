"""Action: writes the page that a reviewer looks at before deciding on a version."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.command import run
from pipeline.dataset import DatasetParams
from pipeline.dossiers.inputs import DossierInputs, DossierParams, LogEntry, RunFacts, Side
from pipeline.errors import UserError
from pipeline.evaluate import EvaluateParams, open_holdout
from pipeline.files import write_atomic
from pipeline.gate import Contender, contender
from pipeline.gating import measures
from pipeline.gating.bootstrap import Bootstrap
from pipeline.gating.slo import GateParams
from pipeline.gating.units import resampling
from pipeline.gating.verdict import Verdict
from pipeline.holdout_counts import Measuring
from pipeline.images import Limits
from pipeline.model_versions import Registered, find_version
from pipeline.params import read_section
from pipeline.register import RegisterParams
from pipeline.registry_access import Registry, RegistryParams, open_registry
from pipeline.taxonomy import load_taxonomy
from pipeline.tracking import AUTHOR_TAG, COMMIT_TAG, DIRTY_TAG, client, configure, outage

FOLDER, TAG = "dossier", "segloop.dossier"


def main(
    version: Annotated[str, typer.Argument(help="Its number or alias.")] = "candidate",
    data: Annotated[Path, typer.Option(help="The folder of the stages' outputs, for today's holdout.")] = Path("data"),
    out: Annotated[Path, typer.Option(help="Folder that gets the page.")] = Path("data/dossiers"),
    taxonomy: Annotated[Path, typer.Option(help="The taxonomy.")] = Path("data/taxonomy.yaml"),
    params: Annotated[Path, typer.Option(help="The parameters.")] = Path("params.yaml"),
) -> None:
    """Write the page that a reviewer looks at before deciding on a version.

    One HTML file without any need of a network; attached to the version's run in MLflow and named by its tag.

    Example: segloop dossier candidate
    """
    from pipeline.dossiers.page import build

    registry = open_registry(read_section(RegistryParams, "registry", params))
    configure()
    name = read_section(RegisterParams, "register", params).model_name
    wanted = find_version(name, version)
    verdict = registry.verdict(wanted)
    if verdict is None:
        raise UserError(f"{wanted.title} was never judged: run `segloop gate {wanted.version}` first.")
    dataset = read_section(DatasetParams, "dataset", params).path
    limits = read_section(Limits, "limits", params)
    holdout = open_holdout(dataset, data / "holdout.json")
    if holdout.facts["digest"] != verdict.holdout_digest:
        raise UserError(f"{wanted.title} was judged on another holdout: run `segloop gate {wanted.version} --again`.")
    settings = read_section(EvaluateParams, "evaluate", params)
    measuring = Measuring(holdout, load_taxonomy(taxonomy), settings, limits)
    judging = read_section(GateParams, "gate", params)
    rival = find_version(name, str(verdict.champion.version)) if verdict.champion else None
    inputs = DossierInputs(
        verdict=verdict,
        candidate=side(contender(wanted, measuring), judging, verdict),
        champion=side(contender(rival, measuring), judging, verdict) if rival else None,
        dataset=dataset,
        holdout=data / "holdout.json",
        limits=limits,
        params=read_section(DossierParams, "dossier", params),
        repository=Path(),
        log=decisions(registry, wanted),
    )
    page = out / f"{wanted.name}-{wanted.version}.html"
    write_atomic(page, build(inputs))
    attach(wanted, page)
    print(f"{wanted.title}: {page} ({page.stat().st_size / 1000:.0f} kB), also in its MLflow run under {FOLDER}/")
    print(f"next: segloop review {wanted.version} approve|reject --note TEXT")


def side(one: Contender, settings: GateParams, verdict: Verdict) -> Side:
    """One of the two models, with intervals where the verdict has none."""
    units = resampling(
        one.counts.groups, one.counts.sequence, min_groups=settings.few_groups, block_frames=settings.block_frames
    )
    low, high = Bootstrap(units, settings.replicates, settings.seed).replicate(measures.iou(one.counts)).interval()
    intervals = {
        f"iou/{name}": (float(low[number]), float(high[number]))
        for number, name in enumerate(verdict.class_names)
        if low[number] <= high[number]
    }
    return Side(one.files.root, rows=one.found.rows, run=run_facts(one.version), intervals=intervals)


def run_facts(version: Registered) -> RunFacts:
    """What MLflow knows of the run.

    Raises:
        OutageError: MLflow is away.
    """
    with outage("reading the run"):
        data = client().get_run(version.run_id).data
    return RunFacts(
        commit=data.tags.get(COMMIT_TAG),
        dirty=data.tags.get(DIRTY_TAG) == "true",
        dataset_digest=data.tags.get("segloop.dataset_digest"),
        author=data.tags.get(AUTHOR_TAG),
        params=dict(data.params),
    )


def decisions(registry: Registry, version: Registered) -> list[LogEntry]:
    """What the decision log has about a version."""
    mine = [entry for entry in registry.log.entries(version.name) if entry.version == version.version]
    return [LogEntry(entry.at, entry.kind, entry.actor, entry.note, override=entry.override) for entry in mine]


def attach(version: Registered, page: Path) -> None:
    """Puts the page beside the run, and its place into the version's tags.

    Raises:
        OutageError: MLflow is away; the page is written all the same.
    """
    with outage(f"attaching the dossier; it lies in {page}"):
        client().log_artifact(version.run_id, str(page), FOLDER)
        place = f"runs:/{version.run_id}/{FOLDER}/{page.name}"
        client().set_model_version_tag(version.name, str(version.version), TAG, place)


if __name__ == "__main__":
    run(main)
