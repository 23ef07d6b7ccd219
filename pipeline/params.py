"""Reads one section of params.yaml into a model that forbids unknown keys."""

from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.errors import UserError, near_names

S = TypeVar("S", bound="Section")
M = TypeVar("M", bound=BaseModel)


class Section(BaseModel):
    """Base of every section's model: unknown keys are errors, numbers are finite, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def read_section(model: type[S], section: str, file: Path) -> S:
    """Reads and checks one section.

    Args:
        model: The section's model.
        section: Its name in the file: the name of the stage or action.
        file: The parameters file.

    Raises:
        UserError: The file is missing or is no YAML mapping, the section is missing, a key is unknown, missing or
            of a wrong type; the message names the section and the key.
    """
    sections = read_yaml(file)
    if section not in sections:
        raise UserError(f"{file} has no section '{section}'. It has: {', '.join(map(str, sections))}.")
    return parse(model, sections[section], f"{file}, section '{section}'")


def parse(model: type[M], value: object, where: str) -> M:
    """Checks a value read from a file against a model.

    Raises:
        UserError: The value does not fit; the message names each offending key and the value received.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        problems = "; ".join(_problem(each, model) for each in error.errors())
        raise UserError(f"{where}: {problems}") from None


def _problem(error: object, model: type[BaseModel]) -> str:
    assert isinstance(error, dict)
    key = ".".join(map(str, error["loc"]))
    message = str(error["msg"]).removeprefix("Value error, ")
    # Our own checks of several keys at once name the values that matter: the whole would bury them.
    own = error["type"] == "value_error" and isinstance(error["input"], dict | list | tuple)
    received = "" if own or error["type"] in {"missing", "extra_forbidden"} else f", received {error['input']!r}"
    if error["type"] == "extra_forbidden":
        near = near_names([key], model.model_fields)
        message = f"unknown key.{near}" if near else "unknown key; remove it or mend its spelling"
    return f"key '{key}': {message}{received}" if key else f"{message}{received}"


def read_yaml(file: Path) -> dict[str, object]:
    """Reads a YAML file whose top level is a mapping.

    Raises:
        UserError: The file is missing, is not YAML, or its top level is something else.
    """
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise UserError(f"There is no file {file}. Run from the workspace's root or name another file.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{file} is not readable as YAML: {error}") from None
    if not isinstance(content, dict):
        raise UserError(f"{file} must hold a mapping at its top level, received {type(content).__name__}.")
    return content
