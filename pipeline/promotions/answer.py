"""What the promoter says: what became of an answer given in Airflow."""

from typing import Literal

from pydantic import BaseModel


class Answer(BaseModel):
    """What became of an answer.

    Attributes:
        outcome: `promoted`; `rejected`, which is on the record; `already`, since it was taken before; `refused`.
        reason: A sentence.
        version: The version; None where the run names none.
        review: Number of the decision that records the review; None without one.
        certificate: Number of the decision that let it serve; None without one.
    """

    outcome: Literal["promoted", "rejected", "already", "refused"]
    reason: str
    version: int | None = None
    review: int | None = None
    certificate: int | None = None
