"""Parses the commands that containers run with the programs' own parsers, without running them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

import click
from docker_files import DOCKERFILE, IMAGE_FOLDER, ROOT, compose
from ray.scripts.scripts import cli as ray_cli

from rllib_mec.cli import cli as rllib_cli

PROGRAMS = {"ray": ray_cli, "rllib": rllib_cli}
COMPOSE_COMMANDS = {"up", "down", "ps", "logs", "exec", "run", "build", "stop"}


class CommandError(Exception):
    """A command that its program would refuse."""


def check(command: Sequence[str] | str) -> list[list[str]]:
    """Returns the commands of ray and rllib in a command, once they have been parsed.

    Raises:
        CommandError: an option, a file or a service in it does not exist.
    """
    words = shlex.split(command) if isinstance(command, str) else list(command)
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):  # A=b program …
        words.pop(0)
    if words[0] == "exec":
        return check(words[1:])
    if words[0] in ("test", "mkdir", "openssl", "chmod"):
        return []
    if words[:2] == ["sh", "-c"] and len(words) == 3:
        parts = re.split(r"&&|;", words[2])
        return [found for part in parts for found in check(part)]
    if words[:2] == ["docker", "compose"]:
        return _compose(words[2:])
    if words[0] not in PROGRAMS:
        raise CommandError(f"{words[0]}: not a program of the image")
    _parse(words)
    inner = words[words.index("--") + 1 :] if "--" in words else []
    return [words, *(check(inner) if inner else [])]


def _parse(words: list[str]) -> None:
    program, *rest = words
    command: click.Command = PROGRAMS[program]
    while isinstance(command, click.Group) and rest and rest[0] in command.commands:
        command = command.commands[rest.pop(0)]
    try:
        if isinstance(command, click.Group):
            _, unknown, _ = command.make_parser(click.Context(command)).parse_args(list(rest))
            if unknown or not command.invoke_without_command:
                raise CommandError(f"{shlex.join(words)}: no such command")
        context = command.make_context(program, list(rest))
    except click.ClickException as error:
        raise CommandError(f"{shlex.join(words)}: {error.format_message()}") from error
    file = context.params.get("file")
    if isinstance(file, Path):
        here = in_repository(str(file))
        if not here.is_file():
            raise CommandError(f"{shlex.join(words)}: no {file} in the image")


def in_repository(path: str) -> Path:
    """Returns where in the repository a file of the image comes from."""
    return ROOT / path.removeprefix(f"{IMAGE_FOLDER}/")


def _compose(words: list[str]) -> list[list[str]]:
    services = compose()["services"]
    while words[0].startswith("-"):
        flag, value, *words = words
        if flag == "-f" and not (ROOT / value).is_file():
            raise CommandError(f"docker compose: no {value}")
        if flag == "--profile" and value not in _profiles(services):
            raise CommandError(f"docker compose: no profile {value}")
        if flag not in ("-f", "--profile"):
            raise CommandError(f"docker compose: {flag} is not checked here")
    verb, *rest = words
    if verb not in COMPOSE_COMMANDS:
        raise CommandError(f"docker compose {verb}: not checked here")
    for each in re.findall(r"(\w+)=\d+", " ".join(rest)):
        if each not in services:
            raise CommandError(f"docker compose {verb}: no service {each}")
    if verb != "exec":
        return []
    service, *inner = rest
    if service not in services:
        raise CommandError(f"docker compose exec: no service {service}")
    return check(inner)


def _profiles(services: dict) -> set[str]:
    return {profile for service in services.values() for profile in service.get("profiles", [])}


def image_has_folder() -> bool:
    """Whether the Dockerfile puts tuned_examples where commands look for them."""
    copies = f"COPY tuned_examples {IMAGE_FOLDER}/tuned_examples"
    return copies in DOCKERFILE.read_text(encoding="utf-8")
