"""Who trained a version: what its MLflow run was born with, and what the decision log has kept of it since."""

from collections.abc import Sequence

from pipeline.decisions.entry import Entry
from pipeline.model_versions import Registered
from pipeline.tracking import AUTHOR_TAG, client, outage

AUTHOR = "author"  # in the payload of a gate's entry


def author_of(version: Registered) -> str:
    """The author of a version's run as MLflow names it now; empty where the run does not say.

    Raises:
        OutageError: MLflow is away.
        UserError: It has no such run.
    """
    with outage("reading the run's author"):
        return str(client().get_run(version.run_id).data.tags.get(AUTHOR_TAG, ""))


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
    return {author_of(version)} | {str(entry.payload[AUTHOR]) for entry in judged if AUTHOR in entry.payload}
