"""The account of the agreement and its pairs, as machines read them."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from pipeline.agreement.annotators import Annotator
from pipeline.agreement.report import Report, reason
from pipeline.agreement.totals import PairRow
from pipeline.scores import by_class, number
from pipeline.taxonomy import Taxonomy
from training.boundary import BoundaryCounts
from training.metrics import ratio

SCHEMA = 1


def as_json(account: Report, taxonomy: Taxonomy) -> dict[str, Any]:
    """The content of agreement.json: NaN becomes null, classes go by name."""
    names = taxonomy.names
    content = {
        name: getattr(account, name) for name in ("images", "pairs", "groups", "more_looks", "problems", "model")
    }
    return content | {
        "schema": SCHEMA,
        "miou": asdict(account.miou),
        "alpha": asdict(account.alpha),
        "fleiss_kappa": {str(count): number(value) for count, value in account.fleiss_kappa.items()},
        "classes": {row.name: asdict(row) for row in account.classes},
        "annotators": {each.name: _annotator(each, names) for each in account.annotators},
        "between": [asdict(each) for each in account.between],
        "third_looks": [_look(row, names) for row in account.looks],
    }


def pair_table(pairs: Sequence[PairRow]) -> pd.DataFrame:
    """A row a pair, for pairs.parquet; scores by class are lists by id, NaN where undefined."""
    rows = [
        {
            "sha256": row.sha256, "group": row.group,
            "item_a": row.items[0], "item_b": row.items[1],
            "annotator_a": row.annotators[0], "annotator_b": row.annotators[1],
            "same_annotator": row.same_annotator,
            "compared_px": row.compared_px, "disputed_px": row.disputed_px, "void_px": row.void_px,
            "kappa": row.kappa,
            "both_px": row.both_px.tolist(), "either_px": row.either_px.tolist(),
            "iou": ratio(row.both_px, row.either_px).tolist(),
            "dice": ratio(2 * row.both_px, row.both_px + row.either_px).tolist(),
            "boundary_f": BoundaryCounts(*row.outlines).f_score().tolist(),
            "look_class": row.look.label if row.look else None,
            "look_iou": row.look.iou if row.look else None,
            "look_px": row.look.disputed_px if row.look else None,
        }
        for row in pairs
    ]  # fmt: skip
    table = pd.DataFrame(rows).astype({"look_class": "Int64", "look_iou": "Float64", "look_px": "Int64"})
    return table.sort_values(["item_a", "item_b"], ignore_index=True)


def _annotator(each: Annotator, names: Sequence[str]) -> dict[str, Any]:
    return {
        "items": each.items,
        "agreement": number(each.agreement),
        "miou": number(each.miou),
        "iou": by_class(each.iou, names),
        "dice": by_class(each.dice, names),
        "own_error": None if each.own_error is None else asdict(each.own_error),
        "sensitivity": None if each.sensitivity is None else by_class(each.sensitivity, names),
        "specificity": None if each.specificity is None else by_class(each.specificity, names),
        "median_s": each.seconds,
        "timed": each.timed,
        "mixups": [
            {"others": names[mixup.others], "drawn": names[mixup.drawn], "px": mixup.px, "share": mixup.share}
            for mixup in each.mixups
        ],
    }


def _look(row: PairRow, names: Sequence[str]) -> dict[str, Any]:
    assert row.look is not None
    return {
        "items": list(row.items),
        "annotators": list(row.annotators),
        "sha256": row.sha256,
        "class": names[row.look.label],
        "critical": row.look.critical,
        "iou": row.look.iou,
        "disputed_px": row.look.disputed_px,
        "box": list(row.look.box),
        "reason": reason(row, names),
    }
