"""Action: takes annotated batches from an inbox in object storage or a folder into the dataset, each exactly once."""

import re
import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from pydantic import Field

from pipeline.command import NO_ROOM, run
from pipeline.dataset import DatasetParams
from pipeline.errors import OutageError, UserError, VerdictError
from pipeline.images import Limits
from pipeline.inboxes.folder import FolderStore
from pipeline.inboxes.ingestion import Ingestion
from pipeline.inboxes.ledger import moment_of, read_judged, rejected_since
from pipeline.inboxes.manifest import BatchLimits
from pipeline.inboxes.outcomes import Fate, Outcome, show
from pipeline.inboxes.s3 import SCHEME, Connection, S3Store
from pipeline.inboxes.store import ChangedError, Entry, Store
from pipeline.inboxes.take import Taker
from pipeline.inboxes.transfer import Pace
from pipeline.ingest import IngestParams, Target
from pipeline.ingest_guard import locked, refuse_stage_outs
from pipeline.outcome import tell
from pipeline.params import Section, read_section
from pipeline.splits import SplitParams
from pipeline.taxonomy import load_taxonomy

DIGEST = re.compile(r"[0-9a-f]{64}")


class InboxParams(Section):
    """Section `inbox`: where batches come from, how they are fetched, and what they may hold.

    Attributes:
        url: `s3://BUCKET/PREFIX/`, or a folder.
        ledger: The table of verdicts.
        staging: Folder of what is under way.
        group_by: Regular expression that finds the group in a name, where a batch does not state it.
        wait_hours: How long a batch may lack files that its manifest lists.
        longest_pause_s: Longest pause before a file that stopped is continued, in seconds.
        storage: How object storage is reached; `transfers` and `attempts` hold for folders too.
        limits: What a batch may hold.
    """

    url: str
    ledger: Path
    staging: Path
    group_by: str | None
    wait_hours: float = Field(ge=0)
    longest_pause_s: float = Field(ge=0)
    storage: Connection
    limits: BatchLimits


def main(
    url: Annotated[
        str | None, typer.Argument(help="s3://BUCKET/PREFIX/ or a folder, if not params' inbox.url.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be done; change nothing.")] = False,
    since: Annotated[
        str | None, typer.Option(help="Also tell of batches rejected from this moment on, as by an earlier try.")
    ] = None,
    rejected: Annotated[Path, typer.Option(help="Folder of the lists of rejected items.")] = Path("data/rejected"),
    taxonomy: Annotated[Path, typer.Option(help="The taxonomy.")] = Path("data/taxonomy.yaml"),
    params: Annotated[Path, typer.Option(help="The parameters.")] = Path("params.yaml"),
) -> None:
    """Take annotated batches from an inbox in object storage or a folder.

    A batch is a folder with a manifest.json that lists its files and their digests. It is fetched, checked, ingested
    and moved to done/ or rejected/ with a report.json; one without its manifest waits.

    Example: segloop inbox s3://annotations/outbox/ --dry-run
    """
    begun = _begun(since)
    settings = read_section(InboxParams, "inbox", params)
    paths = read_section(DatasetParams, "dataset", params)
    refuse_stage_outs([paths.path / "batch", paths.splits], Path.cwd())
    ingestion = Ingestion(
        Target(paths.path, paths.splits, rejected),
        load_taxonomy(taxonomy),
        read_section(SplitParams, "splits", params),
        read_section(Limits, "limits", params),
        read_section(IngestParams, "ingest", params).workers,
        settings.group_by,
    )
    ingestion.check()
    read_judged(settings.ledger)
    taker = _taker(settings, open_store(url or settings.url, settings.storage), ingestion)
    # One run at a time: two would fetch into the same files.
    with nullcontext() if dry_run else locked(settings.staging / "run"):
        outcomes = _take_all(taker, dry_run=dry_run)
    earlier = [] if begun is None else [row.batch for row in rejected_since(settings.ledger, begun)]
    _conclude(outcomes, earlier, dry_run=dry_run, next_step=f"dvc add {paths.path}, git add {settings.ledger}")


