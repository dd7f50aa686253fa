"""The rooms of this package and the imports between them.

A room is a package or a single module that lies directly in a house. The houses are the whole
package and, for they are large, `host` and `sagemaker` within it. An import counts wherever it
stands, for types only and by name in a string too: whoever changes the one side looks at the other.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

PACKAGE = "local_aws"
HOUSES = (PACKAGE, f"{PACKAGE}.host", f"{PACKAGE}.sagemaker")


class CircleError(Exception):
    """Rooms import each other in a circle."""


@dataclass(frozen=True)
class Import:
    """An import.

    Attributes:
        importer: Name of the module that it stands in.
        imported: Name of the module that it names.
    """

    importer: str
    imported: str


@cache
def modules() -> Mapping[str, Path]:
    """Return the files of all modules and packages, by dotted name."""
    source = Path(__file__).parents[2]
    found = {}
    for path in sorted((source / PACKAGE).rglob("*.py")):
        parts = path.relative_to(source).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imports() -> tuple[Import, ...]:
    """Return all imports of modules of this package by modules of this package."""
    return tuple(
        Import(importer, imported)
        for importer, path in modules().items()
        for imported in sorted(set(_named(ast.parse(path.read_text()))))
    )


def _named(tree: ast.Module) -> Iterator[str]:
    """Yield the modules of this package that a module names."""
    known = modules()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module in known:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in known else node.module
        elif isinstance(node, ast.Constant) and str(node.value) in known.keys() - {PACKAGE}:
            yield str(node.value)


def room(house: str, module: str) -> str | None:
    """Return the room of a house that a module is in; None for what is outside or is the house."""
    if not module.startswith(f"{house}."):
        return None
    return module.removeprefix(f"{house}.").partition(".")[0]


def drawn(house: str) -> dict[str, set[str]]:
    """Return the rooms of a house, each with those that it imports."""
    rooms: dict[str, set[str]] = {
        name: set() for module in modules() if (name := room(house, module))
    }
    for found in imports():
        importer, imported = room(house, found.importer), room(house, found.imported)
        if importer and imported and importer != imported:
            rooms[importer].add(imported)
    return rooms


def floors(rooms: Mapping[str, set[str]]) -> list[list[str]]:
    """Put rooms on floors: none imports from its own floor or from one above it.

    Returns:
        The rooms by floor, the ground floor first.

    Raises:
        CircleError: Some rooms import each other in a circle; names them.
    """
    sorter = TopologicalSorter(rooms)
    try:
        sorter.prepare()
    except CycleError as error:
        raise CircleError(" <- ".join(error.args[1])) from error
    found = []
    while sorter.is_active():
        ready = sorter.get_ready()
        found.append(sorted(ready))
        sorter.done(*ready)
    return found


def markdown() -> str:
    """Draw all houses: the rooms in words, and their imports in Mermaid's language.

    Raises:
        CircleError: There is a circle.
    """
    return "\n".join(line for house in HOUSES for line in _house(house))


def _house(house: str) -> Iterator[str]:
    rooms = drawn(house)
    by_floor = [name for floor in reversed(floors(rooms)) for name in floor]
    yield from (f"### `{house.replace('.', '/')}`", "", "| room | what is in it |", "|---|---|")
    for name in by_floor:
        first = (_docstring(f"{house}.{name}") or "").partition("\n")[0]
        is_package = modules()[f"{house}.{name}"].name == "__init__.py"
        yield f"| `{name}{'/' if is_package else '.py'}` | {first} |"
    yield from ("", "```mermaid", "flowchart TD")
    for name in by_floor:
        reached = {below for other in rooms[name] for below in _all_below(rooms, other)}
        direct = sorted(rooms[name] - reached)
        if direct:
            yield f"    {name} --> {' & '.join(direct)}"
        elif not any(name in imported for imported in rooms.values()):
            yield f"    {name}"
    yield from ("```", "")


def _all_below(rooms: Mapping[str, set[str]], name: str) -> set[str]:
    """Return what a room imports, directly or through others."""
    found: set[str] = set()
    left = set(rooms[name])
    while left:
        found |= left
        left = {below for other in left for below in rooms[other]} - found
    return found


def _docstring(module: str) -> str | None:
    return ast.get_docstring(ast.parse(modules()[module].read_text()))
