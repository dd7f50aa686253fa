from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from conftest import IMAGE, Aws, make_service, processing_request, until

from local_aws.sagemaker.core import events
from local_aws.sagemaker.core.protocol import input_shape
from local_aws.sagemaker.core.store import Store

GOLDEN = Path(__file__).parent / "golden" / "events"


def golden(name: str) -> dict[str, Any]:
    example: dict[str, Any] = json.loads((GOLDEN / f"{name}.json").read_text())
    return example


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def check(event: events.Event | None, example: dict[str, Any]) -> None:
    assert event is not None
    assert event.detail == example["detail"]
    assert event.detail_type == example["detail-type"]
    assert event.resources == example["resources"]
    assert json.loads(json.dumps(event.detail)) == example["detail"]


def test_training_job() -> None:
    example = golden("training_job")
    body = {
        key: int(value) / 1000 if key.endswith("Time") else value
        for key, value in example["detail"].items()
    }
    del body["Tags"]
    check(events.state_change("TrainingJob", body, "InProgress", {}), example)


def test_tuning_job() -> None:
    example = golden("tuning_job")
    body = {
        key: int(value) / 1000 if key.endswith("Time") else value
        for key, value in example["detail"].items()
    }
    del body["Tags"]
    check(events.state_change("HyperParameterTuningJob", body, "InProgress", {}), example)


def test_transform_job() -> None:
    example = golden("transform_job")
    body = {
        key: seconds(value) if key.endswith("Time") else value
        for key, value in example["detail"].items()
    }
    del body["Tags"]
    check(events.state_change("TransformJob", body, "InProgress", {}), example)


def test_endpoint_states_are_upper_case() -> None:
    example = golden("endpoint")
    body = {
        **example["detail"],
        "EndpointStatus": "InService",
        "CreationTime": 1592411992.203,
        "LastModifiedTime": 1592411994.287,
    }
    check(events.state_change("Endpoint", body, "Creating", {}), example)
    rolling = events.state_change("Endpoint", body | {"EndpointStatus": "RollingBack"}, None, {})
    assert rolling is not None
    assert rolling.detail["EndpointStatus"] == "ROLLING_BACK"


def test_model_package() -> None:
    example = golden("model_package")
    body = {
        **example["detail"],
        "ModelPackageName": "versionedmp-p-idy6c3e1fiqj/2",
        "CreationTime": seconds("2021-02-24T17:00:14+00:00"),
        "LastModifiedTime": seconds("2021-02-24T17:00:14+00:00"),
        "_Private": 1,
    }
    check(events.state_change("ModelPackage", body, None, {"not": "told"}), example)


def test_pipeline_execution() -> None:
    example = golden("pipeline_execution")
    detail = example["detail"]
    body = {
        "PipelineExecutionDisplayName": "SomeDisplayName",
        "PipelineExecutionDescription": "SomeDescription",
        "PipelineExecutionStatus": "Succeeded",
        "PipelineArn": detail["pipelineArn"],
        "PipelineExecutionArn": detail["pipelineExecutionArn"],
        "CreationTime": seconds(detail["executionStartTime"]),
        "LastModifiedTime": seconds(detail["executionEndTime"]),
    }
    check(events.state_change("PipelineExecution", body, "Executing", {}), example)
    running = events.state_change(
        "PipelineExecution", body | {"PipelineExecutionStatus": "Executing"}, None, {}
    )
    assert running is not None
    assert "executionEndTime" not in running.detail
    assert "previousPipelineExecutionStatus" not in running.detail


def test_pipeline_step() -> None:
    example = golden("pipeline_step")
    detail = example["detail"]
    step = {
        "StepName": "myprocessingstep1",
        "StepType": "Processing",
        "StepStatus": "Succeeded",
        "StartTime": seconds(detail["stepStartTime"]),
        "EndTime": seconds(detail["stepEndTime"]),
        "Metadata": {"ProcessingJob": {"Arn": detail["metadata"]["processingJob"]["arn"]}},
    }
    check(
        events.pipeline_step_change(
            step, "Executing", detail["pipelineArn"], detail["pipelineExecutionArn"]
        ),
        example,
    )


def test_kinds_without_events_send_none() -> None:
    assert events.state_change("Model", {"ModelArn": "a"}, None, {}) is None


def test_a_processing_job_tells_its_request_state_and_tags(aws: Aws) -> None:
    request = processing_request(
        aws.folder, "told", "print(1)", Tags=[{"Key": "team", "Value": "ml"}]
    )
    aws.sagemaker.create_processing_job(**request)
    aws.wait("Processing", "told")
    first, last = aws.wait_events(2)
    assert first[0] == last[0] == "SageMaker Processing Job State Change"
    assert [e[1]["ProcessingJobStatus"] for e in (first, last)] == ["InProgress", "Completed"]
    arn = "arn:aws:sagemaker:eu-west-1:000000000000:processing-job/told"
    assert last[2] == [arn]
    detail = last[1]
    assert detail["Tags"] == {"team": "ml"}
    members = set(input_shape("CreateProcessingJob").members) & set(request)
    assert {m: detail[m] for m in members - {"Tags"}} == {m: request[m] for m in members - {"Tags"}}
    assert detail["CreationTime"] <= detail["ProcessingEndTime"] <= detail["LastModifiedTime"]
    assert isinstance(detail["CreationTime"], int)


def test_approval_and_every_update_of_a_version_send_an_event(aws: Aws) -> None:
    aws.sagemaker.create_model_package_group(ModelPackageGroupName="g")
    arn = aws.sagemaker.create_model_package(
        ModelPackageGroupName="g",
        InferenceSpecification={
            "Containers": [{"Image": IMAGE, "ModelDataUrl": "s3://b/m.tar.gz"}]
        },
    )["ModelPackageArn"]
    aws.sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
    aws.sagemaker.update_model_package(
        ModelPackageArn=arn, CustomerMetadataProperties={"auc": "0.9"}
    )
    sent = aws.wait_events(3)
    assert {e[0] for e in sent} == {"SageMaker Model Package State Change"}
    assert [e[1]["ModelApprovalStatus"] for e in sent] == [
        "PendingManualApproval",
        "Approved",
        "Approved",
    ]
    assert sent[-1][1]["CustomerMetadataProperties"] == {"auc": "0.9"}
    assert sent[-1][2] == [arn]
    assert [e[1].get("UpdatedModelPackageFields") for e in sent] == [
        None,
        ["ModelApprovalStatus"],
        ["CustomerMetadataProperties"],
    ]


def test_events_that_a_killed_process_did_not_send_are_sent_at_the_next_start(
    tmp_path: Path, emulator_port: int, isolation: str
) -> None:
    blocked = make_service(tmp_path, emulator_port, isolation, lambda *_: None)
    blocked.close()
    store = Store(tmp_path / "sagemaker.sqlite")
    store.queue_event("late", {"x": 1}, ["arn"])
    store.close()
    seen: list[tuple[str, Any, Any]] = []
    service = make_service(tmp_path, emulator_port, isolation, lambda *event: seen.append(event))
    until(lambda: seen == [("late", {"x": 1}, ["arn"])])
    service.close()
