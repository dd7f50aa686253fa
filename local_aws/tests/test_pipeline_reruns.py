"""What is not run again, and what is: caching, retries, selective execution."""

from __future__ import annotations

import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError
from conftest import Aws, until
from toy_pipelines import (
    BASE,
    condition,
    create,
    definition,
    fail,
    processing,
    start,
    steps_of,
    wait,
)

from local_aws.sagemaker.pipelines import cache
from local_aws.sagemaker.pipelines.expressions import DefinitionError

COUNT = BASE + "print(len(os.listdir(base)))"
CACHED = {"Enabled": True, "ExpireAfter": "PT1H"}


def succeeded(aws: Aws, execution: str) -> dict[str, dict[str, Any]]:
    ended = wait(aws, execution)
    assert ended["PipelineExecutionStatus"] == "Succeeded", ended
    return steps_of(aws, execution)


def job_of(step: dict[str, Any]) -> str:
    arn: str = step["Metadata"]["ProcessingJob"]["Arn"]
    return arn.rpartition("/")[2]


def write(text: Any, bucket: str, **fields: Any) -> Any:
    """A step whose output is its environment's variable TEXT."""
    code = BASE + "open(base + '/processing/out/text', 'w').write(os.environ['TEXT'])"
    outputs = {
        "Std:Join": {"On": "/", "Values": [f"s3://{bucket}", {"Get": "Execution.StartDateTime"}]}
    }
    step = processing("Write", code, {"out": outputs}, **fields)
    step["Arguments"]["Environment"] = {"TEXT": text}
    return step


def read(bucket_of: str = "Write") -> Any:
    """A step that fails unless the first one's output is there."""
    step = processing("Read", BASE + "print(open(base + '/processing/in/text').read())")
    step["Arguments"]["ProcessingInputs"] = [
        {
            "InputName": "in",
            "S3Input": {
                "S3Uri": {
                    "Get": f"Steps.{bucket_of}.ProcessingOutputConfig.Outputs['out'].S3Output.S3Uri"
                },
                "LocalPath": "/opt/ml/processing/in",
                "S3DataType": "S3Prefix",
                "S3InputMode": "File",
            },
        }
    ]
    return step


def test_a_cached_step_is_taken_and_read_by_the_next_one(aws: Aws) -> None:
    step = write({"Get": "Parameters.Text"}, aws.bucket, CacheConfig=CACHED)
    kinds = [{"Name": "Text", "Type": "String", "DefaultValue": "one"}]
    create(aws, "cached", step, read(), Parameters=kinds)
    first = start(aws, "cached")
    made = succeeded(aws, first)["Write"]
    assert "CacheHitResult" not in made

    second = start(aws, "cached")
    steps = succeeded(aws, second)
    # What is written to differs, and does not count; what Read reads are the first one's outputs.
    assert steps["Write"]["CacheHitResult"] == {"SourcePipelineExecutionArn": first}
    assert steps["Write"]["Metadata"] == made["Metadata"]
    assert job_of(steps["Read"]) != job_of(steps_of(aws, first)["Read"])
    events = [d for _k, d, _r in aws.events if d.get("pipelineExecutionArn") == second]
    hits = [d["cacheHitResult"] for d in events if "cacheHitResult" in d]
    assert hits == [{"sourcePipelineExecutionArn": first}]

    changed = succeeded(aws, start(aws, "cached", Text="two"))["Write"]
    assert "CacheHitResult" not in changed
    assert job_of(changed) != job_of(made)

    aws.sagemaker.delete_processing_job(ProcessingJobName=job_of(made))
    assert "CacheHitResult" not in succeeded(aws, start(aws, "cached"))["Write"]


def test_the_cache_expires_and_is_of_one_pipeline(aws: Aws) -> None:
    step = processing("Work", COUNT, CacheConfig=CACHED)
    create(aws, "expiring", step)
    first = start(aws, "expiring")
    succeeded(aws, first)
    (row,) = aws.service.store.list(cache.CACHE)
    aws.service.store.update(cache.CACHE, row["Name"], EndTime=time.time() - 3601)
    second = start(aws, "expiring")
    assert "CacheHitResult" not in succeeded(aws, second)["Work"]
    hit = succeeded(aws, start(aws, "expiring"))["Work"]["CacheHitResult"]
    assert hit == {"SourcePipelineExecutionArn": second}
    create(aws, "other", step)
    assert "CacheHitResult" not in succeeded(aws, start(aws, "other"))["Work"]
    aws.sagemaker.delete_pipeline(PipelineName="expiring")
    assert len(aws.service.store.list(cache.CACHE)) == 1


