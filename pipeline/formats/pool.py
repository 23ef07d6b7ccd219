"""Converts items in worker processes, in order, holding few of them in memory."""

import multiprocessing
import os
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice

from pipeline.errors import OutageError
from pipeline.formats.convert import Conversion, Converted, convert
from pipeline.formats.source import SourceItem

POOL_PAYS_AFTER_S = 2.0
AHEAD = 8


def convert_all(items: list[SourceItem], how: Conversion, workers: int) -> Iterator[Converted]:
    """Converts items, yielding them in their order.

    Args:
        items: The items.
        how: How they are converted.
        workers: Processes; 0 takes every core. They are started only once the work has taken as long as that takes.

    Raises:
        OutageError: A worker process died, as it does when memory runs out.
    """
    count = workers or os.cpu_count() or 1
    stream, started = iter(items), time.monotonic()
    for item in stream:
        yield convert(item, how)
        if count > 1 and time.monotonic() - started > POOL_PAYS_AFTER_S:
            break
    rest = list(stream)
    if not rest:
        return
    # Spawned, not forked: Arrow's threads do not survive a fork.
    with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            yield from _windowed(pool, rest, how, count * AHEAD)
        except BrokenProcessPool:
            raise OutageError(
                "A converting process was killed: by somebody, or by the system for want of memory. Run it again, "
                "with less memory at hand lower `ingest.workers`."
            ) from None


def _windowed(
    pool: ProcessPoolExecutor, items: Iterable[SourceItem], how: Conversion, width: int
) -> Iterator[Converted]:
    stream = iter(items)
    running: deque[Future[Converted]] = deque(pool.submit(convert, item, how) for item in islice(stream, width))
    try:
        while running:
            done = running.popleft().result()
            running.extend(pool.submit(convert, item, how) for item in islice(stream, 1))
            yield done
    finally:
        for each in running:
            each.cancel()
