"""The syntax of a Dockerfile, https://docs.docker.com/reference/dockerfile/."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_COMMENT = re.compile(r"^\s*#")
_DIRECTIVE = re.compile(r"^#\s*escape\s*=", re.IGNORECASE)
_VARIABLE = re.compile(r"\\\$|\$(?:(\w+)|\{(\w+)(?::([-+])([^}]*))?\}|\{)")


class DockerfileError(ValueError):
    """Something in a Dockerfile is wrong, or cannot be done without a container engine."""


@dataclass(frozen=True)
class Instruction:
    """One instruction of a Dockerfile.

    Attributes:
        line: Number of its first line, from 1.
        name: Its keyword in capitals.
        flags: Names and values of what stands before the arguments as `--name=value`.
        value: The arguments, continuation lines joined.
    """

    line: int
    name: str
    flags: tuple[tuple[str, str], ...]
    value: str

    def error(self, problem: str) -> DockerfileError:
        """Return an error that says where it is."""
        return DockerfileError(f"Dockerfile line {self.line}: {self.name} {problem}")

    def words(self) -> list[str]:
        """Return the arguments: a JSON list, or words with quotes taken off."""
        listed = self._json()
        return self._split() if listed is None else listed

    def exec_form(self) -> list[str]:
        """Return the arguments, which must be a JSON list of texts."""
        listed = self._json()
        if listed is None:
            raise self.error('needs a JSON list, as in ["python", "-m", "program"]')
        return listed

    def is_exec_form(self) -> bool:
        """Tell whether the arguments are a JSON list of texts."""
        return self._json() is not None

    def pairs(self) -> dict[str, str]:
        """Return what `name=value …` or the older `name value` sets, as LABEL and ENV take it."""
        first, _, rest = self.value.partition(" ")
        if "=" not in first:
            if not rest.strip():
                raise self.error("needs name=value")
            return {first: " ".join(shlex.split(rest)) if rest[0] in "\"'" else rest.strip()}
        pairs = {}
        for word in self._split():
            name, equals, value = word.partition("=")
            if not equals or not name:
                raise self.error(f"{word}: needs name=value; quote a value that has spaces")
            pairs[name] = value
        return pairs

    def commands(self) -> list[list[str]]:
        """Return what RUN runs, one after the other: a JSON list, or words joined by `&&`."""
        listed = self._json()
        if listed is not None:
            return [listed]
        lexer = shlex.shlex(self.value, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        commands: list[list[str]] = [[]]
        for word in self._split(lexer):
            if word == "&&":
                commands.append([])
            elif "`" in word or not word.strip("();<>|&"):
                raise self.error(f"{self.value}: of the shell's language only && is supported")
            else:
                commands[-1].append(word)
        if not all(commands):
            raise self.error(f"{self.value}: a command is missing beside &&")
        return commands

    def _split(self, lexer: shlex.shlex | None = None) -> list[str]:
        if "$" in self.value and re.search(r"'[^']*\$[^']*'", self.value):
            raise self.error(f"{self.value}: a $ in single quotes is not supported")
        try:
            return shlex.split(self.value) if lexer is None else list(lexer)
        except ValueError as error:
            raise self.error(f"{self.value}: {error}") from error

    def _json(self) -> list[str] | None:
        if not self.value.startswith("["):
            return None
        try:
            listed = json.loads(self.value)
        except ValueError:
            return None
        if isinstance(listed, list) and all(isinstance(item, str) for item in listed):
            return listed
        return None


def parse(text: str) -> list[Instruction]:
    """Return the instructions of a Dockerfile.

    Raises:
        DockerfileError: It has no instruction, one without arguments, or another escape character.
    """
    found = list(_instructions(text))
    if not found:
        raise DockerfileError("The Dockerfile has no instruction; begin with FROM python:VERSION")
    return found


def _instructions(text: str) -> Iterator[Instruction]:
    joined, first = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        if _DIRECTIVE.match(line):
            raise DockerfileError(f"Dockerfile line {number}: # escape= is not supported")
        if _COMMENT.match(line) or not line.strip():  # also between continuation lines
            continue
        first = first or number
        if line.rstrip().endswith("\\"):
            joined += line.rstrip()[:-1]
            continue
        yield _instruction(first, joined + line)
        joined, first = "", 0
    if joined.strip():
        yield _instruction(first, joined)


def _instruction(line: int, text: str) -> Instruction:
    name, _, value = re.sub(r"\s+", " ", text.strip(), count=1).partition(" ")
    flags = []
    while match := re.match(r"--([\w-]+)(?:=(\S*))?(?:\s+|$)", value):
        flags.append((match[1], match[2] or ""))
        value = value[match.end() :]
    instruction = Instruction(line, name.upper(), tuple(flags), value.strip())
    if not instruction.value:
        raise instruction.error("needs arguments")
    return instruction


def substitute(text: str, variables: Mapping[str, str]) -> str:
    """Replace $NAME, ${NAME}, ${NAME:-when unset} and ${NAME:+when set}; unset is empty.

    Raises:
        DockerfileError: Another form of ${…}.
    """

    def value(match: re.Match[str]) -> str:
        if match[0] == "\\$":
            return "$"
        name = match[1] or match[2]
        if name is None:
            raise DockerfileError(
                f"{text}: only $NAME, ${{NAME}}, ${{NAME:-…}} and ${{NAME:+…}} are supported"
            )
        found = variables.get(name, "")
        if match[3] == "-":
            return found or match[4]
        if match[3] == "+":
            return match[4] if found else ""
        return found

    return _VARIABLE.sub(value, text)
