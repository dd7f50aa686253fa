"""What is changed of ministack, and what each change follows.

A function of `host` that assigns to a name of a ministack module is a patch; its docstring says
what for. A paragraph that begins with `AWS:` names the documentation that the patch follows, one
that begins with `Here:` what the local AWS needs it for, which is nothing of AWS's.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata

from local_aws.documentation.rooms import modules

_HOST = "local_aws.host."


@dataclass(frozen=True)
class Patch:
    """A function that changes ministack.

    Attributes:
        where: Its module and its name, below `local_aws.host`.
        changed: The names of ministack that it assigns to, below `ministack`.
        does: The first sentence of its docstring.
        aws: The documentation of AWS that it follows; empty if it follows none.
        here: What the local AWS needs it for; empty for what AWS does as well.
        lines: Its length, with the functions of its module that only it uses or that it shares.
        uses: The modules of this package that it uses.
    """

    where: str
    changed: tuple[str, ...]
    does: str
    aws: str
    here: str
    lines: int
    uses: tuple[str, ...]


def patches() -> list[Patch]:
    """Return all patches, the smallest first."""
    found = [
        patch
        for name, path in modules().items()
        if name.startswith(_HOST)
        for patch in _in_module(name.removeprefix(_HOST), ast.parse(path.read_text()))
    ]
    return sorted(found, key=lambda patch: (patch.lines, patch.where))


def markdown() -> str:
    """Write the patches as two tables: what AWS does as well, and what only this package needs."""
    found = patches()
    offered = [patch for patch in found if patch.aws]
    own = [patch for patch in found if not patch.aws]
    version = f"Of ministack {metadata.version('ministack')}:"
    tables = [*_table("AWS documents it in", offered), "", *_table("for", own)]
    return "\n".join([version, "", *tables, ""])


def _table(reason: str, found: list[Patch]) -> Iterator[str]:
    yield f"| lines | patch, in `host/` | of ministack | {reason} | uses |"
    yield "|---|---|---|---|---|"
    for patch in found:
        changed = ", ".join(f"`{name}`" for name in patch.changed)
        uses = ", ".join(f"`{name}`" for name in patch.uses)
        why = patch.aws or patch.here
        row = (patch.lines, f"`{patch.where}`: {patch.does}", changed, why, uses)
        yield "| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |"


def _in_module(name: str, tree: ast.Module) -> Iterator[Patch]:
    helpers = {
        node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }
    imported = dict(_imported(tree))
    for function, owner in _functions(tree):
        if changed := tuple(sorted(set(_changed(function)))):
            first = " ".join((ast.get_docstring(function) or "").partition("\n\n")[0].split())
            used = _used(function, helpers | _methods(tree, owner))
            yield Patch(
                where=f"{name}.{owner}{function.name}",
                changed=changed,
                does=first.partition(". ")[0].rstrip("."),
                aws=_paragraph("AWS", function),
                here=_paragraph("Here", function),
                lines=sum(_length(node) for node in [function, *used]),
                uses=tuple(sorted(_modules_named([function, *used], imported))),
            )


def _imported(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield the names that a module imports from this package, each with the module it is of."""
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("local_aws."):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                home = whole if whole in modules() else f"{node.module}"
                if home != f"{_HOST}internals":
                    yield alias.asname or alias.name, home.removeprefix("local_aws.")


def _functions(tree: ast.Module) -> Iterator[tuple[ast.FunctionDef, str]]:
    """Yield the functions of a module and its classes, with `Class.` where they are methods."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node, ""
        elif isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef):
                    yield inner, f"{node.name}."


def _methods(tree: ast.Module, owner: str) -> dict[str, ast.FunctionDef | ast.ClassDef]:
    """Return the methods of a class as its methods call each other."""
    return {f"self.{function.name}": function for function, its in _functions(tree) if its == owner}


def _paragraph(label: str, function: ast.FunctionDef) -> str:
    """Return what a function's docstring says after a label, up to the paragraph's end."""
    for paragraph in (ast.get_docstring(function) or "").split("\n\n"):
        text = " ".join(paragraph.split())
        if found := re.search(rf"(?:^|[.:] ){label}: (.+)", text):
            return found[1].rstrip(".")
    return ""


def _changed(function: ast.FunctionDef) -> Iterator[str]:
    """Yield the names of ministack that a function assigns to."""
    known: dict[str, list[str]] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                _bind(known, target, node.value)
        elif isinstance(node, ast.For) and isinstance(node.iter, ast.Tuple):
            names = [name for item in node.iter.elts for name in _named(known, item)]
            if names and isinstance(node.target, ast.Name):
                known[node.target.id] = names
    for node in ast.walk(function):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                for one in target.elts if isinstance(target, ast.Tuple) else [target]:
                    whole = one.value if isinstance(one, ast.Subscript) else one
                    if whole is not one or isinstance(whole, ast.Attribute):
                        yield from _named(known, whole)


def _bind(known: dict[str, list[str]], target: ast.expr, value: ast.expr) -> None:
    """Note the names that stand for something of ministack's."""
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        for one, its in zip(target.elts, value.elts, strict=True):
            _bind(known, one, its)
    elif isinstance(target, ast.Name) and (names := _named(known, value)):
        known[target.id] = names


def _named(known: Mapping[str, list[str]], expression: ast.expr) -> list[str]:
    """Return the dotted names of ministack's that an expression may stand for."""
    match expression:
        case ast.Name(id=name):
            return known.get(name, [])
        case ast.Attribute(value=value, attr=attribute):
            return [f"{name}.{attribute}" for name in _named(known, value)]
        case ast.Call(func=ast.Name(id="module"), args=[ast.Constant(value=name)]):
            return [str(name)]
    return []


def _used(
    function: ast.FunctionDef, helpers: Mapping[str, ast.FunctionDef | ast.ClassDef]
) -> list[ast.FunctionDef | ast.ClassDef]:
    """Return the functions and classes of the same module that a function uses, also indirectly."""
    found: list[ast.FunctionDef | ast.ClassDef] = []
    left: list[ast.AST] = [function]
    while left:
        for node in ast.walk(left.pop()):
            name = ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else ""
            helper = helpers.get(name)
            if helper and helper is not function and helper not in found:
                found.append(helper)
                left.append(helper)
    return found


def _modules_named(nodes: Iterable[ast.AST], imported: Mapping[str, str]) -> set[str]:
    """Return the modules of this package that some code uses by imported names."""
    return {
        imported[node.id]
        for part in nodes
        for node in ast.walk(part)
        if isinstance(node, ast.Name) and node.id in imported
    }


def _length(node: ast.FunctionDef | ast.ClassDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1
