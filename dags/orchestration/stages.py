"""The graph of stages, as dvc.yaml declares it: what each stage needs."""

import re
from pathlib import Path
from typing import Any

import yaml

from orchestration import settings

PLACE = re.compile(r"\$\{([^}]+)\}")


def stages() -> dict[str, list[str]]:
    """The stages that the last one needs, in the order in which they can run, each with those right before it.

    A stage whose output nobody takes is none of them: with a dataset of one's own, the demo's is not rendered.
    """
    root = settings.root()
    declared = _resolved(_read(root / "dvc.yaml")["stages"], _read(root / "params.yaml"))
    makers = {out: name for name, stage in declared.items() for out in stage["outs"]}
    before = {
        name: sorted({makers[dep] for dep in map(str, stage["deps"]) if dep in makers} | _inside(stage, makers))
        for name, stage in declared.items()
    }
    needed = _ancestors(before, list(declared)[-1])
    return {name: before[name] for name in declared if name in needed}


def _inside(stage: dict[str, Any], makers: dict[str, str]) -> set[str]:
    """The makers of folders in which something lies that the stage needs."""
    return {maker for dep in stage["deps"] for out, maker in makers.items() if dep.startswith(f"{out}/")}


def _ancestors(before: dict[str, list[str]], last: str) -> set[str]:
    found, open_ = set(), [last]
    while open_:
        name = open_.pop()
        found.add(name)
        open_ += [each for each in before[name] if each not in found]
    return found


def _resolved(declared: dict[str, Any], params: dict[str, Any]) -> dict[str, dict[str, list[str]]]:
    def value(match: re.Match[str]) -> str:
        place: Any = params
        for key in match[1].split("."):
            place = place[key]
        return str(place)

    def paths(entries: list[Any]) -> list[str]:
        names = [next(iter(each)) if isinstance(each, dict) else str(each) for each in entries]
        return [PLACE.sub(value, name) for name in names]

    return {
        name: {"deps": paths(stage.get("deps", [])), "outs": paths(stage.get("outs", []))}
        for name, stage in declared.items()
    }


def _read(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return content
