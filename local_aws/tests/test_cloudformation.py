"""Our resource types, against CloudFormation's own schemas and a running service."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER
from conftest import IMAGE, REGION, ROLE, Aws
from monitor_requests import definition_request, schedule_request

from local_aws.cloudformation.clients import types as client_types
from local_aws.cloudformation.inert import handlers as inert_handlers
from local_aws.cloudformation.inert_types import TYPES as INERT_TYPES
from local_aws.cloudformation.properties import Properties
from local_aws.cloudformation.sagemaker_types import TYPES, handlers
from local_aws.sagemaker.core.protocol import ApiError
from local_aws.sagemaker.core.store import Store
from local_aws.settings import Settings

DEFINITION = {
    "Version": "2020-12-01",
    "Steps": [{"Name": "Stop", "Type": "Fail", "Arguments": {"ErrorMessage": "no"}}],
}


def schema(name: str) -> dict[str, Any]:
    """The schema of a resource type as cfn-lint ships it."""
    found: dict[str, Any] = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", name).schema
    return found


def leaves(schema: dict[str, Any], key: str) -> set[str]:
    """The top-level properties that a list of a schema names."""
    return {path.removeprefix("/properties/") for path in schema.get(key) or []}


def check_properties(properties: Properties, schema: dict[str, Any]) -> None:
    # CodeArtifact's schemas list what may be given at creation as read-only too.
    read_only = leaves(schema, "readOnlyProperties") - leaves(schema, "createOnlyProperties")
    assert properties.names == set(schema["properties"]) - read_only
    assert properties.required == set(schema.get("required") or [])
    replacing = {name for name in leaves(schema, "createOnlyProperties") if "/" not in name}
    assert properties.replacing == replacing


@pytest.mark.parametrize("name", TYPES)
def test_a_type_is_as_in_its_schema(name: str) -> None:
    entry, found = TYPES[name], schema(name)
    check_properties(entry.properties, found)
    # Where the schema calls the identifier Id it is the resource's ARN.
    assert leaves(found, "primaryIdentifier") <= {entry.ref, "Id"}
    properties = set(found["properties"])
    read_only = leaves(found, "readOnlyProperties")
    assert {a for a in entry.attributes if a in properties} >= read_only - {"Id"}
    assert entry.named_by in properties


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """What inert types use of a service."""
    folder = tmp_path_factory.mktemp("store")
    store = Store(folder / "sagemaker.sqlite")
    yield SimpleNamespace(store=store, settings=Settings(folder, 0, REGION, isolation="none"))
    store.close()


@pytest.mark.parametrize("name", INERT_TYPES)
def test_an_inert_type_is_as_in_its_schema(name: str, light: Any) -> None:
    entry, found = INERT_TYPES[name], schema(name)
    check_properties(entry.properties, found)
    identifiers = [path.removeprefix("/properties/") for path in found["primaryIdentifier"]]
    read_only = {name for name in leaves(found, "readOnlyProperties") if "/" not in name}
    assert set(entry.attributes) >= read_only
    # Ref holds what the properties that are the identifier hold, in the schema's order.
    special = {"Schedule": {"ScheduleId": "daily"}, "Url": "https://token.example.com"}
    given = {name: special.get(name, f"its-{name.lower()}") for name in entry.properties.names}
    table = inert_handlers(light, entry)
    ref, attributes = table["create"]("Thing", {**given}, "stack")
    values = {**given, **attributes, "Schedule/ScheduleId": "daily"}
    assert ref == "|".join(str(values[name]) for name in identifiers)
    generated = "{id}" in entry.ref or "{name}" in entry.ref
    with nullcontext() if generated else pytest.raises(ValueError, match="already exists"):
        table["create"]("Other", given, "stack")
    assert table["update"](ref, given, given, "stack") == (ref, attributes)
    table["delete"](ref, given)
    table["delete"](ref, given)


def test_types_over_other_services_take_what_their_schemas_have(light: Any) -> None:
    # A composite alarm's suppressor is not there.
    absent = {
        "ActionConfiguration",
        "ActionsSuppressor",
        "ActionsSuppressorExtensionPeriod",
        "ActionsSuppressorWaitPeriod",
    }
    for name, (properties, _) in client_types(light).items():
        found = schema(name)
        read_only = leaves(found, "readOnlyProperties")
        assert properties.names == set(found["properties"]) - read_only - absent, name
        assert properties.required == set(found.get("required") or []), name
        assert properties.replacing == leaves(found, "createOnlyProperties"), name


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"DomainId": "d-1"}, r"required key \[UserProfileName\] not found"),
        (
            {"DomainId": "d-1", "UserProfileName": "u", "UserName": "u"},
            r"extraneous key \[UserName\] is not permitted",
        ),
    ],
)
def test_properties_are_refused_by_name(light: Any, given: dict[str, str], message: str) -> None:
    table = inert_handlers(light, INERT_TYPES["AWS::SageMaker::UserProfile"])
    with pytest.raises(ValueError, match=message):
        table["create"]("Thing", given, "stack")


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


def test_a_model_without_a_name_gets_one_and_ref_is_its_arn(aws: Aws) -> None:
    table = handlers(aws.service, TYPES["AWS::SageMaker::Model"])
    properties = {"ExecutionRoleArn": ROLE, "PrimaryContainer": {"Image": IMAGE}}
    ref, attributes = table["create"]("Line", properties, "stack")
    assert ref == attributes["ModelArn"]
    assert "/stack-Line-" in ref
    tagged = {**properties, "Tags": [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]}
    fewer = {**properties, "Tags": [{"Key": "a", "Value": "3"}]}
    table["update"](ref, properties, tagged, "stack")
    table["update"](ref, tagged, fewer, "stack")
    tags = aws.service.call("ListTags", {"ResourceArn": ref})["Tags"]
    assert tags == [{"Key": "a", "Value": "3"}]
    table["delete"](ref, {})


def test_numbers_and_booleans_of_a_template_may_be_strings(aws: Aws) -> None:
    aws.service.call(
        "CreateModel",
        {
            "ModelName": "line",
            "ExecutionRoleArn": ROLE,
            "PrimaryContainer": {"Image": IMAGE, "Environment": {"N": "1"}},
        },
    )
    table = handlers(aws.service, TYPES["AWS::SageMaker::EndpointConfig"])
    variant = {
        "VariantName": "all",
        "ModelName": "line",
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": "1",
        "InitialVariantWeight": "0.5",
    }
    ref, _ = table["create"]("Config", {"ProductionVariants": [variant]}, "stack")
    name = ref.rpartition("/")[2]
    found = aws.service.call("DescribeEndpointConfig", {"EndpointConfigName": name})
    assert found["ProductionVariants"][0]["InitialInstanceCount"] == 1
    assert found["ProductionVariants"][0]["InitialVariantWeight"] == 0.5


def test_an_endpoint_that_fails_is_not_left_behind(aws: Aws) -> None:
    aws.service.call(
        "CreateModel",
        {
            "ModelName": "broken",
            "ExecutionRoleArn": ROLE,
            "PrimaryContainer": {"Image": IMAGE, "ModelDataUrl": f"s3://{aws.bucket}/no.tar.gz"},
        },
    )
    variant = {
        "VariantName": "all",
        "ModelName": "broken",
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 1,
    }
    aws.service.call(
        "CreateEndpointConfig", {"EndpointConfigName": "c", "ProductionVariants": [variant]}
    )
    table = handlers(aws.service, TYPES["AWS::SageMaker::Endpoint"])
    properties = {"EndpointName": "broken", "EndpointConfigName": "c"}
    with pytest.raises(ValueError, match=r"no\.tar\.gz"):
        table["create"]("Endpoint", properties, "stack")
    with pytest.raises(ApiError):
        aws.service.call("DescribeEndpoint", {"EndpointName": "broken"})


def test_a_model_package_is_identified_by_its_arn(aws: Aws) -> None:
    aws.service.call("CreateModelPackageGroup", {"ModelPackageGroupName": "g"})
    table = handlers(aws.service, TYPES["AWS::SageMaker::ModelPackage"])
    container = {"Image": IMAGE, "ModelDataUrl": f"s3://{aws.bucket}/m.tar.gz"}
    properties = {
        "ModelPackageGroupName": "g",
        "InferenceSpecification": {
            "Containers": [container],
            "SupportedContentTypes": ["text/csv"],
            "SupportedResponseMIMETypes": ["text/csv"],
        },
        "ModelApprovalStatus": "PendingManualApproval",
    }
    ref, attributes = table["create"]("Version", properties, "stack")
    assert ref.endswith(":model-package/g/1")
    assert attributes["ModelPackageStatus"] == "Completed"
    approved = {**properties, "ModelApprovalStatus": "Approved"}
    assert table["update"](ref, properties, approved, "stack")[0] == ref
    found = aws.service.call("DescribeModelPackage", {"ModelPackageName": ref})
    assert found["ModelApprovalStatus"] == "Approved"
    table["delete"](ref, approved)
    table["delete"](ref, approved)


def test_a_monitoring_schedule_and_its_definition(aws: Aws) -> None:
    definitions = handlers(aws.service, TYPES["AWS::SageMaker::DataQualityJobDefinition"])
    request = definition_request(aws, "DataQuality")
    ref, attributes = definitions["create"]("Definition", request, "stack")
    assert ref == attributes["JobDefinitionArn"]
    table = handlers(aws.service, TYPES["AWS::SageMaker::MonitoringSchedule"])
    properties = schedule_request("DataQuality", "cron(0 0 ? * * *)")
    arn, _ = table["create"]("Schedule", properties, "stack")
    assert arn.endswith(":monitoring-schedule/hourly")
    later = schedule_request("DataQuality", "cron(0 6 ? * * *)")
    table["update"](arn, properties, later, "stack")
    found = aws.sagemaker.describe_monitoring_schedule(MonitoringScheduleName="hourly")
    timing = found["MonitoringScheduleConfig"]["ScheduleConfig"]
    assert timing["ScheduleExpression"] == "cron(0 6 ? * * *)"
    table["delete"](arn, later)
    definitions["delete"](ref, request)
    assert aws.sagemaker.list_monitoring_schedules()["MonitoringScheduleSummaries"] == []
