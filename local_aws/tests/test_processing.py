"""Processing jobs, as real processes over real S3."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import (
    IMAGE,
    REGION,
    ROLE,
    Aws,
    processing_request,
    until,
)
from job_requests import (
    LIST_INPUTS,
    SLOW,
    log_lines,
    outputs,
    process,
    refused,
    s3_input,
    s3_output,
    wait_for_output,
)

from local_aws.sagemaker.core.storage import StorageError, split_uri


@pytest.mark.parametrize(
    ("uri", "found"),
    [
        ("in", "a.csv deep/b.csv in-other.csv"),  # a prefix, as S3 has it, not a folder
        ("in/", "a.csv deep/b.csv"),
        ("in/a.csv", "a.csv"),
        ("in/a", "a.csv"),
        ("in/deep", "b.csv"),
        ("in-", "in-other.csv"),
    ],
)
def test_a_prefix_is_brought_in_with_its_folders(
    aws: Aws, isolation: str, uri: str, found: str
) -> None:
    if isolation == "environment":
        pytest.skip("the program names /opt/ml in its code")
    for key in ("in/a.csv", "in/deep/b.csv", "in-other.csv", "in/marker/"):
        aws.put(key)
    done = process(
        aws,
        LIST_INPUTS,
        ProcessingInputs=[s3_input(f"s3://{aws.bucket}/{uri}")],
        **outputs(s3_output(f"s3://{aws.bucket}/result")),
    )
    assert done["ProcessingJobStatus"] == "Completed", done
    assert aws.get("result/found") == found


def test_a_manifest_names_a_prefix_and_keys(aws: Aws) -> None:
    for key in ("in/a.csv", "in/deep/b.csv", "in/c.csv"):
        aws.put(key)
    manifest = [{"prefix": f"s3://{aws.bucket}/in/"}, "a.csv", "deep/b.csv"]
    uri = aws.put("manifests/1", json.dumps(manifest))
    done = process(
        aws,
        LIST_INPUTS,
        ProcessingInputs=[s3_input(uri, S3DataType="ManifestFile")],
        **outputs(s3_output(f"s3://{aws.bucket}/result")),
    )
    assert done["ProcessingJobStatus"] == "Completed", done
    assert aws.get("result/found") == "a.csv deep/b.csv"


@pytest.mark.parametrize("text", ["x", "{}", "[]", '["a"]', '[{"prefix": 1}]', '[{"prefix": "a"}]'])
def test_a_wrong_manifest_is_told(aws: Aws, text: str) -> None:
    uri = aws.put("manifest", text)
    inputs = [s3_input(uri, S3DataType="ManifestFile")]
    done = process(aws, "pass", ProcessingInputs=inputs)
    assert done["ProcessingJobStatus"] == "Failed"
    assert done["FailureReason"].startswith("ClientError: ")


def test_an_empty_input_fails_the_job_in_aws_words(aws: Aws) -> None:
    for number, bucket in enumerate((aws.bucket, "bucket-that-is-not-there")):
        uri = f"s3://{bucket}/nothing/"
        done = process(aws, "pass", f"job-{number}", ProcessingInputs=[s3_input(uri)])
        assert done["ProcessingJobStatus"] == "Failed"
        assert done["FailureReason"].startswith(
            f'ClientError: No S3 objects found under S3 URL "{uri}" given in input data source. '
            f"Please ensure that the bucket exists in the selected region ({REGION}), that "
            "objects exist under that S3 prefix, and that the role "
            f'"{ROLE}" has "s3:ListBucket" permissions on bucket "{bucket}".'
        )


def test_a_container_finds_its_contract(aws: Aws) -> None:
    code = (
        "import json, os, shutil\n"
        "for name in ('processingjobconfig', 'resourceconfig'):\n"
        "    shutil.copy(f'/opt/ml/config/{name}.json', '/opt/ml/processing/out')\n"
        "json.dump(dict(os.environ), open('/opt/ml/processing/out/env.json', 'w'))\n"
        "open('/opt/ml/output/message', 'w').write('CompletedWithViolations: ' + 'x' * 2000)\n"
    )
    request = processing_request(
        aws.folder,
        "job",
        code,
        Environment={"MODE": "test"},
        StoppingCondition={"MaxRuntimeInSeconds": 60},
        Tags=[{"Key": "k", "Value": "v"}],
        **outputs(s3_output(f"s3://{aws.bucket}/result/")),
    )
    created = aws.sagemaker.create_processing_job(**request)
    done = aws.wait("Processing", "job")
    assert done["ProcessingJobStatus"] == "Completed", done
    assert done["ExitMessage"] == ("CompletedWithViolations: " + "x" * 2000)[:1024]
    assert done["CreationTime"] <= done["ProcessingStartTime"] <= done["ProcessingEndTime"]
    config = json.loads(aws.get("result/processingjobconfig.json"))
    assert config["ProcessingJobArn"] == created["ProcessingJobArn"]
    shown = {k: v for k, v in request.items() if k != "Tags"}
    assert {k: config[k] for k in shown} == shown
    hosts = json.loads(aws.get("result/resourceconfig.json"))
    assert hosts == {"current_host": "algo-1", "hosts": ["algo-1"]}
    env = json.loads(aws.get("result/env.json"))
    assert (env["MODE"], env["IMAGE_SAYS"]) == ("test", "hello")
    assert env["AWS_ENDPOINT_URL"] == aws.service.settings.endpoint_url
    assert Path(env["HOME"]).is_relative_to(aws.folder)


def test_the_image_s_own_command_runs_when_the_job_names_none(aws: Aws) -> None:
    program = aws.folder / "program.py"
    program.write_text("import sys; print('ran with', *sys.argv[1:])")
    for name, arguments in (("own", []), ("given", ["a", "b"])):
        request = processing_request(aws.folder, name, "")
        request["AppSpecification"] = {"ImageUri": IMAGE}
        if arguments:
            request["AppSpecification"]["ContainerArguments"] = arguments
        aws.sagemaker.create_processing_job(**request)
        assert aws.wait("Processing", name)["ProcessingJobStatus"] == "Completed"
        shown = " ".join(arguments or ["process"])
        assert log_lines(aws, "/aws/sagemaker/ProcessingJobs", name) == [f"ran with {shown}"]


def test_a_container_that_fails_tells_why_and_keeps_its_outputs(aws: Aws) -> None:
    code = (
        "import sys\n"
        "open('/opt/ml/processing/out/partial', 'w').write('p')\n"
        "print('first\\n' * 5000 + 'the last line')\n"
        "sys.exit(3)\n"
    )
    done = process(aws, code, **outputs(s3_output(f"s3://{aws.bucket}/result")))
    assert done["ProcessingJobStatus"] == "Failed"
    reason = done["FailureReason"]
    assert reason.startswith("AlgorithmError: ")
    assert reason.endswith("the last line, exit code: 3")
    assert len(reason) <= 1024
    assert aws.keys("result") == ["result/partial"]


def test_a_program_that_is_not_in_the_image_is_told(aws: Aws) -> None:
    request = processing_request(aws.folder, "job", "")
    request["AppSpecification"]["ContainerEntrypoint"] = ["no-such-program"]
    aws.sagemaker.create_processing_job(**request)
    done = aws.wait("Processing", "job")
    assert done["ProcessingJobStatus"] == "Failed"
    assert "no-such-program" in done["FailureReason"]


def test_logs_arrive_while_the_job_runs_and_all_are_there_at_its_end(aws: Aws) -> None:
    code = (
        "import time\n"
        "print('started', flush=True)\n"
        "time.sleep(2)\n"
        "print('x' * 300_000)\n"
        "for n in range(12_000): print('line', n)\n"
    )
    request = processing_request(aws.folder, "talks", code)
    aws.sagemaker.create_processing_job(**request)
    until(lambda: log_lines(aws, "/aws/sagemaker/ProcessingJobs", "talks") == ["started"])
    described = aws.sagemaker.describe_processing_job(ProcessingJobName="talks")
    assert described["ProcessingJobStatus"] == "InProgress"
    aws.wait("Processing", "talks")
    log = aws.folder / "jobs" / "processing-talks" / "log.txt"
    assert log.read_text().startswith("started\nxxx")
    messages = log_lines(aws, "/aws/sagemaker/ProcessingJobs", "talks")
    assert messages[0] == "started"
    assert sum(len(m) for m in messages if m.startswith("x")) == 300_000
    assert messages[-12_000:] == [f"line {n}" for n in range(12_000)]


def test_a_job_can_be_stopped(aws: Aws) -> None:
    takes_its_time = "import signal, time; signal.signal(15, lambda *_: time.sleep(1) or exit())\n"
    request = processing_request(aws.folder, "job", takes_its_time + SLOW)
    aws.sagemaker.create_processing_job(**request)
    wait_for_output(aws, "processing-job")
    aws.sagemaker.stop_processing_job(ProcessingJobName="job")
    aws.sagemaker.stop_processing_job(ProcessingJobName="job")  # while it is Stopping
    done = aws.wait("Processing", "job")
    assert done["ProcessingJobStatus"] == "Stopped"
    assert "FailureReason" not in done
    states = [event[1]["ProcessingJobStatus"] for event in aws.wait_events(3)]
    assert states == ["InProgress", "Stopping", "Stopped"]
    stop = aws.sagemaker.stop_processing_job
    assert refused(stop, {"ProcessingJobName": "job"}) == (
        "ValidationException",
        "The request was rejected because the processing job is in status Stopped.",
    )
    assert refused(stop, {"ProcessingJobName": "none"}) == (
        "ValidationException",
        "Could not find requested job with name: none",
    )


def test_a_job_that_is_stopped_at_once_never_hangs(aws: Aws) -> None:
    for number in range(5):
        aws.sagemaker.create_processing_job(**processing_request(aws.folder, f"job-{number}", SLOW))
        aws.sagemaker.stop_processing_job(ProcessingJobName=f"job-{number}")
    for number in range(5):
        done = aws.wait("Processing", f"job-{number}")
        assert done["ProcessingJobStatus"] == "Stopped"


def test_a_job_that_runs_too_long_is_stopped(aws: Aws) -> None:
    begun = time.monotonic()
    done = process(aws, SLOW, StoppingCondition={"MaxRuntimeInSeconds": 1})
    assert done["ProcessingJobStatus"] == "Stopped"
    assert "MaxRuntimeInSeconds" in done["FailureReason"]
    assert time.monotonic() - begun < 15


def test_a_name_is_used_once(aws: Aws) -> None:
    process(aws, "pass")
    code, message = refused(
        aws.sagemaker.create_processing_job, processing_request(aws.folder, "job", "pass")
    )
    assert code == "ResourceInUse"
    assert f"arn:aws:sagemaker:{REGION}:000000000000:processing-job/job" in message


def test_what_cannot_be_done_is_refused_with_the_member_s_name(aws: Aws) -> None:
    base = processing_request(aws.folder, "job", "pass")
    uri = f"s3://{aws.bucket}/x"
    wrong_output = s3_output(uri)
    wrong_output["S3Output"] = {**wrong_output["S3Output"], "LocalPath": "/tmp/x"}  # noqa: S108 - in a request
    athena = {"InputName": "sql", "DatasetDefinition": {}}
    cases: list[tuple[dict[str, Any], str]] = [
        ({"ProcessingInputs": [s3_input(uri, S3InputMode="Pipe")]}, "S3InputMode"),
        ({"ProcessingInputs": [s3_input(uri), s3_input(uri)]}, "InputName"),
        ({"ProcessingInputs": [athena]}, "S3Input"),
        ({"ProcessingInputs": [s3_input(uri, "../../x")]}, "LocalPath"),
        (outputs(wrong_output), "LocalPath"),
        (outputs(s3_output(uri), s3_output(uri)), "OutputName"),
        ({"AppSpecification": {"ImageUri": "unknown:1"}}, "unknown:1"),
    ]
    for change, named in cases:
        code, message = refused(aws.sagemaker.create_processing_job, base | change)
        assert code == "ValidationException"
        assert named in message
    assert aws.sagemaker.list_processing_jobs()["ProcessingJobSummaries"] == []


def test_keys_cannot_leave_their_input(aws: Aws) -> None:
    manifest = [{"prefix": f"s3://{aws.bucket}/"}, "../../../escaped"]
    uri = aws.put("manifest", json.dumps(manifest))
    done = process(aws, "pass", ProcessingInputs=[s3_input(uri, S3DataType="ManifestFile")])
    assert done["ProcessingJobStatus"] == "Failed"
    assert "leads out of the input" in done["FailureReason"]


@pytest.mark.parametrize("uri", ["bucket/key", "https://bucket/key", "s3:///key"])
def test_what_is_no_s3_uri_is_told(uri: str) -> None:
    with pytest.raises(StorageError, match="is not an S3 URI"):
        split_uri(uri)
    assert split_uri("s3://bucket/a?b#c") == ("bucket", "a?b#c")


def test_a_large_file_comes_through_whole(aws: Aws) -> None:
    code = (
        "import hashlib, os\n"
        "data = os.urandom(1 << 20) * 40\n"
        "open('/opt/ml/processing/out/big', 'wb').write(data)\n"
        "open('/opt/ml/processing/out/hash', 'w').write(hashlib.sha256(data).hexdigest())\n"
    )
    process(aws, code, "write", **outputs(s3_output(f"s3://{aws.bucket}/result")))
    check = (
        "import hashlib\n"
        "data = open('/opt/ml/processing/data/big', 'rb').read()\n"
        "want = open('/opt/ml/processing/data/hash').read()\n"
        "assert hashlib.sha256(data).hexdigest() == want\n"
    )
    done = process(aws, check, "read", ProcessingInputs=[s3_input(f"s3://{aws.bucket}/result")])
    assert done["ProcessingJobStatus"] == "Completed", done
