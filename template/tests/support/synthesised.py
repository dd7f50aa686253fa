"""Fixtures: the app of infra/, synthesised once for all tests that look at it."""

import json
from pathlib import Path
from typing import Any

import cdk_nag
import pytest
from aws_cdk import App, Validations
from support.templates import ACCOUNT

from infra.app import build
from workflows.names import Names


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> App:
    """The app, synthesised once; cdk-nag looks at it meanwhile and would stop it."""
    context = json.loads(Path("cdk.json").read_text())["context"]
    app = build(
        App(context=context, outdir=str(tmp_path_factory.mktemp("cdk.out"))), ACCOUNT, Names()
    )
    Validations.of(app).add_plugins(cdk_nag.AwsSolutionsChecks(app))
    app.synth()
    return app


@pytest.fixture(scope="session")
def stacks(app: App) -> dict[str, dict[str, Any]]:
    """The templates by the name of their stack."""
    assembly = app.synth()
    return {stack.stack_name: stack.template for stack in assembly.stacks}


@pytest.fixture(scope="session")
def resources(stacks: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The resources of all stacks."""
    return [r for template in stacks.values() for r in template["Resources"].values()]
