"""The assets by which the DAGs wake each other; each event has a partition key, so that none is lost."""

from collections.abc import Container, Sequence

from airflow.sdk import Asset

REMEMBERED = 100  # events looked back on

# Without partitions a busy consumer swallows events (apache/airflow#56050); with them every key gets its own run. An
# event without a key wakes nobody, and neither does one that comes while its consumer is paused.
DATASET = Asset(name="dataset", uri="segloop://dataset", group="segloop")  # key: the release's tag
RETRAIN = Asset(name="retrain", uri="segloop://retrain", group="segloop")  # key: an id of the evidence
CANDIDATE = Asset(name="candidate", uri="segloop://candidate", group="segloop")  # key: the version's number


def unannounced(releases: Sequence[str], told: Container[str | None]) -> list[str]:
    """The releases that are to be announced now.

    Args:
        releases: All that there are, the oldest first.
        told: Those that there is an event of.

    Returns:
        The ones after the oldest of `told` that are not among it; only the newest where none is.
    """
    known = [place for place, release in enumerate(releases) if release in told]
    return [release for release in releases[known[0] if known else -1 :] if release not in told]
