"""The AWS::SageMaker::* types, against CloudFormation's own schemas and a running service."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER
from conftest import ROLE, Aws

from local_aws.cloudformation import TYPES, handlers
from local_aws.sagemaker.protocol import ApiError

DEFINITION = {
    "Version": "2020-12-01",
    "Steps": [{"Name": "Stop", "Type": "Fail", "Arguments": {"ErrorMessage": "no"}}],
}


def schema(name: str) -> dict[str, Any]:
    """The schema of a resource type as cfn-lint ships it."""
    found: dict[str, Any] = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", name).schema
    return found


@pytest.mark.parametrize("name", TYPES)
def test_ref_and_attributes_are_those_of_the_schema(name: str) -> None:
    entry, found = TYPES[name], schema(name)
    identifiers = {path.rpartition("/")[2] for path in found["primaryIdentifier"]}
    read_only = {path.rpartition("/")[2] for path in found.get("readOnlyProperties", [])}
    properties = set(found["properties"])
    # Where the schema calls the identifier Id it is the resource's ARN.
    assert identifiers <= {entry.ref, "Id"}
    assert {a for a in entry.attributes if a in properties} >= read_only - {"Id", "CreationTime"}
    assert entry.updatable <= properties
    assert entry.name_member in properties


def test_a_pipeline_lives_through_create_update_delete(aws: Aws) -> None:
    table = handlers(aws.service, TYPES["AWS::SageMaker::Pipeline"])
    properties = {
        "PipelineName": "stack-pipeline",
        "RoleArn": ROLE,
        "PipelineDefinition": {"PipelineDefinitionBody": json.dumps(DEFINITION)},
    }
    assert table["create"]("Pipeline", properties, "stack") == ("stack-pipeline", {})
    changed = {**properties, "PipelineDescription": "changed"}
    assert table["update"]("stack-pipeline", properties, changed, "stack")[0] == "stack-pipeline"
    found = aws.sagemaker.describe_pipeline(PipelineName="stack-pipeline")
    assert found["PipelineDescription"] == "changed"
    table["delete"]("stack-pipeline", changed)
    table["delete"]("stack-pipeline", changed)
    with pytest.raises(ApiError):
        aws.service.call("DescribePipeline", {"PipelineName": "stack-pipeline"})


def test_a_pipeline_can_come_from_s3(aws: Aws) -> None:
    aws.put("definition.json", json.dumps(DEFINITION))
    table = handlers(aws.service, TYPES["AWS::SageMaker::Pipeline"])
    where = {"Bucket": aws.bucket, "Key": "definition.json"}
    table["create"](
        "Pipeline",
        {
            "PipelineName": "from-s3",
            "RoleArn": ROLE,
            "PipelineDefinition": {"PipelineDefinitionS3Location": where},
        },
        "stack",
    )
    found = aws.sagemaker.describe_pipeline(PipelineName="from-s3")
    assert json.loads(found["PipelineDefinition"]) == DEFINITION


def test_a_group_without_a_name_gets_one_and_ref_is_its_arn(aws: Aws) -> None:
    table = handlers(aws.service, TYPES["AWS::SageMaker::ModelPackageGroup"])
    ref, attributes = table["create"]("Models", {}, "stack")
    assert ref == attributes["ModelPackageGroupArn"]
    assert "/stack-Models-" in ref
    table["delete"](ref, {})


def test_a_change_that_needs_a_new_resource_is_refused_by_name(aws: Aws) -> None:
    table = handlers(aws.service, TYPES["AWS::SageMaker::ModelPackageGroup"])
    properties = {"ModelPackageGroupName": "named"}
    ref, _ = table["create"]("Models", properties, "stack")
    changed = {**properties, "ModelPackageGroupDescription": "new"}
    with pytest.raises(ValueError, match="ModelPackageGroupDescription"):
        table["update"](ref, properties, changed, "stack")
