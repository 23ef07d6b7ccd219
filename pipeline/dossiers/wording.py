"""Puts the gate's names and numbers into the words of the page."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

UNKNOWN = "unknown"
FAMILIES = {
    "iou": "IoU of {}",
    "boundary_f": "Boundary F of {}",
    "false_positive_rate": "False positive rate of {}",
    "non_inferiority": "IoU of {}, candidate minus champion",
}
NAMES = {
    "miou": "Mean IoU",
    "ece": "Calibration error (ECE)",
    "latency_p95_ms": "Latency, 95th percentile",
    "size_mib": "Size of the graph",
}
UNITS = {"latency_p95_ms": ("ms", 1), "size_mib": ("MiB", 1)}
DIGITS = 3
# Families whose values lie between 0 and 1 and are worth comparing on that scale.
ON_SHARES = ("miou", "iou", "boundary_f", "slice")


def family(slo: str) -> str:
    """The first part of a service level's name."""
    return slo.partition("/")[0]


def service_level(slo: str) -> str:
    """A service level in words; its own name where there are none for it."""
    kind, _, rest = slo.partition("/")
    if kind == "slice":
        where, _, _ = rest.rpartition("/")
        column, _, value = where.partition("=")
        return f"Mean IoU where {column} is {value}"
    if kind in FAMILIES and rest:
        return FAMILIES[kind].format(rest)
    return NAMES.get(slo, slo)


def value(number: float | None, slo: str = "") -> str:
    """A figure as the page shows it, with a unit where it has one."""
    if number is None:
        return "undefined"
    unit, digits = UNITS.get(slo, ("", DIGITS))
    if family(slo) == "non_inferiority":
        return signed(number)
    return minus(f"{number:.{digits}f}") + (f" {unit}" if unit else "")


def signed(number: float | None) -> str:
    """A difference; empty where it is undefined."""
    return "" if number is None else minus(f"{number:+.{DIGITS}f}")


def interval(low: float | None, high: float | None, slo: str = "") -> str:
    """An interval; empty without one."""
    return "" if low is None or high is None else f"{value(low, slo)} to {value(high, slo)}"


def duration(seconds: float) -> str:
    """A time span in hours, minutes and seconds."""
    return str(timedelta(seconds=round(seconds)))


def minus(text: str) -> str:
    """A number's text with a true minus sign, which screen readers read as such; zero has no sign."""
    if not any(digit in "123456789" for digit in text):
        return text.lstrip("+-")
    return text.replace("-", "\N{MINUS SIGN}")


def moment(iso: str) -> str:
    """A time in UTC to the minute; the text itself where it is no time."""
    try:
        return datetime.fromisoformat(iso).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    except ValueError:
        return iso


def moment_of(timestamp: float) -> str:
    """A time given in seconds since 1970, in UTC to the minute."""
    return moment(datetime.fromtimestamp(timestamp, UTC).isoformat())


def at_commit(commit: str | None, *, dirty: bool) -> str:
    """A commit, and whether files differed from it."""
    return f"{commit or UNKNOWN} with changes" if dirty else commit or UNKNOWN


def counted(number: int, what: str) -> str:
    """A number of things."""
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def listing(names: Sequence[str], most: int) -> str:
    """Some names within a sentence, and how many more there are."""
    inside = [name if name.startswith("IoU") else name[:1].lower() + name[1:] for name in names[:most]]
    return "; ".join(inside) + (f" and {len(names) - most} more" if len(names) > most else "")
