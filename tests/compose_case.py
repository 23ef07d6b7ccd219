"""The compose file and the image's recipe as an engine reads them."""

import os
import re
import shutil
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
DOCKERFILE = ROOT / "ops" / "docker" / "Dockerfile"
VARIABLE = re.compile(r"\$\{([A-Z_]+)(:-|:\?)?([^}]*)\}")


def example() -> dict[str, str]:
    """The variables of .env.example."""
    lines = (ROOT / ".env.example").read_text().splitlines()
    pairs = (line.partition("=") for line in lines if line.strip() and not line.startswith("#"))
    return {name: value.replace("${HOME}", "/home/someone") for name, _, value in pairs}


def composed() -> dict[str, Any]:
    """The file with the variables of the example in place."""
    values = example()

    def value(match: re.Match[str]) -> str:
        return values.get(match[1]) or (match[3] if match[2] == ":-" else values[match[1]])

    content = yaml.safe_load(VARIABLE.sub(value, (ROOT / "docker-compose.yml").read_text()))
    return {name: part for name, part in content.items() if not name.startswith("x-")}


def mounts(service: dict[str, Any]) -> dict[str, tuple[str, bool]]:
    """What is mounted where: the source by the target, and whether it can be written."""
    found = {}
    for volume in service.get("volumes", []):
        if isinstance(volume, dict):
            found[volume["target"]] = (volume["source"], not volume.get("read_only", False))
        else:
            source, target, *options = volume.split(":")
            found[target] = (source, options != ["ro"])
    return found


def words(service: dict[str, Any]) -> list[str]:
    """A service's command as the container gets it."""
    return [str(word).replace("$$", "$") for word in service["command"]]


def copied() -> dict[str, str]:
    """Folders of the project that the image gets, by their place in it."""
    lines = re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE.read_text().rpartition("\nFROM ")[2], re.MULTILINE)
    return {target: source for source, target in (line.split() for line in lines)}


def image_variables() -> dict[str, str]:
    """The variables that the image sets."""
    last = DOCKERFILE.read_text().rpartition("\nFROM ")[2].replace("\\\n", " ")
    return dict(pair.split("=", 1) for line in re.findall(r"^ENV (.+)$", last, re.MULTILINE) for pair in line.split())


def lay_out(image: Path) -> None:
    """Copies what the image gets into a folder that stands for its root, as .dockerignore lets it through."""
    for target, source in copied().items():
        for file in (ROOT / source).rglob("*"):
            relative = file.relative_to(ROOT)
            if file.is_file() and let_through(relative.as_posix()):
                place = image / target.lstrip("/") / file.relative_to(ROOT / source)
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, place)


def let_through(path: str) -> bool:
    """Whether .dockerignore lets a file into the build; the last rule about it, or about a folder of it, counts."""
    parents = [path, *map(os.fspath, Path(path).parents)][:-1]
    kept = True
    for rule in (ROOT / ".dockerignore").read_text().splitlines():
        if rule and not rule.startswith("#"):
            pattern = rule.removeprefix("!").removeprefix("**/")
            anywhere = "**/" in rule
            if any(fnmatch(Path(each).name if anywhere else each, pattern) for each in parents):
                kept = rule.startswith("!")
    return kept
