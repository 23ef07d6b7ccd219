"""What a job is: the stage, the commit and where to get it, where inputs come from and results go. No secrets."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from pipeline.params import Section

Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Commit = Annotated[str, Field(pattern="^[0-9a-f]{40,64}$")]
NAME_LENGTH = 32  # a label of Kubernetes has at most 63 characters


class Source(Section):
    """Where the commit is to be had.

    Attributes:
        url: A git remote, or a folder of this machine; None for a bundle.
        ref: What is fetched from there, or out of the bundle.
        bundle: The bundle's path on the DVC remote.
    """

    url: str | None = None
    ref: str
    bundle: str | None = None

    @model_validator(mode="after")
    def _one(self) -> "Source":
        if (self.url is None) == (self.bundle is None):
            raise ValueError(f"either url or bundle, received {self.url!r} and {self.bundle!r}")
        return self


class Remote(Section):
    """The DVC remote, by reference: credentials are found by the job's own machine.

    Attributes:
        name: As DVC calls it.
        options: Its configuration, without secrets.
    """

    name: str
    options: dict[str, Any]


class Spec(Section):
    """A job.

    Attributes:
        schema_version: Of this form.
        key: DVC's digest of the stage with all its inputs, params and code: what the result is a function of.
        stage: In `dvc.yaml`.
        commit: Code, params and pointers to data, as the workspace had them.
        source: Where the commit is to be had.
        release: Whose data it is; None in a workspace of no release.
        overrides: Params by `section.key`, for people: the commit has them.
        cache: DVC's cache, of a job on the same machine; results are then there, and nothing is pushed.
        remote: Where inputs are pulled from and results pushed to, of a job on another machine.
        checkpoint_s: A job on another machine keeps its checkpoints on the remote this often.
        author: Who submitted it, which neither its machine nor its clone knows.
        triggered_by: The account in Airflow of whoever started the run by hand.
    """

    schema_version: Literal[1] = 1
    key: Digest
    stage: str
    commit: Commit
    source: Source
    release: str | None = None
    overrides: dict[str, Any] = Field(default_factory=dict)
    cache: str | None = None
    remote: Remote | None = None
    checkpoint_s: float = Field(default=300, gt=0)
    author: str | None = None
    triggered_by: str | None = None

    @model_validator(mode="after")
    def _complete(self) -> "Spec":
        if (self.cache is None) == (self.remote is None):
            raise ValueError("either cache or remote: results have one place")
        if self.source.bundle and self.remote is None:
            raise ValueError("a bundle lies on a remote, and there is none")
        return self

    @property
    def name(self) -> str:
        """The key, short enough for labels and folders."""
        return self.key[:NAME_LENGTH]

    @property
    def folder(self) -> str:
        """What the job keeps on the DVC remote beside inputs and results."""
        return folder_of(self.name)


def folder_of(name: str) -> str:
    """Where a job keeps its bundle and its checkpoints on the DVC remote."""
    return f"segloop/jobs/{name}"
