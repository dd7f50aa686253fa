"""The SageMaker Python SDK, versions 2 and 3: what their tutorials do."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_process import fresh_cli
from programs import use

pytestmark = pytest.mark.exhaustive


def test_version_2(tmp_path: Path) -> None:
    with fresh_cli(tmp_path) as cli:
        told = use(cli, ("sagemaker==2.257.7",), "use_sdk_v2.py")
    assert told == {
        "processed": "['1,2', '3,4', '1,2', '3,4', '1,2', '3,4']",
        "trained": "Completed 6.0",
        "tuned": "[6.0, 6.0, 6.0] toy",
        "predicted": "[['3.0'], ['7.0']]",
        "endpoints": "[]",
        "transformed": "['3.0', '7.0', '3.0', '7.0', '3.0', '7.0']",
    }


def test_version_3(tmp_path: Path) -> None:
    with fresh_cli(tmp_path) as cli:
        told = use(cli, ("sagemaker==3.27.0",), "use_sdk_v3.py")
    assert told == {
        "processed": "['1,2', '3,4', '1,2', '3,4', '1,2', '3,4']",
        "trained": "Completed",
        "predicted": "b'3.0\\n'",
        "endpoints": "[]",
    }
