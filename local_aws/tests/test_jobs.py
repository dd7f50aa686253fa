"""Many jobs at once, and jobs at the end of the process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from conftest import (
    Aws,
    make_service,
    processing_request,
    until,
)
from job_requests import (
    SLOW,
    outputs,
    s3_output,
)

from local_aws.sagemaker.jobs import jobs


def test_eight_jobs_at_once(aws: Aws) -> None:
    code = (
        "import os, time\n"
        "open('/opt/ml/processing/out/me', 'w').write(os.environ['ME'])\n"
        "time.sleep(0.3)\n"
        "assert open('/opt/ml/processing/out/me').read() == os.environ['ME']\n"
    )
    for number in range(8):
        request = processing_request(
            aws.folder,
            f"job-{number}",
            code,
            Environment={"ME": str(number)},
            **outputs(s3_output(f"s3://{aws.bucket}/result/{number}")),
        )
        aws.sagemaker.create_processing_job(**request)
    for number in range(8):
        assert aws.wait("Processing", f"job-{number}")["ProcessingJobStatus"] == "Completed"
        assert aws.get(f"result/{number}/me") == str(number)


def test_a_clean_stop_fails_what_runs_and_leaves_no_process(
    tmp_path: Path, emulator_port: int, isolation: str
) -> None:
    service = make_service(tmp_path, emulator_port, isolation, lambda *_: None)
    service.call("CreateProcessingJob", processing_request(tmp_path, "job", SLOW))
    log = tmp_path / "jobs" / "processing-job" / "log.txt"
    until(lambda: log.exists() and "up" in log.read_text())
    (process,) = service.store.list(jobs.PROCESS)
    pid = process["Pid"]
    service.close()
    assert not Path(f"/proc/{pid}").exists()
    again = make_service(tmp_path, emulator_port, isolation, lambda *_: None)
    described = again.call("DescribeProcessingJob", {"ProcessingJobName": "job"})
    assert again.store.list(jobs.PROCESS) == []
    again.close()
    assert described["ProcessingJobStatus"] == "Failed"
    assert described["FailureReason"].startswith("InternalServerError: The local AWS was stopped")


def test_after_sigkill_the_job_is_failed_and_its_process_ended(
    tmp_path: Path, emulator_port: int, isolation: str
) -> None:
    program = (
        "import json, sys, time\n"
        "from pathlib import Path\n"
        "from conftest import make_service, training_request\n"
        "folder = Path(sys.argv[1])\n"
        "service = make_service(folder, int(sys.argv[2]), sys.argv[3], print)\n"
        "code = 'import time; print(1, flush=True); time.sleep(600)'\n"
        "service.call('CreateTrainingJob', training_request(folder, 'job', code, 's3://b-b/models'))\n"
        "time.sleep(600)\n"
    )
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    with (tmp_path / "host.txt").open("w") as output:
        host = subprocess.Popen(
            [sys.executable, "-c", program, tmp_path, str(emulator_port), isolation],
            env={**os.environ, "PYTHONPATH": path},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        log = tmp_path / "jobs" / "training-job" / "log.txt"
        until(lambda: log.exists() and "1" in log.read_text())
        until(lambda: bool(_jobs_of(tmp_path)))
    finally:
        host.send_signal(signal.SIGKILL)
        host.wait()
    events: list[dict[str, Any]] = []
    service = make_service(
        tmp_path, emulator_port, isolation, lambda _, detail, __: events.append(detail)
    )
    try:
        described = service.call("DescribeTrainingJob", {"TrainingJobName": "job"})
        assert described["TrainingJobStatus"] == described["SecondaryStatus"] == "Failed"
        assert described["FailureReason"] == (
            "InternalServerError: The local AWS was killed while the job ran."
        )
        until(lambda: [e["TrainingJobStatus"] for e in events][-1:] == ["Failed"])
        until(lambda: not _jobs_of(tmp_path), 5)
    finally:
        service.close()


def _jobs_of(folder: Path) -> list[str]:
    """Return the processes that run as jobs of this folder."""
    found = []
    for process_folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process_folder / "environ").read_bytes()
            state = (process_folder / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if f"HOME={folder}/jobs".encode() in environment and state != "Z":
            found.append(process_folder.name)
    return found
