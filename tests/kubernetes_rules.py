"""What Kubernetes holds valid of a pod, and what its selectors and patches mean; for the stand-in of its API."""

import re
from typing import Any

import kubernetes_validate

VERSION = "1.35"
NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
LABEL = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")
LONGEST = 63


def problems(body: dict[str, Any]) -> list[str]:
    """What makes a pod invalid."""
    try:
        kubernetes_validate.validate(body, VERSION, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [error.message]
    metadata, spec, container = body["metadata"], body["spec"], body["spec"]["containers"][0]
    found = [
        f"{where}: {key}={value}"
        for where, labels in (
            ("metadata.labels", metadata.get("labels")),
            ("spec.nodeSelector", spec.get("nodeSelector")),
        )
        for key, value in (labels or {}).items()
        for part in (key.rpartition("/")[2], value)
        if len(part) > LONGEST or not LABEL.fullmatch(part)
    ]
    name = metadata.get("name") or metadata.get("generateName", "").rstrip("-")
    if not NAME.fullmatch(name) or len(name) > LONGEST:
        found.append(f"metadata.name: {name!r}")
    volumes = {each["name"] for each in spec.get("volumes", [])}
    found += [f"volumeMounts: {each['name']}" for each in container["volumeMounts"] if each["name"] not in volumes]
    asked, limits = (container["resources"].get(part, {}) for part in ("requests", "limits"))
    found += [
        f"resources: {each} must be limit and request alike"
        for each in {*asked, *limits}
        if "/" in each and asked.get(each, limits.get(each)) != limits.get(each)
    ]
    return found


def chosen(selector: str, labels: dict[str, str]) -> bool:
    """Whether labels meet a selector: `a=b,a!=b,a,!a`."""
    for term in filter(None, selector.split(",")):
        name, sign, value = re.fullmatch(r"(!?[^!=]+)(==|!=|=)?(.*)", term).groups()  # type: ignore[union-attr]
        if sign is None:
            met = (name.lstrip("!") in labels) is not name.startswith("!")
        else:
            met = (labels.get(name) == value) is (sign != "!=")
        if not met:
            return False
    return True


def merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """A merge patch: RFC 7386."""
    changes = {key: merged(old.get(key) or {}, each) if isinstance(each, dict) else each for key, each in new.items()}
    both = old | changes
    return {key: value for key, value in both.items() if value is not None}
