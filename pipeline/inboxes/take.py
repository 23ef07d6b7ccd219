"""Takes one batch: looks at it, fetches it, ingests it, writes the verdict down and moves the batch, in this order."""

from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pipeline.command import progress
from pipeline.files import sha256_bytes, write_json
from pipeline.inboxes import ledger
from pipeline.inboxes.ingestion import Ingestion
from pipeline.inboxes.ledger import Judged, append_judged, read_judged
from pipeline.inboxes.manifest import MANIFEST, REPORT, BatchError, BatchLimits, Manifest, parse_manifest
from pipeline.inboxes.outcomes import Fate, Outcome
from pipeline.inboxes.store import DONE, REJECTED, Entry, Store
from pipeline.inboxes.transfer import Fetch, Pace
from pipeline.intake_report import holdout_changes

PLACES = {ledger.ACCEPTED: DONE, ledger.REJECTED: REJECTED}
DIGITS = 8  # of the digest, in names
NAME_BYTES = 200


@dataclass(frozen=True)
class Found:
    """A batch as it was found.

    Attributes:
        batch: Its name.
        manifest: The manifest's entry.
        data: The manifest's bytes.
        entries: All its files by path.
    """

    batch: str
    manifest: Entry
    data: bytes
    entries: Mapping[str, Entry] = field(repr=False)

    @property
    def digest(self) -> str:
        """What makes the batch this batch, under whatever name."""
        return sha256_bytes(self.data)

    @property
    def name(self) -> str:
        """Its name in the dataset and after the move; cut where a file system would not take it."""
        return f"{self.batch.encode()[:NAME_BYTES].decode(errors='ignore')}-{self.digest[:DIGITS]}"

    @property
    def uploaded(self) -> str:
        """When its manifest was put there."""
        return self.manifest.modified.astimezone(UTC).isoformat()


