"""State machines and jobs that tests run on a local AWS in a process of its own."""

from __future__ import annotations

import json
import time
from typing import Any

from conftest import processing_request, until
from host_process import ROLE, HostProcess

ENDED = ("SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED")
SLOW = "import time\nprint('up', flush=True)\ntime.sleep(600)\n"
CREATE_PROCESSING_JOB = "arn:aws:states:::sagemaker:createProcessingJob"


def machine(states: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Make a definition in JSONata that starts with the first of its states."""
    return {"QueryLanguage": "JSONata", "StartAt": next(iter(states)), "States": states, **more}


def task(resource: str, arguments: Any, **more: Any) -> dict[str, Any]:
    following = {} if "Next" in more else {"End": True}
    return {"Type": "Task", "Resource": resource, "Arguments": arguments, **following, **more}


def job(host: HostProcess, name: str, code: str, **more: Any) -> dict[str, Any]:
    """Make the request of a processing job that runs Python code."""
    return processing_request(host.data_dir, name, code, **more)


def create(host: HostProcess, name: str, definition: dict[str, Any]) -> str:
    arn: str = host.client("stepfunctions").create_state_machine(
        name=name, definition=json.dumps(definition), roleArn=ROLE
    )["stateMachineArn"]
    return arn


def start(host: HostProcess, name: str, definition: dict[str, Any], given: Any = None) -> str:
    """Create a state machine, start it and return the execution's ARN."""
    arn: str = host.client("stepfunctions").start_execution(
        stateMachineArn=create(host, name, definition), name=name, input=json.dumps(given or {})
    )["executionArn"]
    return arn


def end(host: HostProcess, execution: str, seconds: float = 30.0) -> dict[str, Any]:
    """Wait until an execution has ended and describe it, its output read."""
    states = host.client("stepfunctions")
    deadline = time.monotonic() + seconds
    while True:
        described: dict[str, Any] = states.describe_execution(executionArn=execution)
        if described["status"] in ENDED:
            if "output" in described:
                described["output"] = json.loads(described["output"])
            return described
        assert time.monotonic() < deadline, (described, host.log.read_text()[-3000:])
        time.sleep(0.05)


def run(
    host: HostProcess, name: str, definition: dict[str, Any], given: Any = None
) -> dict[str, Any]:
    return end(host, start(host, name, definition, given))


def output(host: HostProcess, name: str, definition: dict[str, Any], given: Any = None) -> Any:
    """Run a state machine, which must succeed, and return its output."""
    described = run(host, name, definition, given)
    assert described["status"] == "SUCCEEDED", described.get("cause")
    return described["output"]


def history(host: HostProcess, execution: str) -> list[dict[str, Any]]:
    states = host.client("stepfunctions")
    pages = states.get_paginator("get_execution_history").paginate(executionArn=execution)
    return [event for page in pages for event in page["events"]]


def wait_for_job(host: HostProcess, name: str, *statuses: str) -> dict[str, Any]:
    """Wait until a processing job has one of some statuses."""
    sagemaker = host.client("sagemaker")
    found: dict[str, Any] = {}

    def there() -> bool:
        for listed in sagemaker.list_processing_jobs(NameContains=name)["ProcessingJobSummaries"]:
            found.update(listed)
        return found.get("ProcessingJobStatus") in statuses

    until(there)
    return found


def wait_until_up(host: HostProcess, name: str) -> None:
    """Wait until the container of a processing job with `SLOW` runs."""
    log = host.data_dir / "jobs" / f"processing-{name}" / "log.txt"
    until(lambda: log.exists() and "up" in log.read_text())
