"""The environment of MWAA, and what is uploaded for it."""

import json
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App
from support.in_airflow import DAGS, told
from support.templates import alarm_event, as_list, matching, of_type

from infra import mwaa
from workflows import names

NAMES = names.Names()

pytest_plugins = ["support.synthesised"]


def test_environment_is_private_and_takes_what_is_uploaded(
    resources: list[dict[str, Any]],
) -> None:
    (environment,) = of_type(resources, "AWS::MWAA::Environment")
    assert environment["Name"] == NAMES.airflow
    assert environment["DagS3Path"] == "airflow/dags"
    network = environment["NetworkConfiguration"]
    subnets = {subnet["Ref"] for subnet in network["SubnetIds"]}
    assert len(subnets) == 2
    assert all("Private" in subnet for subnet in subnets)
    written = {
        uploaded["DestinationBucketKeyPrefix"]
        for uploaded in of_type(resources, "Custom::CDKBucketDeployment")
    }
    folder = environment["RequirementsS3Path"].removesuffix("requirements.txt")
    dags = {f"airflow/dags/{NAMES.dag(name)}/" for name in NAMES.workflows}
    assert written == dags | {"airflow/dags/usecase_dags/", folder}


def test_parts_of_the_environment_talk_to_each_other_alone(
    stacks: dict[str, dict[str, Any]],
) -> None:
    resources = [*stacks[NAMES.of("airflow")]["Resources"].values()]
    groups = of_type(resources, "AWS::EC2::SecurityGroup")
    assert groups
    assert not [group for group in groups if "SecurityGroupIngress" in group]
    for rule in of_type(resources, "AWS::EC2::SecurityGroupIngress"):
        assert rule["SourceSecurityGroupId"] == rule["GroupId"]


def test_stacks_of_workflows_do_not_replace_each_others_permissions(
    resources: list[dict[str, Any]],
) -> None:
    """An inline policy of the same name takes the place of another one."""
    policies = of_type(resources, "AWS::IAM::Policy")
    assert sorted(policy["PolicyName"] for policy in policies) == sorted(NAMES.workflows)
    for policy in policies:
        assert policy["Roles"] == [NAMES.airflow_role]
        actions = {
            action
            for statement in policy["PolicyDocument"]["Statement"]
            for action in as_list(statement["Action"])
        }
        assert {"iam:PassRole", "events:PutEvents", "sagemaker:CreateProcessingJob"} <= actions


def test_dags_are_uploaded_with_what_they_are_told(app: App) -> None:
    """CDK puts markers where it does not know a value yet; the rest is there by then."""
    for name, expected in told().items():
        (found,) = Path(app.outdir).glob(f"asset.*/{name}.json")
        assert set(json.loads(unmarked(found.read_text()))["requests"]) == set(expected["requests"])
        (dag,) = Path(app.outdir).glob(f"asset.*/{name}.py")
        assert dag.read_text() == (DAGS / f"{name}.py").read_text()


def unmarked(document: str) -> str:
    """A document of CDK with a text in the place of each marker."""
    before, *others = document.split("<<marker:")
    return before + "".join('"?"' + one.partition(">>")[2] for one in others)


def test_health_of_the_environment_is_told_to_people(resources: list[dict[str, Any]]) -> None:
    alarms = {alarm["AlarmName"]: alarm for alarm in of_type(resources, "AWS::CloudWatch::Alarm")}
    health = alarms[NAMES.airflow_alarm]
    assert (health["Namespace"], health["MetricName"]) == ("AmazonMWAA", "SchedulerHeartbeat")
    assert {"Name": "Environment", "Value": NAMES.airflow} in health["Dimensions"]
    assert "alarm" in matching(resources, alarm_event(NAMES.airflow_alarm, "ALARM"))


@pytest.mark.parametrize(("local", "deferred"), [(False, "True"), (True, "False")])
def test_tasks_are_deferred_on_aws(
    monkeypatch: pytest.MonkeyPatch, local: bool, deferred: str
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    if local:
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")
    assert mwaa.options()["operators.default_deferrable"] == deferred
