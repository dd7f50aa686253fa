"""Amazon MWAA's API and AWS::MWAA::Environment, as far as no Airflow has to run for it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from conftest import aws_client, until
from host_process import ACCOUNT, ROLE, HostProcess
from mwaa_requests import NETWORK, bucket, request, settled


def refused(function: Any, **members: Any) -> dict[str, Any]:
    with pytest.raises(ClientError) as refusal:
        function(**members)
    response: dict[str, Any] = refusal.value.response
    return response


@pytest.fixture
def failed(host: HostProcess, name: str) -> str:
    """An environment that names requirements which are not in its bucket."""
    asked = request(name, bucket(host, name), ROLE, RequirementsS3Path="absent.txt")
    arn = host.client("mwaa").create_environment(**asked, Tags={"team": "a"})["Arn"]
    assert arn == f"arn:aws:airflow:eu-west-1:{ACCOUNT}:environment/{name}"
    return name


def test_an_environment_whose_files_are_not_there_fails_and_says_so(
    host: HostProcess, failed: str
) -> None:
    found = settled(host, failed)
    assert found["Status"] == "CREATE_FAILED"
    assert found["LastUpdate"]["Status"] == "FAILED"
    message = found["LastUpdate"]["Error"]["ErrorMessage"]
    assert message == f"RequirementsS3Path: absent.txt is not in the bucket {failed}"
    assert found["AirflowVersion"] == "3.2.1"
    logs = found["LoggingConfiguration"]
    assert [module for module in logs if logs[module]["Enabled"]] == ["TaskLogs"]
    assert logs["TaskLogs"]["CloudWatchLogGroupArn"].endswith(f"log-group:airflow-{failed}-Task")
    call = {"Name": failed, "Method": "GET", "Path": "/dags"}
    answer = refused(host.client("mwaa").invoke_rest_api, **call)
    assert answer["Error"]["Code"] == "ResourceNotFoundException"
    assert "CREATE_FAILED" in answer["Error"]["Message"]


def test_an_environment_is_listed_tagged_and_deleted(host: HostProcess, failed: str) -> None:
    mwaa = host.client("mwaa")
    arn = mwaa.get_environment(Name=failed)["Environment"]["Arn"]
    pages = mwaa.get_paginator("list_environments").paginate(PaginationConfig={"PageSize": 1})
    names = [name for page in pages for name in page["Environments"]]
    assert failed in names
    assert names == sorted(names)

    mwaa.tag_resource(ResourceArn=arn, Tags={"cost": "1", "team": "b"})
    mwaa.untag_resource(ResourceArn=arn, tagKeys=["team"])
    assert mwaa.list_tags_for_resource(ResourceArn=arn)["Tags"] == {"cost": "1"}

    asked = request(failed, f"arn:aws:s3:::{failed}", ROLE)
    again = refused(mwaa.create_environment, **asked)["Error"]
    assert (again["Code"], again["Message"]) == (
        "ValidationException",
        f"Environment with name {failed} already exists",
    )
    settled(host, failed)
    mwaa.delete_environment(Name=failed)
    until(lambda: failed not in mwaa.list_environments()["Environments"])
    assert refused(mwaa.get_environment, Name=failed)["Error"]["Code"] == (
        "ResourceNotFoundException"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"AirflowVersion": "2.10.3"}, "AirflowVersion: 2.10.3 is not there"),
        ({"StartupScriptS3Path": "start.sh"}, "StartupScriptS3Path: this local AWS runs no"),
        ({"SourceBucketArn": "arn:aws:s3:::absent-bucket"}, "SourceBucketArn: the bucket absent-"),
        ({"DagS3Path": None}, "'dagS3Path' failed to satisfy constraint: Member must not be null"),
        ({"WebserverAccessMode": "OPEN"}, "enum value set: [PRIVATE_ONLY, PUBLIC_ONLY"),
        ({"Schedulers": 6}, "'schedulers' failed to satisfy constraint: Member must have value"),
        ({"NetworkConfiguration": {**NETWORK, "SubnetIds": ["subnet-1"]}}, "subnetIds"),
        (
            {"AirflowConfigurationOptions": {"Core.parallelism": "4"}},
            "regular expression pattern: [a-z]+",
        ),
    ],
)
def test_a_request_that_breaks_the_model_is_refused_by_name(
    host: HostProcess, name: str, change: dict[str, Any], message: str
) -> None:
    asked = request(name, bucket(host, name), ROLE) | change
    unchecked = Config(parameter_validation=False, inject_host_prefix=False)
    mwaa = aws_client("mwaa", host.port, unchecked)
    given = {key: value for key, value in asked.items() if value is not None}
    error = refused(mwaa.create_environment, **given)["Error"]
    assert error["Code"] == "ValidationException"
    assert message in error["Message"]
    assert name not in mwaa.list_environments()["Environments"]


def test_a_bucket_without_versioning_is_refused(host: HostProcess, name: str) -> None:
    asked = request(name, bucket(host, name, versioned=False), ROLE)
    error = refused(host.client("mwaa").create_environment, **asked)["Error"]
    assert (
        error["Message"] == f"SourceBucketArn: the bucket {name} has no versioning; MWAA needs it"
    )


def test_a_path_is_no_longer_than_mwaa_takes(host: HostProcess, failed: str) -> None:
    call = {"Name": failed, "Method": "GET", "Path": "/dags/" + "d" * 59}
    error = refused(host.client("mwaa").invoke_rest_api, **call)["Error"]
    assert error["Code"] == "ValidationException"
    assert "'path' failed to satisfy constraint" in error["Message"]
    assert "less than or equal to 64" in error["Message"]


def test_what_is_not_there_is_refused_by_name(host: HostProcess) -> None:
    metric = {"MetricName": "m", "Timestamp": 1, "Value": 1.0}
    call = {"EnvironmentName": "any", "MetricData": [metric]}
    error = refused(host.client("mwaa").publish_metrics, **call)
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 501
    assert "PublishMetrics" in error["Error"]["Message"]


def test_a_stack_fails_with_the_reason_of_its_environment(host: HostProcess, name: str) -> None:
    properties = request(name, bucket(host, name), ROLE, RequirementsS3Path="absent.txt")
    template = {
        "Resources": {
            "Airflow": {
                "Type": "AWS::MWAA::Environment",
                # As in templates: numbers are texts, and log groups' ARNs are discarded.
                "Properties": properties
                | {
                    "MaxWorkers": "5",
                    "LoggingConfiguration": {
                        "TaskLogs": {
                            "CloudWatchLogGroupArn": "arn:aws:logs:eu-west-1:1:log-group:x",
                            "Enabled": "true",
                            "LogLevel": "INFO",
                        }
                    },
                },
            }
        }
    }
    stacks = host.client("cloudformation")
    stacks.create_stack(StackName=name, TemplateBody=json.dumps(template))

    def status() -> str:
        found: str = stacks.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]
        return found

    until(lambda: status() == "ROLLBACK_COMPLETE")
    events = stacks.describe_stack_events(StackName=name)["StackEvents"]
    reasons = [event.get("ResourceStatusReason", "") for event in events]
    assert any("absent.txt is not in the bucket" in reason for reason in reasons)
    assert name not in host.client("mwaa").list_environments()["Environments"]
