"""The parts of a generated project fit together: each import leads to something, no module is idle.

These tests name the files that an answer still lacks.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests import matrix
from tests.conftest import Render
from tests.levels import every_combination

ROOTS = ("src", "", "tests")  # where a generated project's modules are found
PACKAGES = ("usecase", "workflows", "infra", "lambdas", "ops", "local", "dashboard")


def modules(project: Path) -> dict[str, Path]:
    """The modules of a project by the names they are imported by."""
    found = {}
    for file in project.rglob("*.py"):
        path = file.relative_to(project)
        parts = path.with_suffix("").parts
        if parts[0] in ("src", "tests", "dags"):
            parts = parts[1:]
        found[".".join(parts).removesuffix(".__init__")] = file
    return found


def tree(file: Path) -> ast.Module:
    """A file, parsed."""
    return parsed(file.read_text())


@cache
def parsed(text: str) -> ast.Module:
    """A text, which most projects share, parsed."""
    return ast.parse(text)


def names(module: ast.Module) -> set[str]:
    """The names that a module has."""
    found: set[str] = set()
    for node in ast.walk(module):
        match node:
            case (
                ast.FunctionDef(name=name)
                | ast.AsyncFunctionDef(name=name)
                | ast.ClassDef(name=name)
            ):
                found.add(name)
            case ast.Name(id=name, ctx=ast.Store()):
                found.add(name)
            case ast.alias(name=name, asname=other):
                found.add(other or name)
    return found


def imports(module: ast.Module) -> Iterator[tuple[str, str | None]]:
    """Modules that are imported, and what is imported from them."""
    for node in ast.walk(module):
        match node:
            case ast.Import(names=aliases):
                yield from ((alias.name, None) for alias in aliases)
            case ast.ImportFrom(module=str(source), names=aliases):
                yield from ((source, alias.name) for alias in aliases)


@every_combination
def test_every_import_leads_somewhere(rendered: Render, answers: matrix.Answers) -> None:
    project = rendered(answers)
    known = modules(project)
    lost = [
        f"{file.relative_to(project)}: "
        + (f"{source} has no {name}" if source in known else f"{source} is not there")
        for file in known.values()
        for source, name in imports(tree(file))
        if source.partition(".")[0] in PACKAGES
        and f"{source}.{name}" not in known
        and not (source in known and (name is None or name in names(tree(known[source]))))
        # A folder without __init__.py is a package too.
        and not (name is None and any(other.startswith(f"{source}.") for other in known))
    ]
    assert not lost, "\n".join(lost)


@every_combination
def test_no_module_is_idle(rendered: Render, answers: matrix.Answers) -> None:
    project = rendered(answers)
    known = modules(project)
    used = {"infra.app"}  # by cdk.json
    for file in known.values():
        for source, name in imports(tree(file)):
            used |= {source, f"{source}.{name}"}
    # By name: monitors of the table, commands of the image, handlers of functions, tasks of poe,
    # plugins of the tests.
    table = known["usecase.monitors"].read_text()
    used |= {f"usecase.monitors.{name}" for name in re.findall(r'Monitor\(\W*"(\w+)"', table)}
    if app := known.get("dashboard.app"):  # which Streamlit is started with, and which names pages
        pages = re.findall(r'"views/(\w+)\.py"', app.read_text())
        used |= {"dashboard.app", *(f"dashboard.views.{name}" for name in pages)}
    texts = [
        path.read_text() for path in project.rglob("*") if path.suffix in (".py", ".toml", ".json")
    ]
    quoted = set(re.findall(r"[\w.]+", "\n".join(texts)))
    idle = [
        name
        for name, file in known.items()
        if name.rpartition(".")[2] not in ("__main__", "conftest")
        and file.name != "__init__.py"
        and not file.name.startswith("test_")
        and name not in used
        and name not in quoted
    ]
    assert not idle, "\n".join(idle)
