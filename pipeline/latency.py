"""Times a graph on this machine, image by image."""

import os
import platform
import time
from itertools import islice
from pathlib import Path

import numpy as np

from pipeline.holdout_counts import Measuring
from pipeline.images import decode_image
from pipeline.inference import Segmenter

PERCENTILE = 95
WARM_UP = 2


def latency_p95_ms(segmenter: Segmenter, measuring: Measuring, images: int) -> float:
    """The 95th percentile of the time that one holdout image takes, from pixels to the label map, in milliseconds.

    Decoding is not counted. A few runs before the first count warm up.

    Args:
        segmenter: The graph.
        measuring: The holdout and its limits.
        images: How many images are timed; the holdout's first.
    """
    times = []
    for number, (_, image, _) in enumerate(islice(measuring.holdout.read(), images)):
        pixels = np.ascontiguousarray(decode_image(image, measuring.limits))
        for counted in [False] * WARM_UP * (number == 0) + [True]:
            start = time.perf_counter()
            segmenter.predict(pixels)
            if counted:
                times.append((time.perf_counter() - start) * 1000)
    return float(np.percentile(times, PERCENTILE))


def machine() -> dict[str, str | int | float]:
    """What a latency was measured on."""
    return {
        "processor": _processor(),
        "machine": platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def _processor() -> str:
    """The processor's name where the system tells it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
