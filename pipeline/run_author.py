"""Who trained a version: what its MLflow run was born with."""

from pipeline.model_versions import Registered
from pipeline.tracking import AUTHOR_TAG, client, outage


def author_of(version: Registered) -> str:
    """The author of a version's run; empty where the run does not say.

    MLflow lets anyone who may edit a run edit this too: four eyes keep honest people careful, and no forger out.

    Raises:
        OutageError: MLflow is away.
        UserError: It has no such run.
    """
    with outage("reading the run's author"):
        return str(client().get_run(version.run_id).data.tags.get(AUTHOR_TAG, ""))