def test_failed_runs_are_never_taken(aws: Aws) -> None:
    create(aws, "failing", processing("Bad", "raise SystemExit(1)", CacheConfig=CACHED))
    for _ in range(2):
        execution = start(aws, "failing")
        assert wait(aws, execution)["PipelineExecutionStatus"] == "Failed"
        assert "CacheHitResult" not in steps_of(aws, execution)["Bad"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("PT1H", 3600),
        ("P30D", 30 * 86400),
        ("30d", 30 * 86400),
        ("5y", 5 * 365 * 86400),
        ("T16m", 16 * 60),
        ("30dT5h", 30 * 86400 + 5 * 3600),
        ("P2W", 14 * 86400),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert cache.duration(text) == seconds


@pytest.mark.parametrize("text", ["", "P", "PT", "1", "an hour", "PT1X", None, 3600, "1" * 100])
def test_other_durations_are_refused(text: object) -> None:
    with pytest.raises(DefinitionError, match="ISO 8601"):
        cache.duration(text)


# Retry policies

ONCE_SLOW = BASE + (
    "import time; time.sleep(0 if os.path.exists(os.environ['MARK']) else 60); print('done')"
)


def test_a_policy_retries_internal_errors_of_jobs(aws: Aws) -> None:
    step = processing("Flaky", ONCE_SLOW)
    mark = aws.folder / "mark"
    step["Arguments"]["Environment"] = {"MARK": str(mark)}
    step["RetryPolicies"] = [
        {
            "ExceptionType": ["SageMaker.JOB_INTERNAL_ERROR"],
            "IntervalSeconds": 1,
            "BackoffRate": 1.5,
            "MaxAttempts": 2,
        }
    ]
    create(aws, "flaky", step)
    execution = start(aws, "flaky")
    until(lambda: "Metadata" in steps_of(aws, execution).get("Flaky", {}))
    first = steps_of(aws, execution)["Flaky"]
    mark.write_text("")
    aws.service.runs[first["Metadata"]["ProcessingJob"]["Arn"]].abort("its host was lost")
    step = succeeded(aws, execution)["Flaky"]
    assert step["AttemptCount"] == 2
    assert job_of(step) != job_of(first)
    lost = aws.sagemaker.describe_processing_job(ProcessingJobName=job_of(first))
    assert lost["FailureReason"] == "InternalServerError: its host was lost"
    again = aws.sagemaker.describe_processing_job(ProcessingJobName=job_of(step))
    waited = again["CreationTime"] - lost["ProcessingEndTime"]
    assert 1 <= waited.total_seconds() < 5


def test_attempts_end_and_other_errors_are_not_retried(aws: Aws) -> None:
    step = processing("Lost", "import time; time.sleep(60)")
    policy = {"ExceptionType": ["SageMaker.JOB_INTERNAL_ERROR"], "IntervalSeconds": 0}
    step["RetryPolicies"] = [{**policy, "MaxAttempts": 1}]
    create(aws, "lost", step)
    execution = start(aws, "lost")
    lost: set[str] = set()
    for _ in range(2):
        until(lambda: bool(aws.service.runs.keys() - lost))
        (arn,) = aws.service.runs.keys() - lost
        aws.service.runs[arn].abort("its host was lost")
        lost.add(arn)
    ended = wait(aws, execution)
    assert "its host was lost" in ended["FailureReason"]
    assert steps_of(aws, execution)["Lost"]["AttemptCount"] == 2

    wrong = processing(
        "Wrong", "raise SystemExit('no')", RetryPolicies=[{**policy, "MaxAttempts": 3}]
    )
    create(aws, "wrong", wrong)
    execution = start(aws, "wrong")
    wait(aws, execution)
    assert steps_of(aws, execution)["Wrong"]["AttemptCount"] == 1


def test_a_stop_ends_the_wait_for_a_retry(aws: Aws) -> None:
    step = processing("Lost", "import time; time.sleep(60)")
    step["RetryPolicies"] = [
        {
            "ExceptionType": ["SageMaker.JOB_INTERNAL_ERROR"],
            "IntervalSeconds": 600,
            "ExpireAfterMin": 60,
        }
    ]
    create(aws, "waiting", step)
    execution = start(aws, "waiting")
    until(lambda: bool(aws.service.runs))
    next(iter(aws.service.runs.values())).abort("its host was lost")
    until(lambda: not aws.service.runs)
    aws.sagemaker.stop_pipeline_execution(PipelineExecutionArn=execution)
    assert wait(aws, execution)["PipelineExecutionStatus"] == "Stopped"
    assert steps_of(aws, execution)["Lost"]["StepStatus"] == "Stopped"


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ({"ExceptionType": ["Other"]}, "ExceptionType of RetryPolicies must be of"),
        ({"ExceptionType": "Step.THROTTLING"}, "ExceptionType of RetryPolicies must be a list"),
        ({"ExceptionType": [], "MaxAttempts": 1, "ExpireAfterMin": 1}, "Give one of MaxAttempts"),
        ({"ExceptionType": [], "MaxAttempts": 21}, "MaxAttempts of RetryPolicies must be a number"),
        ({"ExceptionType": [], "BackoffRate": -1}, "BackoffRate of RetryPolicies must be"),
        ({"ExceptionType": [], "IntervalSeconds": 1.5}, "IntervalSeconds of RetryPolicies must be"),
        ({"ExceptionType": [], "Interval": 1}, "Unknown member 'Interval'"),
    ],
)
def test_policies_are_checked(aws: Aws, policy: dict[str, Any], message: str) -> None:
    with pytest.raises(ClientError, match=f"Step 'S': {message}"):
        create(aws, "checked", processing("S", "print(1)", RetryPolicies=[policy]))


