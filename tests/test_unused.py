"""Nothing in a generated project lies idle: what its own code does not use, no test keeps alive.

Vulture finds names that are used nowhere: of functions, methods, attributes, fields and parameters.
A name that something else is called, too, escapes it: so of what a module has, each has to be used
in the module itself or imported from it.
"""

import ast
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache

from vulture import Vulture

from tests import matrix, template
from tests.conftest import Render
from tests.levels import every_combination
from tests.test_imports import modules, parsed

#: What others use than the project's own code.
ALLOWED = {
    # CDK and tarfile read what is set.
    "infra/base.py": {"notification_configuration"},
    "src/usecase/container.py": {"extraction_filter"},
    "infra/dashboard.py": {"availability_zones"},
    "infra/mwaa.py": {"availability_zones"},
    # Airflow calls it, and reads what of a task is a template.
    "dags/usecase_dags/jobs.py": {"on_kill", "template_fields"},
    # `poe handover` calls it.
    "local/tools.py": {"handover"},
    # Rich reads how often a column of a progress bar is drawn.
    "ops/predictions.py": {"max_refresh"},
    # LightGBM calls it, as a method of what logs.
    "src/usecase/model.py": {"warning"},
    # The commands of the image: usecase.__main__ takes this one where it names no other.
    "src/usecase/*.py": {"run"},
    # usecase.monitors.job, usecase.baseline and ops call those of each monitor, by its name.
    "src/usecase/monitors/*.py": {"describe", "judge", "leniency"},
    # Fields of a file, and of usecase.toml, whose monitors can be chosen later.
    "src/usecase/monitors/constraints.py": {
        *("constraint_check_type", "feature_name"),
        # How the baseline's constraints are read is told where they are made.
        *("applied", "check"),
    },
    "src/usecase/monitors/settings.py": {"max_unlabelled", "max_unmatched"},
    # How lines are read, and why something is not judged, is told in one place for all modes.
    "src/usecase/predictions/reading.py": {
        *("OTHER_FIELDS", "UNREADABLE", "UNVERSIONED", "hour_of", "version_of"),
    },
    "src/usecase/tables.py": {"read_lines"},
}
#: Decorators of what the command line calls.
COMMANDS = ("@*.command", "@*.callback")
#: What is named by a text: `batch.deploy` of infra, `usecase.serve:create_app`.
NAMED = re.compile(r"(?:\w+\.)*\w+[.:](\w+)")


@cache
def unused(file: str, text: str) -> frozenset[str]:
    """The names of a file, which most projects share, that vulture sees no use of in it."""
    return frozenset(
        item.name for item in scanned(file, text).get_unused_code() if item.typ != "import"
    )


@cache
def scanned(file: str, text: str) -> Vulture:
    """A file as vulture sees it."""
    vulture = Vulture(ignore_decorators=[*COMMANDS])
    vulture.scan(text, filename=file)
    return vulture


@cache
def named(text: str) -> frozenset[str]:
    """The names at the end of the texts in a file."""
    texts = (node.value for node in ast.walk(parsed(text)) if isinstance(node, ast.Constant))
    found = (NAMED.fullmatch(each) for each in texts if isinstance(each, str))
    return frozenset(match[1] for match in found if match)


@cache
def own(text: str) -> frozenset[str]:
    """The names of a module's functions, classes and constants that it does not use itself."""
    module = parsed(text)
    loaded = {
        node.id
        for node in ast.walk(module)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }
    return frozenset(name for name in defined(module) if name not in loaded and name != "__all__")


def defined(module: ast.Module) -> Iterator[str]:
    """The names that a module defines, but for those of commands."""
    for node in module.body:
        match node:
            case ast.FunctionDef(name=name, decorator_list=decorators):
                written = (f"@{ast.unparse(each).partition('(')[0]}" for each in decorators)
                if not any(fnmatch(each, command) for each in written for command in COMMANDS):
                    yield name
            case ast.ClassDef(name=name):
                yield name
            case ast.Assign() | ast.AnnAssign():
                found = (part for part in ast.walk(node) if isinstance(part, ast.Name))
                yield from (part.id for part in found if isinstance(part.ctx, ast.Store))


@cache
def taken(text: str) -> frozenset[tuple[str, str]]:
    """The modules that a file imports, with the name that it takes from each."""
    module = parsed(text)
    known: dict[str, str] = {}
    found: set[tuple[str, str]] = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            known |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            known |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
            found |= {(str(node.module), alias.name) for alias in node.names}
    for node in ast.walk(module):
        match node:
            case ast.Attribute(value=ast.Name(id=name), attr=attribute) if name in known:
                found.add((known[name], attribute))
    return frozenset(found)


def is_allowed(file: str, name: str) -> bool:
    """Whether somebody else uses a name."""
    return any(fnmatch(file, pattern) and name in names for pattern, names in ALLOWED.items())


@every_combination
def test_nothing_lies_idle(rendered: Render, answers: matrix.Answers) -> None:
    project = rendered(answers)
    code = {
        name: file
        for name, file in modules(project).items()
        if file.relative_to(project).parts[0] != "tests"
    }
    texts = {name: file.read_text() for name, file in code.items()}
    paths = {name: file.relative_to(project).as_posix() for name, file in code.items()}
    # `poe adopt` runs in the project, from where the template is.
    adopt = (template.ROOT / "adopt" / "src").rglob("*.py")
    users = {**texts, **{f"adopt {file}": file.read_text() for file in adopt}}
    of_texts = frozenset[str]().union(*map(named, users.values()))
    of_any = of_texts.union(
        *(scanned(paths.get(name, name), text).used_names for name, text in users.items())
    )
    of_modules = frozenset[tuple[str, str]]().union(*map(taken, users.values()))
    idle = {
        f"{paths[module]}: {name}"
        for module, text in texts.items()
        for name in (unused(paths[module], text) - of_any)
        | {name for name in own(text) if (module, name) not in of_modules and name not in of_texts}
        if not is_allowed(paths[module], name)
    }
    assert not idle, "\n".join(sorted(idle))