@dataclass(frozen=True)
class Taker:
    """Takes batches from a store into the dataset.

    Attributes:
        store: Where the batches lie.
        ingestion: How they enter the dataset.
        limits: What they may hold.
        pace: How they are fetched.
        wait: How long a batch may lack files that its manifest lists.
        staging: Folder of what is under way.
        ledger: The table of verdicts.
        seen: The digests met, whose staging folders are still of use.
    """

    store: Store
    ingestion: Ingestion
    limits: BatchLimits
    pace: Pace
    wait: timedelta
    staging: Path
    ledger: Path
    seen: set[str] = field(default_factory=set)

    def take(self, batch: str, entries: Mapping[str, Entry], *, dry_run: bool) -> Outcome:
        """Takes a batch as far as it goes.

        Args:
            batch: Its name.
            entries: Its files by path.
            dry_run: Tell only what would be done; the manifest is all that is read.

        Raises:
            ChangedError: It changes while it is read.
            OutageError: The store does not hand it over.
        """
        if MANIFEST not in entries:
            newest = max((each.modified for each in entries.values()), default=None)
            return self._outcome(batch, entries, Fate.WAITING, f"no {MANIFEST} yet", newest)
        found = self._found(batch, entries)
        self.seen.add(found.digest)
        earlier = self._earlier(found)
        if earlier:
            return self._again(found, earlier, dry_run=dry_run)
        if self.ingestion.has(found.name):
            return self._ingested(found, dry_run=dry_run)
        return self._judge(found, dry_run=dry_run)

    def _judge(self, found: Found, *, dry_run: bool) -> Outcome:
        try:
            manifest = parse_manifest(found.data, self.limits)
            self.ingestion.refuse(found.name, manifest)
            missing = self._missing(found, manifest)
            if missing:
                return self._outcome(found.batch, found.entries, Fate.WAITING, missing, found.manifest.modified)
            if dry_run:
                return self._outcome(found.batch, found.entries, Fate.ACCEPTED, "would be fetched and ingested")
            return self._accept(found, manifest)
        except BatchError as error:
            return self._reject(found, str(error), dry_run=dry_run)

    def _ingested(self, found: Found, *, dry_run: bool) -> Outcome:
        """A run that died before its verdict had ingested it: whatever has changed since, its items are in."""
        note = "ingested by an earlier run, which ended before it said so"
        if dry_run:
            return self._outcome(found.batch, found.entries, Fate.ACCEPTED, f"{note}; would be moved")
        return self._settle(found, Fate.ACCEPTED, note, {"dataset_batch": found.name})

    def _found(self, batch: str, entries: Mapping[str, Entry]) -> Found:
        data, entry = b"", entries[MANIFEST]
        with self.store.read(batch, entry, 0) as chunks:
            for chunk in chunks:
                data += chunk
                if len(data) > self.limits.max_manifest_bytes:
                    break
        return Found(batch, entry, data[: self.limits.max_manifest_bytes + 1], entries)

    def _earlier(self, found: Found) -> Judged | None:
        """The verdict that stands for this batch: accepted is for ever, rejected is for what was uploaded then."""
        rows = [row for row in read_judged(self.ledger) if row.digest == found.digest]
        accepted = [row for row in rows if row.verdict == ledger.ACCEPTED]
        same = [row for row in rows if (row.batch, row.uploaded) == (found.batch, found.uploaded)]
        return next(iter([*accepted, *same]), None)

    def _missing(self, found: Found, manifest: Manifest) -> str:
        sizes = {path: entry.bytes for path, entry in found.entries.items()}
        lacking = sorted(file.path for file in manifest.files if sizes.get(file.path) != file.bytes)
        if not lacking:
            return ""
        words = f"{len(lacking)} of {len(manifest.files)} files are missing or of another size, first {lacking[0]!r}"
        if datetime.now(UTC) - found.manifest.modified > self.wait:
            raise BatchError(f"{words}, {self.wait.total_seconds() / 3600:g} hours after its {MANIFEST} came")
        return words

    def _accept(self, found: Found, manifest: Manifest) -> Outcome:
        staging = self.staging / found.digest
        fetch = Fetch(self.store, found.batch, staging, self.pace)
        fetched = fetch.all(manifest, found.entries)
        deque(progress(fetched, total=len(manifest.files), label=f"fetch {found.batch}"), maxlen=0)
        taken = self.ingestion.take(staging / "files", found.name, manifest)
        counts = f"{taken.accepted} items, {taken.unchanged} unchanged, {len(taken.left_out)} left out"
        note = "; ".join(filter(None, [counts, holdout_changes(taken.held_out)]))
        extra = {"dataset_batch": found.name, "unlisted_files": len(found.entries) - len(manifest.files) - 1}
        return self._settle(found, Fate.ACCEPTED, note, {**asdict(taken), **extra})

    def _reject(self, found: Found, reason: str, *, dry_run: bool) -> Outcome:
        if dry_run:
            return self._outcome(found.batch, found.entries, Fate.REJECTED, reason)
        return self._settle(found, Fate.REJECTED, reason, {})

    def _settle(self, found: Found, fate: Fate, note: str, extra: Mapping[str, object]) -> Outcome:
        """Writes the verdict down, then moves the batch: whoever dies in between finds the verdict again."""
        at = datetime.now(UTC).isoformat()  # in full: `rejected_since` compares it with moments
        row = Judged(found.digest, found.batch, fate.value, at, found.uploaded, note)
        write_json(self._report(found), {**_as_report(row), **extra})
        append_judged(self.ledger, row)
        return self._move(found, row)

    def _again(self, found: Found, earlier: Judged, *, dry_run: bool) -> Outcome:
        same = earlier.batch == found.batch
        note = f"{earlier.verdict} before" if same else f"{earlier.verdict} before, as {earlier.batch}"
        if earlier.verdict == ledger.REJECTED:
            note += f": {earlier.note}; upload its {MANIFEST} again to have it judged anew"
        if dry_run:
            return self._outcome(found.batch, found.entries, Fate(earlier.verdict), f"{note}; would be moved")
        return self._move(found, earlier, note)

    def _move(self, found: Found, row: Judged, note: str = "") -> Outcome:
        report = self._report(found)
        if not report.exists() or row.batch != found.batch:
            write_json(report, {**_as_report(row), "batch": found.batch, "repeats": row.batch})
        target = f"{PLACES[row.verdict]}/{found.name}"
        self.store.move(found.batch, found.manifest, target, report.read_bytes())
        self.seen.discard(found.digest)
        return self._outcome(found.batch, found.entries, Fate(row.verdict), note or row.note)

    def _report(self, found: Found) -> Path:
        return self.staging / found.digest / REPORT

    def _outcome(
        self, batch: str, entries: Mapping[str, Entry], fate: Fate, note: str, since: datetime | None = None
    ) -> Outcome:
        age = datetime.now(UTC) - since if since else None
        return Outcome(batch, fate, note, len(entries), sum(each.bytes for each in entries.values()), age)


def _as_report(row: Judged) -> dict[str, object]:
    return {"schema": 1, **asdict(row)}