def test_what_is_not_for_a_step_is_refused(aws: Aws) -> None:
    policies = [{"ExceptionType": ["Step.THROTTLING"]}]
    with pytest.raises(ClientError, match="RetryPolicies are for steps of types EndpointConfig"):
        create(aws, "checked", fail("F", RetryPolicies=policies))
    with pytest.raises(ClientError, match="ExpireAfter must be an ISO 8601 duration"):
        create(aws, "checked", processing("S", "print(1)", CacheConfig={"Enabled": True}))


# RetryPipelineExecution


def test_a_failed_execution_is_retried_from_where_it_failed(aws: Aws) -> None:
    check = BASE + "raise SystemExit(0 if os.path.exists(os.environ['MARK']) else 'no mark')"
    second = processing("Second", check, DependsOn=["First"])
    mark = aws.folder / "mark"
    second["Arguments"]["Environment"] = {"MARK": str(mark)}
    gate = condition("Gate", 1, 1, [processing("Third", "print(1)", DependsOn=["Second"])], [])
    create(aws, "retried", processing("First", "print(1)"), second, gate)
    execution = start(aws, "retried")
    assert wait(aws, execution)["PipelineExecutionStatus"] == "Failed"
    before = steps_of(aws, execution)
    mark.write_text("")
    # What the pipeline is by then does not matter: the execution keeps its version.
    aws.sagemaker.update_pipeline(PipelineName="retried", PipelineDefinition=definition(fail("F")))
    token = uuid.uuid4().hex
    for _ in range(2):
        aws.sagemaker.retry_pipeline_execution(
            PipelineExecutionArn=execution, ClientRequestToken=token
        )
    after = succeeded(aws, execution)
    assert "FailureReason" not in wait(aws, execution)
    assert after["First"] == before["First"]
    assert after["Second"]["AttemptCount"] == 2
    assert "FailureReason" not in after["Second"]
    assert job_of(after["Second"]) != job_of(before["Second"])
    assert set(after) == {"First", "Second", "Gate", "Third"}
    statuses = [
        (d["previousPipelineExecutionStatus"], d["currentPipelineExecutionStatus"])
        for _k, d, _r in aws.wait_events(1)
        if "previousPipelineExecutionStatus" in d
    ]
    assert statuses == [
        ("Executing", "Failed"),
        ("Failed", "Executing"),
        ("Executing", "Succeeded"),
    ]
    with pytest.raises(ClientError, match="is Succeeded; only one that is Failed") as caught:
        aws.sagemaker.retry_pipeline_execution(PipelineExecutionArn=execution)
    assert caught.value.response["Error"]["Code"] == "ConflictException"


