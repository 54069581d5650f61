"""Reading `deploy/` as Docker does, so that tests start what is written there. No tests."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
# ${NAME}, ${NAME:-value where it is empty}, ${NAME:?error where it is empty}. Source: Compose, "Interpolation".
_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^{}]*))?\}")


class NotSetError(Exception):
    """A variable that the compose file demands is not set; the message is the file's."""


@dataclass(frozen=True)
class Service:
    """One service of the compose file, with all that its image and the file say of its process."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    health: tuple[str, ...]
    after: tuple[str, ...]
    raw: Mapping[str, Any]


def read_services(variables: Mapping[str, str]) -> dict[str, Service]:
    """Read the compose file with `variables` as its `.env`, which services with an `env_file` get as they are."""
    text = (DEPLOY / "compose.yaml").read_text()
    while (filled := _VARIABLE.sub(lambda match: _value(match, variables), text)) != text:
        text = filled
    return {name: _service(name, raw, variables) for name, raw in yaml.safe_load(text)["services"].items()}


def image_environment() -> dict[str, str]:
    """Return what the Dockerfile sets for each process."""
    [line] = re.findall(r"^ENV (.+)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    return dict(item.split("=", 1) for item in line.split())


def example_settings() -> dict[str, str]:
    """Return the variables of `.env.example`, each with its default, "" for none."""
    lines = (ROOT / ".env.example").read_text().splitlines()
    return dict(line[1:].split("=", 1) for line in lines if re.match(r"#[A-Z_]+=", line))


def _value(match: re.Match[str], variables: Mapping[str, str]) -> str:
    name, operator, rest = match.groups()
    if variables.get(name):
        return variables[name]
    if operator == "?":
        raise NotSetError(f"{name}: {rest}")
    return rest or ""


def _service(name: str, raw: Mapping[str, Any], variables: Mapping[str, str]) -> Service:
    own = image_environment() if "build" in raw else {}
    given = variables if "env_file" in raw else {}
    return Service(
        name,
        tuple(raw.get("command", ())),
        {**own, **given, **raw.get("environment", {})},
        tuple(raw["healthcheck"]["test"][1:]),
        tuple(raw.get("depends_on", ())),
        raw,
    )
