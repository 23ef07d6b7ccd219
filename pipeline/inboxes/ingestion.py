"""Ingests a fetched batch as `segloop ingest` would, and tells what became of its items."""

from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.errors import UserError
from pipeline.formats import READERS, read_source
from pipeline.formats.convert import Conversion
from pipeline.formats.labels import Labels
from pipeline.formats.plan import plan
from pipeline.formats.source import SourceItem
from pipeline.images import Limits
from pipeline.inboxes.manifest import BatchError, Manifest
from pipeline.ingest import Target, add, begun
from pipeline.intake import Intake, Rules
from pipeline.intake_report import held_out
from pipeline.part_writer import BATCH_NAME
from pipeline.parts import check_classes
from pipeline.releasing.purged import read_record
from pipeline.splits import SplitParams, read_ledger
from pipeline.taxonomy import Taxonomy
from pipeline.version_remaps import chosen_remap, is_version, version_name


@dataclass(frozen=True)
class Taken:
    """What became of the items of a batch.

    Attributes:
        accepted: Items that entered, or had entered before.
        unchanged: Items that another batch holds just so.
        left_out: Why items could not be used, by name.
        outcome: What happened, as a sentence.
        held_out: How many of the items that entered change the holdout.
    """

    accepted: int
    unchanged: int
    left_out: dict[str, str]
    outcome: str
    held_out: int


@dataclass(frozen=True)
class Ingestion:
    """How batches enter the dataset: all that the owner of the dataset decides, and no batch.

    Attributes:
        target: The dataset, its ledger, the folder of the lists of what was left out.
        taxonomy: The classes.
        splits: Shares of the splits.
        limits: What is refused before decoding.
        workers: Processes that convert; 0 takes every core.
        group_by: Regular expression that finds the group in a name, where nothing states it.
    """

    target: Target
    taxonomy: Taxonomy
    splits: SplitParams
    limits: Limits
    workers: int
    group_by: str | None

    def check(self) -> None:
        """Makes sure that all but the batches is in order, so that none of them is blamed for it.

        Raises:
            UserError: They are not.
        """
        read_ledger(self.target.splits)
        read_record(self.target.purged)
        check_classes(self.target.dataset, self.taxonomy.names)
        plan([], self.group_by, None)

    def has(self, name: str) -> bool:
        """Whether a batch of this name is in the dataset: it appears whole, or not at all."""
        return (self.target.dataset / name).is_dir()

    def refuse(self, name: str, manifest: Manifest) -> None:
        """Refuses what can be told by the manifest alone.

        Args:
            name: The name that the batch gets in the dataset.
            manifest: What it says of itself.

        Raises:
            BatchError: Name, format, source or taxonomy version do not fit this project.
        """
        if not BATCH_NAME.fullmatch(name):
            raise BatchError(
                f"a batch's folder has at most 91 letters, digits, '.', '_' and '-', received {name[:-9]!r}"
            )
        if manifest.format not in READERS:
            raise BatchError(f"there is no format '{manifest.format}'; formats: {', '.join(READERS)}")
        if manifest.source and manifest.source not in self.taxonomy.remaps:
            known = ", ".join(self.taxonomy.remaps) or "none"
            raise BatchError(f"the taxonomy has no remap '{manifest.source}'; it has: {known}")
        version = version_name(manifest.taxonomy_version)
        if manifest.taxonomy_version != self.taxonomy.version and version not in self.taxonomy.remaps:
            raise BatchError(
                f"it was drawn with version {manifest.taxonomy_version} of the taxonomy, this project has version "
                f"{self.taxonomy.version} and no remap '{version}': annotate it anew, or write that remap"
            )
        if is_version(manifest.source) and manifest.source != version:
            raise BatchError(f"its source is '{manifest.source}', its taxonomy_version {manifest.taxonomy_version}")

    def take(self, root: Path, name: str, manifest: Manifest) -> Taken:
        """Adds a batch to the dataset, whole or not at all; a second time finds it there and adds nothing.

        Args:
            root: The folder with the batch's files, all of them checked.
            name: The name that the batch gets in the dataset.
            manifest: What it says of itself.

        Raises:
            BatchError: Its content cannot be used; the reason names files as the batch does.
            OutageError: A process died, as it does when memory runs out.
        """
        try:
            intake, outcome = self._ingest(root, name, manifest)
        except UserError as error:
            raise BatchError(_as_named_there(str(error), root)) from None
        left_out = {item: _as_named_there(why, root) for item, why in sorted(intake.rejects.items())}
        return Taken(len(intake.fingerprints), intake.unchanged, left_out, outcome, held_out(intake))

    def _ingest(self, root: Path, name: str, manifest: Manifest) -> tuple[Intake, str]:
        source = read_source(root, manifest.format)
        items = [_completed(item, manifest) for item in source.items]
        planned = plan(items, self.group_by, None)
        remap = chosen_remap(self.taxonomy, manifest.source, source.legend, manifest.taxonomy_version)
        labels = Labels(self.taxonomy, remap, source.legend)
        how = Conversion(labels, self.limits, mask_as_stored=False)
        # The split that a batch comes with is never taken over, and no item of another batch is overwritten unasked.
        rules = Rules(
            batch=name,
            source=manifest.format if is_version(manifest.source) else manifest.source or manifest.format,
            sampling=manifest.sampling,
            relabel=manifest.relabel,
            accept_split=False,
            splits=self.splits,
            class_names=tuple(self.taxonomy.names),
        )
        with begun(planned, how, self.target, rules, self.workers, dry_run=False) as (intake, converted):
            return intake, add(intake, converted, self.target, dry_run=False)


def _completed(item: SourceItem, manifest: Manifest) -> SourceItem:
    facts = replace(
        item.facts,
        annotator=item.facts.annotator or manifest.annotator,
        captured_at=item.facts.captured_at or manifest.captured_at,
    )
    return replace(item, facts=facts)


def _as_named_there(text: str, root: Path) -> str:
    said = text.replace("--relabel", '`"relabel": true` in the manifest')
    return said.replace(f"{root}/", "").replace(str(root), "the batch")
