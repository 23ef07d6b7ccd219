"""The assets by which the DAGs wake each other; each event has a partition key, so that none is lost."""

from airflow.sdk import Asset

# Without partitions a busy consumer swallows events (apache/airflow#56050); with them every key gets its own run.
DATASET = Asset(name="dataset", uri="segloop://dataset", group="segloop")  # key: the release's tag
RETRAIN = Asset(name="retrain", uri="segloop://retrain", group="segloop")  # key: an id of the evidence
CANDIDATE = Asset(name="candidate", uri="segloop://candidate", group="segloop")  # key: the version's number
