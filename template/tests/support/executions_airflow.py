"""Runs of DAGs, in an Airflow that only remembers, behind a real boto3 client of MWAA."""

import json
import threading
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.model import OperationModel
from support.fake_sagemaker import FakeSageMaker, Request, errors
from support.templates import text

from workflows import keys, names

NAMES = names.Names()

EVERYWHERE = {
    *(f"sagemaker:List{kind}Jobs" for kind in ("Processing", "Training", "Transform")),
    *("logs:DescribeLogGroups", "s3:GetAccountPublicAccessBlock"),
}
"""Actions that AWS does not let one limit to a resource, and that MWAA or the DAGs need."""

DAG = NAMES.dag(NAMES.training)
RUNS = f"/dags/{DAG}/dagRuns"
EVENT = "before-call.mwaa"


class Executions:
    """All runs of the training.

    Attributes:
        workflow: What the functions know the training workflow by.
        runs: The runs by their ids, as Airflow's REST API shows them, oldest first.
        tasks: The states of each one's tasks.
    """

    workflow = f"{NAMES.airflow}/{DAG}"

    def __init__(
        self,
        session: boto3.Session,
        _sagemaker: FakeSageMaker | None = None,
        _monkeypatch: pytest.MonkeyPatch | None = None,
    ) -> None:
        self._lock = threading.Lock()
        self.runs: dict[str, dict[str, Any]] = {}
        self.tasks: dict[str, dict[str, str]] = {}
        answer: Any = self._answer  # botocore takes an answer from this event, its types do not
        # The session is that of all tests.
        session.events.unregister(EVENT, unique_id=EVENT)
        session.events.register(EVENT, answer, unique_id=EVENT)

    def started(self) -> list[tuple[str, dict[str, str]]]:
        """Reference and parameters of each, oldest first."""
        return [(f"{self.workflow}/{run}", found["conf"]) for run, found in self.runs.items()]

    def finish(self) -> None:
        """Bring all to their end."""
        for run in self.runs.values():
            run["state"] = "success"

    def started_ago(self, time: timedelta) -> None:
        """Let all have been started so long ago."""
        for run in self.runs.values():
            run["run_after"] = (datetime.now(UTC) - time).isoformat()

    def fail(self, reason: str) -> dict[str, Any]:
        """The event of a run of the training that has failed for a reason."""
        event = ended(NAMES.training, "failed")
        event["detail"]["reason"] = reason
        return event

    def _answer(self, model: OperationModel, params: Request, **_: object) -> tuple[Any, Request]:
        """Answer a call; a handler of botocore's event `before-call`."""
        request = json.loads(params["body"])
        asked = {"Name": NAMES.airflow, "Method": request["Method"], "Path": request["Path"]}
        assert errors("mwaa", model.name, asked) == []
        with self._lock:
            status, answer = self._rest(request)
        found = {"RestApiStatusCode": status, "RestApiResponse": answer, "ResponseMetadata": {}}
        if status >= 400:
            error = {"Code": "RestApiClientException", "Message": f"Airflow answered {status}"}
            return SimpleNamespace(status_code=400), {**found, "Error": error}
        return SimpleNamespace(status_code=200), found

    def _rest(self, request: Request) -> tuple[int, Request]:
        """What Airflow's REST API answers: status and document."""
        match request["Method"], request["Path"].split("/dagRuns"):
            case "GET", [path] if path == f"/dags/{DAG}/details":
                kinds = {"Trigger": "string", "Threshold": "number"}
                parameters = {name: {"schema": {"type": kind}} for name, kind in kinds.items()}
                return 200, {"params": parameters}
            case "GET", [_, "/~/taskInstances"]:
                run = request["QueryParameters"]["run_id_pattern"]
                states = self.tasks.get(run, {}).items()
                tasks = [{"task_id": t, "state": s, "dag_run_id": run} for t, s in states]
                return 200, {"task_instances": tasks}
            case "POST", [_, ""]:
                return self._create(request)
            case "GET", [_, ""]:
                return 200, self._list()
            case "PATCH", [_, run]:
                self.runs[run.removeprefix("/")] |= request["Body"]
                return 200, {}
        raise AssertionError(request)

    def _create(self, request: Request) -> tuple[int, Request]:
        body = request["Body"]
        run = body["dag_run_id"]
        assert body["logical_date"] is None
        if run in self.runs:
            return 409, {"detail": "DAGRun already exists"}
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        self.runs[run] = {
            "dag_run_id": run,
            "state": "running",
            "run_after": now,
            "start_date": None,
            "conf": body["conf"],
            "note": None,
        }
        return 200, self.runs[run]

    def _list(self) -> Request:
        newest_first = [dict(run) for run in reversed(self.runs.values())]
        return {"dag_runs": newest_first, "total_entries": len(newest_first)}


def definitions(resources: list[dict[str, Any]]) -> dict[str, str]:
    """What the DAGs are told that are deployed, by the names of the workflows."""
    return {
        NAMES.of(resource["Properties"]["DestinationBucketKeyPrefix"].split("/")[-2]): text(
            json.dumps(resource["Properties"])
        )
        for resource in resources
        if resource["Type"] == "Custom::CDKBucketDeployment"
        and resource["Properties"]["DestinationBucketKeyPrefix"].startswith(keys.DAGS)
        and not resource["Properties"]["DestinationBucketKeyPrefix"].endswith("/usecase_dags/")
    }


#: What its reference is called in its events.
EXECUTION = "execution"


def ended(workflow: str, status: str) -> dict[str, Any]:
    """The event of a run that has ended, as dags/usecase_dags/workflows.py sends it.

    Args:
        workflow: Name of the workflow.
        status: succeeded, failed or stopped.
    """
    return {
        "source": names.PROJECT,
        "detail-type": "Airflow Run Ended",
        "resources": [],
        "detail": {
            "workflow": workflow,
            "execution": f"{NAMES.airflow}/{NAMES.dag(workflow)}/load-{'0' * 24}",
            "status": status,
            "reason": "",
        },
    }
