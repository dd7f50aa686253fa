"""The operations on pipelines and executions, called with boto3."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from conftest import REGION, ROLE, Aws, make_service
from toy_pipelines import create, definition, fail, processing, start, steps_of, wait


def test_an_ended_execution_cannot_be_stopped(aws: Aws) -> None:
    create(aws, "ended", fail("F"))
    execution = start(aws, "ended")
    wait(aws, execution)
    with pytest.raises(ClientError, match="is Failed") as caught:
        aws.sagemaker.stop_pipeline_execution(PipelineExecutionArn=execution)
    assert caught.value.response["Error"]["Code"] == "ConflictException"


def test_one_token_starts_one_execution(aws: Aws) -> None:
    create(aws, "once", fail("F"))
    token = uuid.uuid4().hex
    started: list[str] = []
    barrier = threading.Barrier(8)

    def begin() -> None:
        barrier.wait()
        response = aws.sagemaker.start_pipeline_execution(
            PipelineName="once", ClientRequestToken=token
        )
        started.append(response["PipelineExecutionArn"])

    threads = [threading.Thread(target=begin) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(started) == 8
    assert len(set(started)) == 1
    wait(aws, started[0])
    begun = aws.sagemaker.list_pipeline_executions(PipelineName="once")
    assert len(begun["PipelineExecutionSummaries"]) == 1
    other = aws.sagemaker.start_pipeline_execution(
        PipelineName="once", ClientRequestToken=uuid.uuid4().hex
    )
    assert other["PipelineExecutionArn"] != started[0]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"Other": "1"}, r"Unknown pipeline parameters \['Other'\]"),
        ({}, "Parameter 'Count' has no default value"),
        ({"Count": "many"}, "'many' is not of type Integer"),
    ],
)
def test_start_checks_parameters(aws: Aws, parameters: dict[str, str], message: str) -> None:
    create(aws, "typed", fail("F"), Parameters=[{"Name": "Count", "Type": "Integer"}])
    with pytest.raises(ClientError, match=message) as caught:
        start(aws, "typed", **parameters)
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    listed = aws.sagemaker.list_pipeline_executions(PipelineName="typed")
    assert listed["PipelineExecutionSummaries"] == []


def test_parameters_and_definition_of_an_execution(aws: Aws) -> None:
    kinds = [
        {"Name": "Count", "Type": "Integer", "DefaultValue": 2},
        {"Name": "On", "Type": "Boolean", "DefaultValue": True},
    ]
    create(aws, "kept", fail("Old"), Parameters=kinds)
    execution = start(aws, "kept", Count="5")
    aws.sagemaker.update_pipeline(PipelineName="kept", PipelineDefinition=definition(fail("New")))
    listed = aws.sagemaker.list_pipeline_parameters_for_execution(PipelineExecutionArn=execution)
    assert listed["PipelineParameters"] == [
        {"Name": "Count", "Value": "5"},
        {"Name": "On", "Value": "true"},
    ]
    kept = aws.sagemaker.describe_pipeline_definition_for_execution(PipelineExecutionArn=execution)
    assert kept["PipelineDefinition"] == definition(fail("Old"), Parameters=kinds)
    wait(aws, execution)
    assert set(steps_of(aws, execution)) == {"Old"}


def test_executions_are_listed_in_order_and_in_pages(aws: Aws) -> None:
    create(aws, "many", fail("F"))
    started = [start(aws, "many") for _ in range(5)]
    for minutes, execution in enumerate(started):
        wait(aws, execution)
        # boto3 sends whole seconds, and these executions take milliseconds.
        aws.service.store.update("PipelineExecution", execution, CreationTime=60.0 * minutes)
    paginator = aws.sagemaker.get_paginator("list_pipeline_executions")

    def listed(**request: Any) -> list[str]:
        pages = paginator.paginate(PipelineName="many", PaginationConfig={"PageSize": 2}, **request)
        return [
            summary["PipelineExecutionArn"]
            for page in pages
            for summary in page["PipelineExecutionSummaries"]
        ]

    assert listed() == started[::-1]
    assert listed(SortOrder="Ascending") == started
    assert listed(SortBy="PipelineExecutionArn", SortOrder="Ascending") == sorted(started)
    middle = wait(aws, started[2])["CreationTime"]
    assert listed(CreatedAfter=middle) == [started[4], started[3]]
    assert listed(CreatedBefore=middle) == [started[1], started[0]]
    summary = aws.sagemaker.list_pipeline_executions(PipelineName="many", MaxResults=1)
    reason = summary["PipelineExecutionSummaries"][0]["PipelineExecutionFailureReason"]
    assert reason.endswith("Step 'F': no")


def test_pipelines_are_created_updated_listed_and_deleted(aws: Aws) -> None:
    token = uuid.uuid4().hex
    request = {
        "PipelineName": "first",
        "RoleArn": ROLE,
        "PipelineDefinition": definition(fail("F")),
        "ClientRequestToken": token,
        "Tags": [{"Key": "k", "Value": "v"}],
    }
    arn = aws.sagemaker.create_pipeline(**request)["PipelineArn"]
    assert arn == f"arn:aws:sagemaker:{REGION}:000000000000:pipeline/first"
    assert aws.sagemaker.create_pipeline(**request)["PipelineArn"] == arn
    assert aws.sagemaker.list_tags(ResourceArn=arn)["Tags"] == request["Tags"]
    with pytest.raises(ClientError, match=r"Pipeline with name \(first\) already exists"):
        aws.sagemaker.create_pipeline(**{**request, "ClientRequestToken": uuid.uuid4().hex})

    create(aws, "second", fail("F"))
    aws.sagemaker.update_pipeline(PipelineName="first", PipelineDescription="text")
    described = aws.sagemaker.describe_pipeline(PipelineName=arn)
    assert described["PipelineDescription"] == "text"
    assert described["PipelineDefinition"] == request["PipelineDefinition"]
    assert described["PipelineStatus"] == "Active"
    with pytest.raises(ClientError, match="Unable to parse pipeline definition"):
        aws.sagemaker.update_pipeline(PipelineName="first", PipelineDefinition=definition())

    def listed(**filters: Any) -> list[str]:
        found = aws.sagemaker.list_pipelines(**filters)["PipelineSummaries"]
        return [pipeline["PipelineName"] for pipeline in found]

    assert listed() == ["second", "first"]
    assert listed(SortBy="Name", SortOrder="Ascending") == ["first", "second"]
    assert listed(PipelineNamePrefix="f", MaxResults=1) == ["first"]

    execution = start(aws, "first")
    wait(aws, execution)
    assert "LastRunTime" in aws.sagemaker.describe_pipeline(PipelineName="first")
    assert aws.sagemaker.delete_pipeline(PipelineName="first")["PipelineArn"] == arn
    assert listed() == ["second"]
    calls: list[Callable[[], object]] = [
        lambda: aws.sagemaker.describe_pipeline(PipelineName="first"),
        lambda: aws.sagemaker.describe_pipeline_execution(PipelineExecutionArn=execution),
        lambda: aws.sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=execution),
    ]
    for call in calls:
        with pytest.raises(ClientError) as caught:
            call()
        assert caught.value.response["Error"]["Code"] == "ResourceNotFound"


def test_a_running_pipeline_is_not_deleted(aws: Aws) -> None:
    create(aws, "busy", processing("Slow", "import time; time.sleep(60)"))
    execution = start(aws, "busy")
    with pytest.raises(ClientError, match="running execution"):
        aws.sagemaker.delete_pipeline(PipelineName="busy")
    aws.sagemaker.stop_pipeline_execution(PipelineExecutionArn=execution)
    wait(aws, execution)


def test_a_definition_can_be_in_s3(aws: Aws) -> None:
    aws.put("definition.json", definition(fail("F")))
    location = {"Bucket": aws.bucket, "ObjectKey": "definition.json"}
    aws.sagemaker.create_pipeline(
        PipelineName="stored", RoleArn=ROLE, PipelineDefinitionS3Location=location
    )
    described = aws.sagemaker.describe_pipeline(PipelineName="stored")
    assert described["PipelineDefinition"] == definition(fail("F"))
    with pytest.raises(ClientError, match=r"missing\.json could not be read"):
        aws.sagemaker.create_pipeline(
            PipelineName="absent",
            RoleArn=ROLE,
            PipelineDefinitionS3Location={"Bucket": aws.bucket, "ObjectKey": "missing.json"},
        )
    with pytest.raises(ClientError, match="Give PipelineDefinition or"):
        aws.sagemaker.create_pipeline(PipelineName="absent", RoleArn=ROLE)


@pytest.mark.parametrize("kind", ["EMR", "QualityCheck", "ClarifyCheck", "AutoML", "ForEach"])
def test_step_types_that_do_not_run_here_are_refused(aws: Aws, kind: str) -> None:
    step = {"Name": "Other", "Type": kind, "Arguments": {}}
    with pytest.raises(ClientError, match=f"Step 'Other': type '{kind}' does not run") as caught:
        create(aws, "refused", step)
    assert caught.value.response["Error"]["Code"] == "ValidationException"


def test_versions(aws: Aws) -> None:
    arn = create(aws, "versions", fail("Old"))
    updated = aws.sagemaker.update_pipeline(
        PipelineName="versions", PipelineDefinition=definition(fail("New"))
    )
    assert updated["PipelineVersionId"] == 2
    aws.sagemaker.update_pipeline_version(
        PipelineArn=arn, PipelineVersionId=1, PipelineVersionDisplayName="first"
    )
    described = aws.sagemaker.describe_pipeline(PipelineName="versions", PipelineVersionId=1)
    assert described["PipelineDefinition"] == definition(fail("Old"))
    assert described["PipelineVersionDisplayName"] == "first"
    now = aws.sagemaker.describe_pipeline(PipelineName="versions")
    assert now["PipelineDefinition"] == definition(fail("New"))

    execution = aws.sagemaker.start_pipeline_execution(PipelineName="versions", PipelineVersionId=1)
    execution = execution["PipelineExecutionArn"]
    assert wait(aws, execution)["PipelineVersionId"] == 1
    assert set(steps_of(aws, execution)) == {"Old"}
    listed = aws.sagemaker.list_pipeline_versions(PipelineName="versions", MaxResults=1)
    assert [v["PipelineVersionId"] for v in listed["PipelineVersionSummaries"]] == [2]
    rest = aws.sagemaker.list_pipeline_versions(
        PipelineName="versions", NextToken=listed["NextToken"]
    )
    (first,) = rest["PipelineVersionSummaries"]
    assert first["LastExecutionPipelineExecutionArn"] == execution
    assert first["PipelineVersionDisplayName"] == "first"
    with pytest.raises(ClientError, match="has no version 3") as caught:
        aws.sagemaker.start_pipeline_execution(PipelineName="versions", PipelineVersionId=3)
    assert caught.value.response["Error"]["Code"] == "ResourceNotFound"
    # A pipeline of that name made anew begins with its first version.
    aws.sagemaker.delete_pipeline(PipelineName="versions")
    create(aws, "versions", fail("Again"))
    listed = aws.sagemaker.list_pipeline_versions(PipelineName="versions")
    assert [v["PipelineVersionId"] for v in listed["PipelineVersionSummaries"]] == [1]


def test_an_execution_is_renamed_and_described(aws: Aws) -> None:
    create(aws, "named", fail("F"))
    execution = aws.sagemaker.start_pipeline_execution(
        PipelineName="named",
        PipelineExecutionDisplayName="before",
        PipelineExecutionDescription="text",
    )["PipelineExecutionArn"]
    aws.sagemaker.update_pipeline_execution(
        PipelineExecutionArn=execution, PipelineExecutionDisplayName="after"
    )
    described = wait(aws, execution)
    assert described["PipelineExecutionDisplayName"] == "after"
    assert described["PipelineExecutionDescription"] == "text"


def test_a_data_folder_from_before_versions_is_read(
    aws: Aws, isolation: str, emulator_port: int
) -> None:
    create(aws, "old", fail("F"))
    execution = start(aws, "old")
    ended = wait(aws, execution)
    store = aws.service.store
    store.delete("PipelineVersion", f"{ended['PipelineArn']}/1")
    store.update("Pipeline", "old", _Version=None)
    store.update("PipelineExecution", execution, PipelineVersionId=None)
    aws.service.close()
    service = make_service(aws.folder, emulator_port, isolation, lambda *_: None)
    try:
        described = service.call("DescribePipeline", {"PipelineName": "old"})
        assert described["PipelineDefinition"] == definition(fail("F"))
        named = {"PipelineExecutionArn": execution}
        told = service.call("DescribePipelineDefinitionForExecution", named)
        assert told["PipelineDefinition"] == definition(fail("F"))
        service.call("RetryPipelineExecution", {**named, "ClientRequestToken": "x" * 32})
        again = {"PipelineName": "old", "ClientRequestToken": "y" * 32}
        assert service.call("StartPipelineExecution", again)["PipelineExecutionArn"] != execution
    finally:
        service.close()