def _begun(since: str | None) -> datetime | None:
    if since is None:
        return None
    if moment := moment_of(since):
        return moment
    raise UserError(f"--since is a time with its zone, such as 2026-05-01T12:00:00+00:00; received {since!r}.")


def open_store(url: str, connection: Connection) -> Store:
    """The store that a URL names: object storage, or else a folder."""
    return S3Store.connect(url, connection) if url.startswith(SCHEME) else FolderStore(Path(url))


def _taker(settings: InboxParams, store: Store, ingestion: Ingestion) -> Taker:
    pace = Pace(settings.storage.transfers, settings.storage.attempts, settings.longest_pause_s)
    wait = timedelta(hours=settings.wait_hours)
    return Taker(store, ingestion, settings.limits, pace, wait, settings.staging, settings.ledger)


def _take_all(taker: Taker, *, dry_run: bool) -> list[Outcome]:
    outcomes: list[Outcome] = []
    bugs: list[Exception] = []
    try:
        for outcome in _each(taker, bugs, dry_run=dry_run):
            outcomes.append(outcome)  # noqa: PERF402 - kept as they come, for the table of a run that breaks off
    finally:
        if outcomes:
            show(outcomes)
    if bugs:
        raise bugs[0]
    if not dry_run:
        _sweep(taker)
    return outcomes


def _each(taker: Taker, bugs: list[Exception], *, dry_run: bool) -> Iterator[Outcome]:
    for batch in taker.store.batches():
        entries: dict[str, Entry] = {}
        size = 0
        if not batch.isprintable():  # no table, report or ledger can hold what is no text
            yield Outcome(ascii(batch), Fate.WAITING, "its name is no printable text: rename the folder", 0, 0)
            continue
        try:
            entries = {entry.path: entry for entry in taker.store.entries(batch)}
            size = sum(entry.bytes for entry in entries.values())
            yield taker.take(batch, entries, dry_run=dry_run)
        except ChangedError as error:
            yield Outcome(batch, Fate.WAITING, f"{error}: the next run sees to it", len(entries), size)
        except OutageError as error:
            yield Outcome(batch, Fate.POSTPONED, str(error), len(entries), size)
        except UserError:
            raise  # of the settings: no batch could be taken
        except Exception as error:  # noqa: BLE001 - raised again after the other batches, which it must not block
            if isinstance(error, OSError) and error.errno in NO_ROOM:
                yield Outcome(batch, Fate.POSTPONED, f"The disk is full: {error}", len(entries), size)
            else:
                bugs.append(error)
                yield Outcome(batch, Fate.FAILED, f"a bug: {error!r}", len(entries), size)


def _sweep(taker: Taker) -> None:
    """Removes what was fetched of batches that are no longer in the inbox."""
    for folder in taker.staging.iterdir():
        if DIGEST.fullmatch(folder.name) and folder.name not in taker.seen:
            shutil.rmtree(folder)


def _conclude(outcomes: list[Outcome], earlier: list[str], *, dry_run: bool, next_step: str) -> None:
    """Tells what came of it; of batches rejected earlier too, since whoever rejected them may have died before."""
    fates = [each.fate for each in outcomes]
    rejected = list(dict.fromkeys([*earlier, *(each.batch for each in outcomes if each.fate is Fate.REJECTED)]))
    tell(rejected=rejected)
    if not outcomes:
        print("No batch is in the inbox.")
    if Fate.ACCEPTED in fates and not dry_run:
        print(f"next: {next_step}, then dvc repro")
    what = "would be rejected" if dry_run else "rejected; the reasons are in their report.json, too"
    said = f"{len(rejected)} batch(es) {what}: {', '.join(rejected)}." if rejected else ""
    if Fate.POSTPONED in fates:
        away = f"{fates.count(Fate.POSTPONED)} batch(es) could not be taken now. Run again later."
        raise OutageError(" ".join(filter(None, [away, said])))
    if rejected:
        raise VerdictError(said)


if __name__ == "__main__":
    run(main)
