"""Training jobs whose instances go away: spot interruptions, checkpoints, retries."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cli_process import Cli
from conftest import Aws, make_service, training_request, until
from job_requests import refused, train, wait_for_output
from test_training import archive

from local_aws.sagemaker.core.service import Service

# Goes on counting where a former run of it was interrupted; waits at 1.
COUNTS = (
    "import time\n"
    "from pathlib import Path\n"
    "path = Path('/opt/ml/checkpoints/count')\n"
    "count = int(path.read_text()) if path.exists() else 0\n"
    "print('count', count, flush=True)\n"
    "if count == 0:\n"
    "    path.write_text('1')\n"
    "    print('up', flush=True)\n"
    "    time.sleep(600)\n"
    "Path('/opt/ml/model/count').write_text(str(count + 1))\n"
)


def spot(aws: Aws, **more: Any) -> dict[str, Any]:
    return {
        "EnableManagedSpotTraining": True,
        "CheckpointConfig": {"S3Uri": f"s3://{aws.bucket}/checkpoints"},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600, "MaxWaitTimeInSeconds": 600},
        **more,
    }


def phases(body: dict[str, Any]) -> list[str]:
    return [entry["Status"] for entry in body["SecondaryStatusTransitions"]]


def ended(service: Service, name: str) -> dict[str, Any]:
    """Wait for the end of a training job of a service without HTTP."""

    def describe() -> dict[str, Any]:
        return service.call("DescribeTrainingJob", {"TrainingJobName": name})

    until(lambda: describe()["TrainingJobStatus"] not in ("InProgress", "Stopping"))
    return describe()


def test_an_interrupted_job_starts_over_from_its_checkpoints(aws: Aws) -> None:
    request = training_request(aws.folder, "job", COUNTS, f"s3://{aws.bucket}/models", **spot(aws))
    aws.sagemaker.create_training_job(**request)
    wait_for_output(aws, "training-job")
    cli = Cli(aws.folder.parent)
    cli.data_dir = aws.folder
    assert "job is interrupted" in cli.run("interrupt", "job").stderr
    done = aws.wait("Training", "job")
    assert done["TrainingJobStatus"] == "Completed", done
    assert phases(done) == [
        *("Starting", "Downloading", "Training", "Interrupted"),
        *("Starting", "Downloading", "Training", "Uploading", "Completed"),
    ]
    assert archive(aws, "models/job/output/model.tar.gz") == {"count": b"2"}
    folder = aws.folder / "jobs" / "training-job"
    assert (folder / "log-1.txt").read_text() == "count 0\nup\n"
    assert (folder / "log.txt").read_text() == "count 1\n"
    for name in ("job", "another"):
        error = cli.run("interrupt", name, status=1).stderr
        assert f"no container of a training job {name} with EnableManagedSpotTraining" in error
    assert 1 <= done["BillableTimeInSeconds"] <= done["TrainingTimeInSeconds"]


def test_checkpoints_are_sent_while_the_job_runs(aws: Aws) -> None:
    config = {"S3Uri": f"s3://{aws.bucket}/kept/", "LocalPath": "/opt/ml/own"}
    aws.put("kept/before", "b")
    code = (
        "import time\n"
        "from pathlib import Path\n"
        "own = Path('/opt/ml/own')\n"
        "assert (own / 'before').read_text() == 'b'\n"
        "(own / 'deep').mkdir()\n"
        "(own / 'deep/one').write_text('1')\n"
        "time.sleep(600)\n"
    )
    request = training_request(
        aws.folder, "job", code, f"s3://{aws.bucket}/models", CheckpointConfig=config
    )
    aws.sagemaker.create_training_job(**request)
    until(lambda: aws.keys("kept/") == ["kept/before", "kept/deep/one"])
    assert aws.wait("Training", "job", "InProgress")["SecondaryStatus"] == "Training"
    aws.sagemaker.stop_training_job(TrainingJobName="job")
    assert aws.wait("Training", "job")["TrainingJobStatus"] == "Stopped"


def test_a_spot_job_has_no_more_than_its_waiting_time(aws: Aws) -> None:
    limits = {"MaxRuntimeInSeconds": 1, "MaxWaitTimeInSeconds": 1}
    done = train(aws, COUNTS, **spot(aws, StoppingCondition=limits))
    assert done["TrainingJobStatus"] == "Stopped"
    assert done["SecondaryStatus"] == "MaxWaitTimeExceeded"


def test_the_waiting_time_goes_with_spot_training(aws: Aws) -> None:
    only = "It is only supported when EnableManagedSpotTraining is set to true"
    least = "It must be present and be greater than or equal to MaxRuntimeInSeconds"
    cases: list[tuple[bool, dict[str, int], str]] = [
        (False, {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 60}, only),
        (True, {"MaxRuntimeInSeconds": 60}, least),
        (True, {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 59}, least),
        (True, {"MaxWaitTimeInSeconds": 86399}, least),
    ]
    for enabled, condition, text in cases:
        change = {"EnableManagedSpotTraining": enabled, "StoppingCondition": condition}
        request = training_request(aws.folder, "job", "pass", f"s3://{aws.bucket}/m", **change)
        assert refused(aws.sagemaker.create_training_job, request) == (
            "ValidationException",
            f"Invalid MaxWaitTimeInSeconds. {text}",
        )


@pytest.mark.parametrize(
    "end", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.exhaustive)]
)
def test_a_job_that_may_start_over_does_so_with_the_local_aws(
    aws: Aws, end: signal.Signals
) -> None:
    """The local AWS of the job is a process of its own, which is killed or closed."""
    folder = aws.folder / "other"
    folder.mkdir()
    output = f"s3://{aws.bucket}/models"
    spot_job = training_request(folder, "spot", COUNTS, output, **spot(aws))
    retried = spot_job | {"TrainingJobName": "retried", "EnableManagedSpotTraining": False}
    retried |= {"StoppingCondition": {"MaxRuntimeInSeconds": 600}}
    retried |= {"RetryStrategy": {"MaximumRetryAttempts": 1}}
    retried["CheckpointConfig"] = {"S3Uri": f"s3://{aws.bucket}/checkpoints-of-retried"}
    settings = aws.service.settings
    program = (
        "import json, signal, sys, threading\n"
        "from pathlib import Path\n"
        "from conftest import make_service\n"
        "stop = threading.Event()\n"
        "signal.signal(signal.SIGTERM, lambda *_: stop.set())\n"
        "service = make_service(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], print)\n"
        "for request in json.load(sys.stdin):\n"
        "    service.call('CreateTrainingJob', request)\n"
        "stop.wait()\n"
        "service.close()\n"
    )
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    requests = folder / "requests.json"
    requests.write_text(json.dumps([spot_job, retried]))
    with requests.open() as given, (folder / "host.txt").open("w") as said:
        host = subprocess.Popen(
            [sys.executable, "-c", program, folder, str(settings.port), settings.isolation],
            env={**os.environ, "PYTHONPATH": path},
            stdin=given,
            stdout=said,
            stderr=subprocess.STDOUT,
        )
    try:
        until(lambda: len(aws.keys("checkpoints")) == 2)
    finally:
        host.send_signal(end)
        host.wait(timeout=30)
    service = make_service(folder, settings.port, settings.isolation, lambda *_: None)
    try:
        for name, interrupted in (("spot", ["Interrupted"]), ("retried", [])):
            done = ended(service, name)
            first, *rest = phases(done)[:3], *phases(done)[3:]
            assert first == ["Starting", "Downloading", "Training"]
            assert rest == [
                *interrupted,
                *("Starting", "Downloading", "Training", "Uploading", "Completed"),
            ]
            assert archive(aws, f"models/{name}/output/model.tar.gz") == {"count": b"2"}
    finally:
        service.close()
