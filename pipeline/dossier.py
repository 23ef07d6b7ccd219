"""Action: writes the page that a reviewer looks at before deciding on a version."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from pipeline.command import run
from pipeline.dataset import DatasetParams
from pipeline.decisions.states import NEXT, State
from pipeline.dossiers.inputs import DossierInputs, DossierParams, RunFacts, Side
from pipeline.dossiers.log_entries import log_entries
from pipeline.errors import UserError
from pipeline.evaluate import EvaluateParams, open_holdout
from pipeline.files import write_atomic
from pipeline.gate import Contender, contender
from pipeline.gating import measures
from pipeline.gating.bootstrap import Bootstrap
from pipeline.gating.claims import Classes
from pipeline.gating.judge import units_of
from pipeline.gating.slo import GateParams
from pipeline.gating.verdict import Verdict
from pipeline.holdout_counts import Measuring
from pipeline.images import Limits
from pipeline.model_versions import Registered, find_version
from pipeline.outcome import tell
from pipeline.params import read_section
from pipeline.register import RegisterParams
from pipeline.registry_access import Registry, RegistryParams, open_registry
from pipeline.taxonomy import load_taxonomy
from pipeline.tracking import AUTHOR_TAG, COMMIT_TAG, DIRTY_TAG, client, configure, outage

FOLDER, TAG = "dossier", "segloop.dossier"


@dataclass(frozen=True)
class Places:
    """Where a dossier is made from, and where it goes.

    Attributes:
        data: The folder of the stages' outputs, for today's holdout.
        out: Folder that gets the page.
        taxonomy: The taxonomy.
        params: The parameters.
    """

    data: Path = Path("data")
    out: Path = Path("data/dossiers")
    taxonomy: Path = Path("data/taxonomy.yaml")
    params: Path = Path("params.yaml")


def main(
    version: Annotated[str, typer.Argument(help="Its number or alias.")] = "candidate",
    data: Annotated[Path, typer.Option(help="The folder of the stages' outputs, for today's holdout.")] = Places.data,
    out: Annotated[Path, typer.Option(help="Folder that gets the page.")] = Places.out,
    taxonomy: Annotated[Path, typer.Option(help="The taxonomy.")] = Places.taxonomy,
    params: Annotated[Path, typer.Option(help="The parameters.")] = Places.params,
) -> None:
    """Write the page that a reviewer looks at before deciding on a version.

    One HTML file without any need of a network; attached to the version's run in MLflow, and linked from the
    version's tag and description.

    Example: segloop dossier candidate
    """
    registry = open_registry(read_section(RegistryParams, "registry", params))
    configure()
    wanted = find_version(read_section(RegisterParams, "register", params).model_name, version)
    page = refresh(registry, wanted, Places(data, out, taxonomy, params))
    print(f"{wanted.title}: {page} ({page.stat().st_size / 1000:.0f} kB), also in its MLflow run under {FOLDER}/")
    tell(dossier=str(page))
    state = registry.state(wanted)
    print(f"it is {state.value}: {NEXT[state]}")


def refresh(registry: Registry, wanted: Registered, places: Places) -> Path:
    """Writes the page of a judged version as of now, and attaches it in the place of an earlier one.

    Returns:
        The page.

    Raises:
        UserError: The version was never judged, or not on today's holdout; or its evidence is missing or damaged.
        OutageError: MLflow or the decision log is away.
    """
    from pipeline.dossiers.page import build

    page = places.out / f"{wanted.name}-{wanted.version}.html"
    write_atomic(page, build(gather(registry, wanted, places)))
    attach(wanted, page)
    return page


def gather(registry: Registry, wanted: Registered, places: Places) -> DossierInputs:
    """Brings everything together that the page tells.

    Raises:
        UserError: The version was never judged, or not on today's holdout; or its files are missing or damaged.
        OutageError: MLflow or the decision log is away.
    """
    params = places.params
    verdict = registry.verdict(wanted)
    if verdict is None:
        raise UserError(f"{wanted.title} was never judged: run `segloop gate {wanted.version}` first.")
    dataset, listed = read_section(DatasetParams, "dataset", params).path, places.data / "holdout.json"
    holdout, limits = open_holdout(dataset, listed), read_section(Limits, "limits", params)
    if holdout.facts["digest"] != verdict.holdout_digest:
        serves = registry.state(wanted) is State.CHAMPION
        when = " once another version serves" if serves else ""  # the gate refuses the champion
        raise UserError(
            f"{wanted.title} was judged on another holdout: run `segloop gate {wanted.version} --again`{when}."
        )
    settings = read_section(EvaluateParams, "evaluate", params)
    measuring = Measuring(holdout, load_taxonomy(places.taxonomy), settings, limits)
    judging = read_section(GateParams, "gate", params)
    rival = find_version(wanted.name, str(verdict.champion.version)) if verdict.champion else None
    return DossierInputs(
        verdict=verdict,
        candidate=side(contender(wanted, measuring), judging, verdict),
        champion=side(contender(rival, measuring), judging, verdict) if rival else None,
        dataset=dataset,
        holdout=listed,
        limits=limits,
        params=read_section(DossierParams, "dossier", params),
        repository=Path(),
        log=log_entries(registry.log.entries(wanted.name), wanted.version),
    )


def side(one: Contender, settings: GateParams, verdict: Verdict) -> Side:
    """One of the two models, with intervals where the verdict has none, drawn as the gate draws them."""
    units = units_of(one.counts, Classes(verdict.class_names, frozenset(verdict.critical_classes)), settings)
    bootstrap = Bootstrap(units, settings.replicates, settings.seed)
    wanted = {
        ("miou",): measures.miou(one.counts),
        tuple(f"iou/{name}" for name in verdict.class_names): measures.iou(one.counts),
    }
    intervals: dict[str, tuple[float, float]] = {}
    for names, measure in wanted.items():
        bounds = zip(names, *bootstrap.replicate(measure).interval(), strict=True)
        intervals |= {name: (float(low), float(high)) for name, low, high in bounds if low <= high}
    return Side(one.files.root, rows=one.found.rows, run=run_facts(one.version), intervals=intervals)


def run_facts(version: Registered) -> RunFacts:
    """What MLflow knows of the run.

    Raises:
        OutageError: MLflow is away.
    """
    with outage("reading the run"):
        data = client().get_run(version.run_id).data
    return RunFacts(
        # The version's own first: it may have been exported long after its training.
        commit=version.tags.get(COMMIT_TAG) or data.tags.get(COMMIT_TAG),
        dirty="true" in {each.get(DIRTY_TAG) for each in (version.tags, data.tags)},
        dataset_digest=data.tags.get("segloop.dataset_digest"),
        author=data.tags.get(AUTHOR_TAG),
        params=dict(data.params),
    )


def attach(version: Registered, page: Path) -> None:
    """Puts the page beside the run, and the way to it into the version's tag and description.

    Raises:
        OutageError: MLflow is away; the page is written all the same.
    """
    with outage(f"attaching the dossier; it lies in {page}"):
        store, number, place = client(), str(version.version), f"{FOLDER}/{page.name}"
        store.log_artifact(version.run_id, str(page), FOLDER)
        store.set_model_version_tag(version.name, number, TAG, f"runs:/{version.run_id}/{place}")
        experiment = store.get_run(version.run_id).info.experiment_id
        # The address within MLflow's own pages, wherever they are served.
        link = f"Dossier: [{place}](#/experiments/{experiment}/runs/{version.run_id}/artifacts/{place})"
        said = store.get_model_version(version.name, number).description or ""
        if link not in said.splitlines():
            store.update_model_version(version.name, number, f"{said}\n\n{link}".lstrip())


if __name__ == "__main__":
    run(main)
