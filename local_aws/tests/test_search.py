"""Search, on resources as their operations store them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from conftest import IMAGE, Aws
from job_requests import channel, refused, train
from toy_pipelines import create, definition, fail, start, wait

APPROVED = {"Name": "ModelApprovalStatus", "Value": "Approved"}


def version(aws: Aws, **more: Any) -> None:
    aws.sagemaker.create_model_package(
        ModelPackageGroupName="g",
        InferenceSpecification={"Containers": [{"Image": IMAGE}]},
        **more,
    )


def found(aws: Aws, *filters: dict[str, Any], **request: Any) -> list[int]:
    expression = {"Filters": list(filters)} if filters else request.pop("Expression", None)
    if expression:
        request["SearchExpression"] = expression
    results = aws.sagemaker.search(Resource="ModelPackage", **request)["Results"]
    return [result["ModelPackage"]["ModelPackageVersion"] for result in results]


@pytest.fixture
def versions(aws: Aws) -> None:
    aws.sagemaker.create_model_package_group(ModelPackageGroupName="g")
    version(aws, ModelApprovalStatus="Approved", CustomerMetadataProperties={"auc": "0.7"})
    version(aws, ModelPackageDescription="the better one", CustomerMetadataProperties={"k": "v"})
    version(aws, ModelApprovalStatus="Approved")
    for number in (1, 2, 3):
        arn = aws.service.arn("ModelPackage", f"g/{number}")
        aws.service.store.update("ModelPackage", arn, CreationTime=86_400.0 * number)


@pytest.mark.usefixtures("versions")
def test_filters(aws: Aws) -> None:
    assert found(aws) == [3, 2, 1]  # last changed first
    assert found(aws, SortBy="CreationTime", SortOrder="Ascending") == [1, 2, 3]
    assert found(aws, APPROVED) == [3, 1]
    assert found(aws, {**APPROVED, "Operator": "NotEquals"}) == [2]
    assert found(aws, APPROVED, {"Name": "ModelPackageVersion", "Value": "1"}) == [1]
    later = {"Name": "CreationTime", "Operator": "GreaterThan", "Value": "1970-01-02T12:00:00"}
    assert found(aws, later) == [3, 2]
    assert found(aws, later, APPROVED) == [3]
    among = {"Name": "ModelApprovalStatus", "Operator": "In", "Value": "Rejected, Approved"}
    assert found(aws, among) == [3, 1]
    described = {"Name": "ModelPackageDescription", "Operator": "Contains", "Value": "better"}
    assert found(aws, described) == [2]
    assert found(aws, {"Name": "CustomerMetadataProperties.auc", "Value": "0.7"}) == [1]
    missing = {"Name": "CustomerMetadataProperties.auc", "Operator": "NotExists"}
    assert found(aws, missing) == [3, 2]
    image = {"Name": "InferenceSpecification.Containers.Image", "Value": IMAGE}
    assert found(aws, image) == [3, 2, 1]
    either = {
        "Operator": "Or",
        "Filters": [described],
        "SubExpressions": [{"Filters": [later, APPROVED]}],
    }
    assert found(aws, Expression=either) == [3, 2]


@pytest.mark.usefixtures("versions")
def test_pages(aws: Aws) -> None:
    paginator = aws.sagemaker.get_paginator("search")
    pages = paginator.paginate(Resource="ModelPackage", PaginationConfig={"PageSize": 2})
    numbers = [r["ModelPackage"]["ModelPackageVersion"] for page in pages for r in page["Results"]]
    assert numbers == [3, 2, 1]


@pytest.mark.usefixtures("versions")
@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"Resource": "Image"}, "'Image' cannot be searched here"),
        ({"SortBy": "Nothing"}, "no property 'Nothing'"),
        (
            {"SearchExpression": {"Filters": [{"Name": "Nope.x", "Value": "1"}]}},
            "no property 'Nope.x'",
        ),
        (
            {"SearchExpression": {"Filters": [{"Name": "CreationTime", "Value": "noon"}]}},
            "a number or a time",
        ),
        ({"SearchExpression": {"Filters": [{"Name": "ModelPackageArn"}]}}, "needs a Value"),
        ({"NextToken": "x"}, "NextToken"),
    ],
)
def test_bad_requests(aws: Aws, request_: dict[str, Any], message: str) -> None:
    code, text = refused(aws.sagemaker.search, {"Resource": "ModelPackage", **request_})
    assert (code, message in text) == ("ValidationException", True), text


def test_training_jobs_by_hyperparameter_metric_tag_and_channel(aws: Aws) -> None:
    data = aws.put("one/data")
    for depth, score in ((3, 0.5), (10, 0.75)):
        train(
            aws,
            f"print('score={score}')",
            f"depth-{depth}",
            HyperParameters={"tree.depth": str(depth)},
            AlgorithmSpecification={
                "MetricDefinitions": [{"Name": "score", "Regex": "score=(.*)"}]
            },
            InputDataConfig=[channel("train", data), channel("test", aws.put(f"{depth}/data"))],
            Tags=[{"Key": "depth", "Value": str(depth)}],
        )

    def names(**expression: Any) -> list[str]:
        answer = aws.sagemaker.search(Resource="TrainingJob", SearchExpression=expression)
        return [result["TrainingJob"]["TrainingJobName"] for result in answer["Results"]]

    deep = {"Name": "HyperParameters.tree.depth", "Operator": "GreaterThan", "Value": "9"}
    good = {"Name": "Metrics.score", "Operator": "GreaterThanOrEqualTo", "Value": "0.75"}
    for entry in (deep, good, {"Name": "Tags.depth", "Value": "10"}):
        assert names(Filters=[entry]) == ["depth-10"]
    uri = "DataSource.S3DataSource.S3Uri"

    def nested(channel: str) -> dict[str, Any]:
        filters = [
            {"Name": "InputDataConfig.ChannelName", "Value": channel},
            {"Name": f"InputDataConfig.{uri}", "Operator": "Contains", "Value": "one/"},
        ]
        return {"NestedPropertyName": "InputDataConfig", "Filters": filters}

    assert len(names(NestedFilters=[nested("train")])) == 2
    assert names(NestedFilters=[nested("test")]) == []


def test_executions_and_versions_of_pipelines(aws: Aws) -> None:
    kinds = [{"Name": "Day", "Type": "String", "DefaultValue": "monday"}]
    create(aws, "p", fail("F"), Parameters=kinds)
    aws.sagemaker.update_pipeline(
        PipelineName="p", PipelineDefinition=definition(fail("F"), Parameters=kinds)
    )
    execution = start(aws, "p", Day="friday")
    wait(aws, execution)
    wait(aws, start(aws, "p"))
    day = {"Name": "PipelineParameters.Value", "Value": "friday"}
    failed = {"Name": "PipelineExecutionStatus", "Value": "Failed"}
    answer = aws.sagemaker.search(
        Resource="PipelineExecution", SearchExpression={"Filters": [day, failed]}
    )
    (result,) = answer["Results"]
    assert result["PipelineExecution"]["PipelineExecutionArn"] == execution
    assert result["PipelineExecution"]["CreationTime"] <= datetime.now(UTC)
    answer = aws.sagemaker.search(Resource="PipelineVersion", SortBy="PipelineVersionId")
    versions = [r["PipelineVersion"]["PipelineVersionId"] for r in answer["Results"]]
    assert versions == [2, 1]
