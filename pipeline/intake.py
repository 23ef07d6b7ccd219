"""Decides which converted items enter the dataset, as which revision, and to which split their groups go."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from pipeline.errors import UserError
from pipeline.files import digest_json, sha256_bytes
from pipeline.formats.convert import Converted
from pipeline.formats.plan import Planned
from pipeline.formats.source import Facts, SourceItem
from pipeline.parts import Item
from pipeline.splits import HOLDOUT, MOVE_OUT, ONE_SIDE, Ledger, LedgerRow, SplitParams, assign, place

SHOWN = 10
NOTHING = "(nothing)"
SELECTED = "selected"


@dataclass(frozen=True)
class Known:
    """An item that the dataset holds already.

    Attributes:
        revision: Its revision.
        group: Its group, which it keeps for ever.
        facts: What is known of it; a further revision keeps what its source does not state.
        sampling: How it was chosen.
        source_split: The split it came with, when that was taken over.
        content: Digests of image, mask source and stored mask; None when the item has been removed.
    """

    revision: int
    group: str
    facts: Facts
    sampling: str
    source_split: str | None
    content: tuple[str, str, str] | None


@dataclass(frozen=True)
class Rules:
    """How a batch enters the dataset.

    Attributes:
        batch: The batch's name.
        source: Where it comes from.
        sampling: `uniform`, or `selected` when a model chose the images.
        relabel: Known items with other content become a new revision rather than an error.
        accept_split: The split folders of the source are taken over into the ledger.
        splits: Shares of the splits.
        class_names: The taxonomy's classes by id.
    """

    batch: str
    source: str
    sampling: str
    relabel: bool
    accept_split: bool
    splits: SplitParams
    class_names: tuple[str, ...]


@dataclass
class Intake:
    """Judges converted items one by one and keeps what the report and the ledger need of them.

    Attributes:
        plan: What is planned for each item, by name.
        known: Items that other batches hold, by name.
        own: Items that this very batch holds already, when it is run again, by name.
        purged: Why an image was removed for good and must not come back, by the SHA-256 of its bytes.
        ledger: The split ledger as it stands.
        rules: How the batch enters.
    """

    plan: Mapping[str, Planned]
    known: Mapping[str, Known]
    ledger: Ledger
    rules: Rules
    own: Mapping[str, Known] = field(default_factory=dict)
    purged: Mapping[str, str] = field(default_factory=dict)
    rejects: dict[str, str] = field(default_factory=dict)
    unchanged: int = 0
    oriented: int = 0
    fingerprints: dict[str, tuple[str, str]] = field(default_factory=dict)
    found: Counter[tuple[str, str]] = field(default_factory=Counter)
    _unknown: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    _clashes: list[str] = field(default_factory=list)
    _regrouped: list[str] = field(default_factory=list)
    _class_px: dict[str, np.ndarray] = field(default_factory=dict)
    _sizes: Counter[str] = field(default_factory=Counter)
    _came_with: dict[tuple[str, str], None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Reads the ledger once; its property walks all rows."""
        self._splits = self.ledger.splits

    def items(self, converted: Iterable[Converted]) -> Iterator[Item]:
        """Yields the items that enter.

        Raises:
            UserError: After the last item: values that nothing maps, or known items with other content.
        """
        for each in converted:
            item = self._judged(each, self.plan[each.name])
            if item is not None:
                yield item
        self._refuse_unknown()
        self._refuse_clashes()

    def ledger_rows(self) -> list[LedgerRow]:
        """The ledger's new rows for the items that entered: splits taken over, balanced at first, hashed later."""
        if self.rules.accept_split:
            return [LedgerRow(group, split, self.rules.batch) for group, split in sorted(self._came_with)]
        new = {group: px for group, px in sorted(self._class_px.items()) if group not in self._splits}
        selected = self.rules.sampling == SELECTED
        params = self.rules.splits.model_copy(update={"test": 0.0}) if selected else self.rules.splits
        if self.ledger.rows:
            placed = {group: place(group, self.rules.sampling, params) for group in new}
        else:
            placed = assign(new, self._sizes, params)
        return [LedgerRow(group, split, self.rules.batch) for group, split in sorted(placed.items())]

    def _judged(self, converted: Converted, planned: Planned) -> Item | None:
        problem = converted.problem or self.purged.get(converted.sha256) or self._misplaced(planned)
        if problem:
            self.rejects[converted.name] = problem
            return None
        self._count(converted, planned.item)
        known = self.known.get(converted.name)
        if known and not self._changed(converted, planned, known):
            return None
        item = self._item(converted, planned, known)
        self.fingerprints[item.item_id] = fingerprint(item)
        self._sizes[planned.group] += 1
        px = np.array(converted.class_px, dtype=np.float64)
        self._class_px[planned.group] = self._class_px.get(planned.group, 0) + px
        if item.source_split is not None:
            self._came_with[planned.group, item.source_split] = None
        return item

    def _misplaced(self, planned: Planned) -> str:
        if self.rules.accept_split:
            return "" if planned.item.split else "it lies in no split folder, and --accept-split takes them over"
        splits = self._splits.get(planned.group, set())
        if self.rules.sampling == SELECTED and HOLDOUT in splits:
            return f"its group '{planned.group}' is in the holdout, which selected images never enter: {MOVE_OUT}"
        placed = planned.item.name in self.known or planned.item.name in self.own
        if len(splits) > 1 and not placed:
            straddled = f"its group '{planned.group}' straddles the splits {sorted(splits)}, so it has no side to be on"
            return f"{straddled}: {ONE_SIDE}"
        return ""

    def _count(self, converted: Converted, item: SourceItem) -> None:
        self.oriented += converted.orientation != 1
        for (value, name), pixels in converted.found.items():
            if name is None:
                file = item.image if isinstance(item.mask, tuple) else item.mask
                self._unknown.setdefault(value, []).append((pixels, str(file)))
            self.found[value, name or NOTHING] += pixels

    def _changed(self, converted: Converted, planned: Planned, known: Known) -> bool:
        if planned.group != known.group:
            self._regrouped.append(f"{converted.name} (group '{known.group}' would become '{planned.group}')")
            return False
        content = (converted.sha256, converted.mask_source_sha256, sha256_bytes(converted.mask))
        if content == known.content:
            self.unchanged += 1
            return False
        if known.content is None:
            return True
        if not self.rules.relabel:
            self._clashes.append(converted.name)
        return self.rules.relabel

    def _item(self, converted: Converted, planned: Planned, known: Known | None) -> Item:
        source, earlier = planned.item, known or self._own_revision(converted.name)
        facts = _facts(planned, earlier)
        inherited = earlier.source_split if earlier else None
        return Item(
            item_id=converted.name,
            image=converted.image,
            mask=converted.mask,
            image_path=source.image.name if source.image else "",
            mask_path="" if isinstance(source.mask, tuple) or source.mask is None else source.mask.name,
            group=planned.group,
            sha256=converted.sha256,
            mask_source_sha256=converted.mask_source_sha256,
            source=self.rules.source,
            revision=known.revision + 1 if known else 1,
            sequence_index=facts.sequence_index,
            annotator=facts.annotator,
            captured_at=facts.captured_at,
            source_split=source.split if self.rules.accept_split else inherited,
            # Once selected by a model, an item stays so: a later annotation does not change how it was found.
            sampling=SELECTED if earlier and earlier.sampling == SELECTED else self.rules.sampling,
            slices=dict(facts.slices),
        )

    def _own_revision(self, name: str) -> Known | None:
        """What a re-run inherits again: this batch's own item, where it was a further revision."""
        own = self.own.get(name)
        return own if own and own.revision > 1 else None

    def _refuse_unknown(self) -> None:
        if not self._unknown:
            return
        lines = []
        for value, places in sorted(self._unknown.items(), key=lambda each: -sum(px for px, _ in each[1]))[:SHOWN]:
            pixels, files = sum(px for px, _ in places), [file for _, file in places]
            lines.append(f"'{value}': {pixels} px in {len(files)} file(s), first {files[0]}")
        more = f" and {len(self._unknown) - SHOWN} more values" if len(self._unknown) > SHOWN else ""
        raise UserError(
            f"The masks hold values that nothing maps to a class: {'; '.join(lines)}{more}. "
            f"Map them to a class or to 'ignore' in the taxonomy, under remaps, '{self.rules.source}', and name it by "
            f"--source {self.rules.source}; --dry-run lists every value. Nothing was written.",
        )

    def _refuse_clashes(self) -> None:
        if self._regrouped:
            first = ", ".join(self._regrouped[:SHOWN])
            raise UserError(
                f"{len(self._regrouped)} item(s) are in the dataset under another group: {first}. A group never "
                "changes: repeat the --group-by of the first ingestion, or rename the items. Nothing was written.",
            )
        if self._clashes:
            first = ", ".join(self._clashes[:SHOWN])
            raise UserError(
                f"{len(self._clashes)} item(s) are in the dataset with other content: {first}. "
                "Use --relabel to make them new revisions, or rename them. Nothing was written.",
            )


def _facts(planned: Planned, earlier: Known | None) -> Facts:
    """What is stated of an item, completed by what was known of it; a merely counted place gives way to a known one."""
    stated = replace(planned.item.facts, sequence_index=planned.sequence_index)
    if earlier is None:
        return stated
    held = earlier.facts
    keeps_place = planned.counted and held.sequence_index is not None
    return Facts(
        sequence_index=held.sequence_index if keeps_place else stated.sequence_index,
        annotator=stated.annotator or held.annotator,
        captured_at=stated.captured_at or held.captured_at,
        slices={**held.slices, **stated.slices},
    )


def fingerprint(item: Item) -> tuple[str, str]:
    """The digests of what a re-run of the same batch would have to repeat, and of the mask that became of it.

    The former has the mask as it came: a migration of the taxonomy changes what it becomes.
    """
    captured = item.captured_at.isoformat() if item.captured_at else None
    content = [item.item_id, item.sha256, item.mask_source_sha256]
    facts = [item.group, item.sequence_index, item.annotator, captured, item.source, item.sampling]
    told = digest_json([*content, *facts, item.source_split, sorted(item.slices.items())])
    return told, sha256_bytes(item.mask)