def test_a_stopped_execution_is_retried(aws: Aws) -> None:
    step = processing("Slow", ONCE_SLOW)
    mark = aws.folder / "mark"
    step["Arguments"]["Environment"] = {"MARK": str(mark)}
    create(aws, "halted", step)
    execution = start(aws, "halted")
    until(lambda: "Metadata" in steps_of(aws, execution).get("Slow", {}))
    aws.sagemaker.stop_pipeline_execution(PipelineExecutionArn=execution)
    assert wait(aws, execution)["PipelineExecutionStatus"] == "Stopped"
    mark.write_text("")
    aws.sagemaker.retry_pipeline_execution(PipelineExecutionArn=execution)
    assert succeeded(aws, execution)["Slow"]["AttemptCount"] == 2


def test_an_execution_is_retried_once_at_a_time(aws: Aws) -> None:
    check = BASE + "raise SystemExit(0 if os.path.exists(os.environ['MARK']) else 'no mark')"
    step = processing("Work", check)
    mark = aws.folder / "mark"
    step["Arguments"]["Environment"] = {"MARK": str(mark)}
    create(aws, "contested", step)
    execution = start(aws, "contested")
    assert wait(aws, execution)["PipelineExecutionStatus"] == "Failed"
    mark.write_text("")
    barrier = threading.Barrier(6)

    def retry(_: int) -> str:
        barrier.wait()
        try:
            aws.sagemaker.retry_pipeline_execution(PipelineExecutionArn=execution)
        except ClientError as error:
            return str(error.response["Error"]["Code"])
        return "started"

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(retry, range(6)))
    assert sorted(answers) == ["ConflictException"] * 5 + ["started"]
    assert succeeded(aws, execution)["Work"]["AttemptCount"] == 2


# Selective execution


def select(aws: Aws, name: str, source: str | None, *steps: str) -> str:
    config: dict[str, Any] = {"SelectedSteps": [{"StepName": step} for step in steps]}
    if source:
        config["SourcePipelineExecutionArn"] = source
    started = aws.sagemaker.start_pipeline_execution(
        PipelineName=name, SelectiveExecutionConfig=config
    )
    arn: str = started["PipelineExecutionArn"]
    return arn


def selective_pipeline(aws: Aws, name: str) -> None:
    after = processing("After", "print(1)", DependsOn=["Read"])
    gate = condition("Gate", 1, 2, [fail("Never")], [processing("Else", "print(1)")])
    create(aws, name, write("one", aws.bucket), read(), after, gate)


def test_selected_steps_run_on_former_results(aws: Aws) -> None:
    selective_pipeline(aws, "part")
    source = start(aws, "part")
    whole = succeeded(aws, source)
    execution = select(aws, "part", source, "Read")
    steps = succeeded(aws, execution)
    assert set(steps) == {"Write", "Read"}
    assert steps["Write"]["SelectiveExecutionResult"] == {"SourcePipelineExecutionArn": source}
    assert steps["Write"]["Metadata"] == whole["Write"]["Metadata"]
    assert "SelectiveExecutionResult" not in steps["Read"]
    assert job_of(steps["Read"]) != job_of(whole["Read"])
    config = wait(aws, execution)["SelectiveExecutionConfig"]
    assert config["SelectedSteps"] == [{"StepName": "Read"}]

    # What is only waited for need not have run, and a branch that was taken is known.
    assert set(succeeded(aws, select(aws, "part", None, "After"))) == {"After"}
    assert set(succeeded(aws, select(aws, "part", source, "Else"))) == {"Gate", "Else"}
    assert set(succeeded(aws, select(aws, "part", None, "Gate", "Else"))) == {"Gate", "Else"}


def test_selections_are_checked(aws: Aws) -> None:
    selective_pipeline(aws, "checked")
    create(aws, "other", fail("F"))
    source = start(aws, "checked")
    succeeded(aws, source)
    foreign = start(aws, "other")
    wait(aws, foreign)
    wrong = [
        (source, ["Nothing"], "the pipeline has no step 'Nothing'"),
        (source, ["Write", "After"], "step 'Read' lies between selected steps"),
        (None, ["Read"], r"need the results of \['Write'\]; give SourcePipelineExecutionArn"),
        (foreign, ["Read"], "is of another pipeline"),
        (source, ["Never"], "did not take the branch of 'Never'; select 'Gate' too"),
        (source + "x", ["Read"], "does not exist"),
    ]
    for arn, steps, message in wrong:
        with pytest.raises(ClientError, match=message):
            select(aws, "checked", arn, *steps)
    listed = aws.sagemaker.list_pipeline_executions(PipelineName="checked")
    assert len(listed["PipelineExecutionSummaries"]) == 1
