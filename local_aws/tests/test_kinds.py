"""A kind of resource is declared in one place, and an operation too."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from conftest import Aws

from local_aws.sagemaker.core import events, resources
from local_aws.sagemaker.core.kinds import KINDS, Kind
from local_aws.sagemaker.core.operations import OPERATIONS, operation
from local_aws.sagemaker.core.protocol import operation_model

PACKAGE = Path(resources.__file__).parents[2]
SERVES_ALL_KINDS = ("service", "kinds", "operations", "resources", "protocol", "store", "events")


def test_one_declaration_makes_a_kind(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    # One that AWS has and nothing here runs.
    for table in (KINDS, OPERATIONS):
        for name in [name for name in table if "CodeRepo" in name]:
            monkeypatch.delitem(table, name)
    kind = Kind(
        "CodeRepository",
        "code-repository",
        event=events.described("Code Repository Change", events.iso),
    )
    before = (dict(KINDS), dict(OPERATIONS))
    try:
        resources.declare(kind, "Create", "Describe", "Delete")
        config = {"RepositoryUrl": "https://example.com/code.git"}
        arn = aws.sagemaker.create_code_repository(
            CodeRepositoryName="code", GitConfig=config, Tags=[{"Key": "team", "Value": "ml"}]
        )["CodeRepositoryArn"]
        assert arn == "arn:aws:sagemaker:eu-west-1:000000000000:code-repository/code"
        found = aws.sagemaker.describe_code_repository(CodeRepositoryName="code")
        assert found["GitConfig"] == config
        assert aws.sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "team", "Value": "ml"}]
        ((detail_type, detail, about),) = aws.wait_events(1)
        assert detail_type == "Code Repository Change"
        assert detail["CodeRepositoryName"] == "code"
        assert detail["Tags"] == {"team": "ml"}
        assert about == [arn]
        aws.sagemaker.delete_code_repository(CodeRepositoryName="code")
        with pytest.raises(aws.sagemaker.exceptions.ClientError, match="does not exist"):
            aws.sagemaker.describe_code_repository(CodeRepositoryName="code")
    finally:
        for table, entries in zip((KINDS, OPERATIONS), before, strict=True):
            table.clear()
            table.update(entries)  # type: ignore[arg-type] # each has its own back


def test_nothing_is_declared_twice() -> None:
    with pytest.raises(ValueError, match="Model is registered twice"):
        resources.declare(KINDS["Model"])
    with pytest.raises(ValueError, match="CreateModel is registered twice"):
        operation("CreateModel")(OPERATIONS["CreateModel"])


def test_every_operation_is_one_of_the_model() -> None:
    for name in OPERATIONS:
        assert operation_model(name).name == name


@pytest.mark.parametrize("module", SERVES_ALL_KINDS)
def test_what_serves_all_kinds_names_none(module: str) -> None:
    tree = ast.parse((PACKAGE / "sagemaker" / "core" / f"{module}.py").read_text())
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    assert not texts & KINDS.keys()


def test_the_tables_are_filled_by_declarations_only() -> None:
    """A table that is written to elsewhere would be a second place to look at."""
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
                table: Any = node.value
                if isinstance(table, ast.Name) and table.id in ("KINDS", "OPERATIONS"):
                    assert file.stem in ("kinds", "operations"), file


def test_no_file_is_longer_than_400_lines() -> None:
    root = PACKAGE.parents[1]
    files = [*(root / "src").rglob("*.py"), *(root / "tests").rglob("*.py"), root / "README.md"]
    lengths = {file.name: len(file.read_text().splitlines()) for file in files}
    assert {name: length for name, length in lengths.items() if length > 400} == {}
