"""An environment of Amazon MWAA with real Airflow, as a client and as the machine see it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from conftest import until
from host_process import HostProcess


def processes(folder: Path) -> list[int]:
    """The processes whose HOME is in a folder, which is how those of an environment are known."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            variables = (process / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if any(each.startswith(b"HOME=" + os.fsencode(folder)) for each in variables):
            found.append(int(process.name))
    return found


def megabytes(pids: list[int]) -> float:
    """The memory of processes; what they share counts once (proc(5), Pss)."""
    total = 0
    for pid in pids:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        total += int(next(line for line in text.splitlines() if line.startswith("Pss:")).split()[1])
    return total / 1024


class Environment:
    """An environment, as a client uses it."""

    def __init__(
        self,
        host: HostProcess,
        name: str,
        properties: dict[str, Any] | None = None,
        token: str = "",
    ) -> None:
        self.host, self.name = host, name
        self._properties, self._token = properties or {}, token

    @property
    def folder(self) -> Path:
        return self.host.data_dir / "mwaa" / self.name

    def get(self) -> dict[str, Any]:
        found: dict[str, Any] = self.host.client("mwaa").get_environment(Name=self.name)
        environment: dict[str, Any] = found["Environment"]
        return environment

    def deploy(self, word: str) -> str:
        """Create or update its stack, with the DAGs of a word, and return the stack's status."""
        stacks = self.host.client("cloudformation")
        exists = stacks.describe_stacks()["Stacks"]
        change = stacks.update_stack if exists else stacks.create_stack
        body = template(self.name, word, self._properties, self._token)
        change(StackName=self.name, TemplateBody=body)
        until(lambda: not self._stack()["StackStatus"].endswith("_IN_PROGRESS"), 600)
        status: str = self._stack()["StackStatus"]
        return status

    def outputs(self) -> dict[str, str]:
        return {each["OutputKey"]: each["OutputValue"] for each in self._stack()["Outputs"]}

    def _stack(self) -> dict[str, Any]:
        stacks = self.host.client("cloudformation")
        found: dict[str, Any] = stacks.describe_stacks(StackName=self.name)["Stacks"][0]
        return found

    def call(self, method: str, path: str, **more: Any) -> Any:
        answer = self.host.client("mwaa").invoke_rest_api(
            Name=self.name, Method=method, Path=path, **more
        )
        return answer["RestApiResponse"]

    def refused(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        with pytest.raises(ClientError) as refusal:
            self.call(method, path, **more)
        response: dict[str, Any] = refusal.value.response
        return response

    def wait_for_dag(self, dag: str) -> None:
        def there() -> bool:
            return dag in [each["dag_id"] for each in self.call("GET", "/dags")["dags"]]

        until(there, 120)

    def run(self, run: str, seconds: int = 0) -> None:
        body = {"dag_run_id": run, "logical_date": None, "conf": {"seconds": seconds}}
        self.call("POST", "/dags/say/dagRuns", Body=body)

    def state(self, run: str) -> str:
        found: str = self.call("GET", f"/dags/say/dagRuns/{run}")["state"]
        return found

    def wait(self, run: str) -> None:
        until(lambda: self.state(run) in ("success", "failed"), 120)
        assert self.state(run) == "success"

    def log(self, run: str, task: str) -> str:
        logs = self.host.client("logs")
        names = {
            "logGroupName": f"airflow-{self.name}-Task",
            "logStreamName": f"dag_id=say/run_id={run}/task_id={task}/attempt=1.log",
        }

        def told() -> str:
            try:
                events = logs.get_log_events(**names)["events"]
            except logs.exceptions.ResourceNotFoundException:
                return ""
            return "\n".join(event["message"] for event in events)

        until(lambda: f"{task}: " in told())
        return told()


def template(name: str, word: str, airflow: dict[str, Any], token: str) -> str:
    """A stack with an environment and the deployment of its DAGs."""
    deployment = {
        "ServiceToken": token,
        "SourceBucketNames": [f"{name}-assets"],
        "SourceObjectKeys": [f"{word}.zip"],
        "DestinationBucketName": name,
        "DestinationBucketKeyPrefix": "dags",
    }
    resources = {
        "Dags": {"Type": "Custom::CDKBucketDeployment", "Properties": deployment},
        "Airflow": {
            "Type": "AWS::MWAA::Environment",
            "Properties": airflow,
            "DependsOn": "Dags",
        },
    }
    attributes = ("Arn", "WebserverUrl", "LoggingConfiguration.TaskLogs.CloudWatchLogGroupArn")
    return json.dumps(
        {
            "Resources": resources,
            "Outputs": {
                key.replace(".", ""): {"Value": {"Fn::GetAtt": ["Airflow", key]}}
                for key in attributes
            },
        }
    )
