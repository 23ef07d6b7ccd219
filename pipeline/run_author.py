"""Who trained a version: what its MLflow run was born with, and what the decision log has kept of it since."""

from collections.abc import Sequence

from pipeline.decisions.entry import Entry
from pipeline.model_versions import Registered
from pipeline.tracking import AUTHOR_TAG, TRIGGER_TAG, client, outage

AUTHOR, TRIGGERED_BY = "author", "triggered_by"  # in the payload of a gate's entry
TAGS = {AUTHOR: AUTHOR_TAG, TRIGGERED_BY: TRIGGER_TAG}


def made_by(version: Registered) -> dict[str, str]:
    """Who trained a version, as MLflow says now: the author of its run, and who started it in Airflow by hand.

    Returns:
        By `author` and `triggered_by`; who is not named is left out.

    Raises:
        OutageError: MLflow is away.
        UserError: It has no such run.
    """
    with outage("reading the run's author"):
        tags = client().get_run(version.run_id).data.tags
    return {name: str(tags[tag]) for name, tag in TAGS.items() if tags.get(tag)}


def authors_of(version: Registered, entries: Sequence[Entry]) -> set[str]:
    """Whoever is named as a version's author now, or was when it was judged.

    MLflow lets anyone who may edit a run edit its author. The log keeps the one that each gate found, so that an edit
    after the first gate frees nobody from the second pair of eyes; one before it does.

    Args:
        version: The version.
        entries: Of its model.

    Raises:
        OutageError: MLflow is away.
        UserError: It has no such run.
    """
    judged = [entry for entry in entries if entry.version == version.version]
    logged = {str(entry.payload[name]) for entry in judged for name in TAGS if name in entry.payload}
    return logged | set(made_by(version).values())
