"""What each part says of its masks' classes, and whether a taxonomy may read them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

CLASSES_KEY = b"segloop.classes"
# A part that a migration of the taxonomy wrote says here which one, and which batches it has looked through.
MIGRATION_KEY = b"segloop.migration"
Headers = Mapping[Path, Mapping[bytes, bytes]]


def class_list(header: Mapping[bytes, bytes]) -> list[str]:
    """The classes by id that a part's masks were converted to; empty where it does not say."""
    found: list[str] = json.loads(header.get(CLASSES_KEY, b"[]"))
    return found


def migration_of(header: Mapping[bytes, bytes]) -> dict[str, Any] | None:
    """What a part that a migration wrote says of it; None of any other part."""
    return json.loads(header[MIGRATION_KEY]) if MIGRATION_KEY in header else None


def first_foreign(headers: Headers, class_names: Sequence[str]) -> tuple[Path, list[str]] | None:
    """The first part whose ids mean something else than a taxonomy's, with its classes; None when all can be read.

    Classes may be added at the end. A part of before a migration can be read where the migration to these very classes
    has looked through its batch: what it had to change there has a later revision.

    Args:
        headers: The metadata of each part, by its path DATASET/BATCH/part.
        class_names: The taxonomy's classes by id.
    """
    names = list(class_names)
    known = {part: class_list(header) for part, header in headers.items()}
    fitting = [part for part, stored in known.items() if stored == names[: len(stored)]]
    seen = {batch for part in fitting for batch in (migration_of(headers[part]) or {"batches": []})["batches"]}
    for part, stored in known.items():
        if part not in fitting and part.parent.name not in seen:
            return part, stored
    return None
