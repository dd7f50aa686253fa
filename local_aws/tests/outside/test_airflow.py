"""Airflow's operators for SageMaker, executed as a worker executes them."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_process import fresh_cli
from programs import use


@pytest.mark.exhaustive
def test_operators(tmp_path: Path) -> None:
    packages = ("apache-airflow==3.3.2", "apache-airflow-providers-amazon==9.39.0")
    with fresh_cli(tmp_path) as cli:
        variables = {
            "AIRFLOW_HOME": str(tmp_path / "airflow"),
            "AIRFLOW_CONN_AWS_DEFAULT": "aws://",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        }
        told = use(cli, packages, "use_airflow.py", **variables)
    assert told == {
        "processed": "['Completed', 'Completed']",
        "trained": "Completed",
        "failed": "True",
        "tuned": "Completed",
        "transformed": "['3.0', '7.0', '3.0', '7.0', '3.0', '7.0']",
        "served": "again b'3.0\\n'",
        "registered": "model-package/group/1",
        "executed": "Succeeded",
    }
