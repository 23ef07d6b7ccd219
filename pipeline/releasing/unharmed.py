"""Objects as their names promise: read only from a place where their bytes have the digest that names them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from pipeline.errors import UserError
from pipeline.releasing.storage import Place, away
from pipeline.releasing.verification import DIR, md5_of


class DamagedError(UserError):
    """An object lies somewhere, and nowhere with the digest of its name."""


def unharmed(place: Place, md5: str) -> bool:
    """Whether a place has an object with the digest of its name.

    Raises:
        OutageError: The place does not answer.
    """
    with away(f"Reading {md5}", place):
        if not place.has(md5):
            return False
        with place.odb.fs.open(place.odb.oid_to_path(md5), "rb") as file:
            return md5_of(file) == md5.removesuffix(DIR)


@contextmanager
def opened_object(places: list[Place], md5: str, what: str) -> Iterator[BinaryIO | None]:
    """Opens an object at the first place that has it unharmed; None where none has it at all.

    Args:
        places: Where to look, in this order.
        md5: DVC's digest of it.
        what: It, for an error message: `the part 93126 of data/v1`.

    Raises:
        DamagedError: It is there, and unharmed nowhere.
        OutageError: A place does not answer.
    """
    harmed = []
    for place in places:
        with away(f"Reading {md5}", place):
            if not place.has(md5):
                continue
            path = place.odb.oid_to_path(md5)
            with place.odb.fs.open(path, "rb") as file:
                if md5_of(file) == md5.removesuffix(DIR):
                    file.seek(0)
                    yield file
                    return
            harmed.append(f"{place.name} ({path})")
    if harmed:
        raise DamagedError(
            f"{what} is damaged in {' and in '.join(harmed)}, and nowhere unharmed: nobody can tell what it holds. "
            "Send it again from a clone that has it (`dvc push`), or, where none has, delete it there: it is lost."
        )
    yield None
