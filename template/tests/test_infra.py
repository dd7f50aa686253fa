import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cdk_nag
import pytest
from aws_cdk import App, Stack, Validations, aws_s3
from aws_cdk.assertions import Match, Template
from templates import ACCOUNT, matching, of_type

from infra.app import build
from infra.permissions import Allow, service_role
from workflows import names

BUCKET = names.bucket(ACCOUNT)
pytest_plugins = ["synthesised"]


def statements(resources: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The statements of all policies, of roles and of resources."""
    for role in of_type(resources, "AWS::IAM::Role"):
        for policy in role["Policies"]:
            yield from policy["PolicyDocument"]["Statement"]
    for resource in resources:
        document = resource["Properties"].get("PolicyDocument")
        if document:
            yield from document["Statement"]


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def text(value: Any) -> str:
    """A value of a template with references as their names."""
    match value:
        case {"Fn::Join": [on, parts]}:
            return str(on).join(text(part) for part in parts)
        case dict():
            return json.dumps(value)
    return str(value)


def test_stacks_do_not_import_from_each_other(stacks: dict[str, dict[str, Any]]) -> None:
    parts = ("base", "monitoring", "serving", "training")
    assert sorted(stacks) == [f"{names.PROJECT}-{part}" for part in parts]
    assert "Fn::ImportValue" not in json.dumps(stacks)


def test_cfn_lint_finds_nothing(app: App) -> None:
    templates = sorted(map(str, Path(app.outdir).glob("*.template.json")))
    # W3005: CDK itself has a function depend on its role a second time.
    command = ["cfn-lint", "--ignore-checks", "W3005", "--", *templates]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def test_synthesis_needs_no_account(tmp_path: Path, stacks: dict[str, dict[str, Any]]) -> None:
    context = json.loads(Path("cdk.json").read_text())["context"]
    app = build(App(context=context, outdir=str(tmp_path)), None)
    Validations.of(app).add_plugins(cdk_nag.AwsSolutionsChecks(app))
    found = {stack.stack_name: stack.template for stack in app.synth().stacks}
    assert {name: set(template["Resources"]) for name, template in found.items()} == {
        name: set(template["Resources"]) for name, template in stacks.items()
    }


def test_cdk_nag_would_find_something(tmp_path: Path) -> None:
    app = App(outdir=str(tmp_path))
    aws_s3.Bucket(Stack(app, "stack"), "bucket")
    Validations.of(app).add_plugins(cdk_nag.AwsSolutionsChecks(app))
    with pytest.raises(RuntimeError, match="AwsSolutions-S10"):
        app.synth()


@pytest.mark.parametrize(
    ("allow", "message"),
    [
        (Allow(["s3:GetObject"], ["arn:aws:s3:::bucket/*"]), "needs a reason"),
        (Allow(["s3:Get*"], ["arn:aws:s3:::bucket/key"], "a reason"), "name the actions"),
    ],
)
def test_wildcard_needs_a_reason(allow: Allow, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        service_role(Stack(App(), "stack"), "Role", "lambda.amazonaws.com", [allow])


def test_policies_are_narrow(resources: list[dict[str, Any]]) -> None:
    everywhere: set[str] = set()
    for statement in statements(resources):
        actions, targets = as_list(statement["Action"]), as_list(statement["Resource"])
        if statement["Effect"] == "Deny":
            continue
        assert not [action for action in actions if "*" in action]
        assert statement.get("Principal") not in ("*", {"AWS": "*"})
        if "*" in map(text, targets):
            everywhere.update(actions)
            if "cloudwatch:PutMetricData" in actions:
                assert "cloudwatch:namespace" in json.dumps(statement["Condition"])
        if "iam:PassRole" in actions:
            assert "PassedToService" in json.dumps(statement["Condition"])
    # The two that AWS does not let one limit to a resource.
    assert everywhere == {"cloudwatch:PutMetricData", "ecr:GetAuthorizationToken"}


def test_nothing_is_public(resources: list[dict[str, Any]]) -> None:
    for bucket in of_type(resources, "AWS::S3::Bucket"):
        assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    for permission in of_type(resources, "AWS::Lambda::Permission"):
        assert permission["Principal"] == "events.amazonaws.com"
        assert "SourceArn" in permission
    kinds = {r["Type"] for r in resources}
    assert not kinds & {"AWS::Lambda::Url", "AWS::EC2::SecurityGroup"}


def test_data_and_versions_outlive_the_stacks(resources: list[dict[str, Any]]) -> None:
    kept = {r["Type"] for r in resources if r.get("DeletionPolicy") == "Retain"}
    assert kept == {"AWS::S3::Bucket", "AWS::SageMaker::ModelPackageGroup"}


def test_bucket_is_versioned_takes_tls_only_and_tells_eventbridge(app: App) -> None:
    base = app.node.find_child(f"{names.PROJECT}-base")
    assert isinstance(base, Stack)
    template = Template.from_stack(base)
    template.has_resource_properties(
        "AWS::S3::Bucket",
        {
            "BucketName": BUCKET,
            "VersioningConfiguration": {"Status": "Enabled"},
            "NotificationConfiguration": {"EventBridgeConfiguration": {"EventBridgeEnabled": True}},
        },
    )
    denied = {"Effect": "Deny", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}
    template.has_resource_properties(
        "AWS::S3::BucketPolicy",
        {"PolicyDocument": {"Statement": Match.array_with([Match.object_like(denied)])}},
    )


def test_definitions_are_deployed(resources: list[dict[str, Any]]) -> None:
    pipelines = {
        p["PipelineName"]: text(p["PipelineDefinition"]["PipelineDefinitionBody"])
        for p in of_type(resources, "AWS::SageMaker::Pipeline")
    }
    assert set(pipelines) == {names.TRAINING, names.MONITORING}
    for body in pipelines.values():
        assert BUCKET in body
        assert "@{" not in body


def test_every_failure_has_a_place_to_go(resources: list[dict[str, Any]]) -> None:
    queue = f":{names.DEAD_LETTERS}"
    for function in of_type(resources, "AWS::Lambda::Function"):
        assert function["DeadLetterConfig"]["TargetArn"].endswith(queue)
    rules = of_type(resources, "AWS::Events::Rule")
    targets = [t for rule in rules for t in rule["Targets"]]
    targets += [s["Target"] for s in of_type(resources, "AWS::Scheduler::Schedule")]
    assert all(target["DeadLetterConfig"]["Arn"].endswith(queue) for target in targets)
    # The queue's policy lets in the rules by the beginning of their names.
    assert all(rule["Name"].startswith(f"{names.PROJECT}-") for rule in rules)
    alarms = {a["AlarmName"]: a for a in of_type(resources, "AWS::CloudWatch::Alarm")}
    assert alarms[names.DEAD_LETTERS]["AlarmActions"]


def test_handlers_exist(resources: list[dict[str, Any]]) -> None:
    for function in of_type(resources, "AWS::Lambda::Function"):
        module, _, name = function["Handler"].rpartition(".")
        assert f"\ndef {name}(" in Path(*module.split(".")).with_suffix(".py").read_text()


def test_alarms_do_not_go_off_without_data(resources: list[dict[str, Any]]) -> None:
    alarms = {a["AlarmName"]: a for a in of_type(resources, "AWS::CloudWatch::Alarm")}
    assert {a["TreatMissingData"] for a in alarms.values()} == {"notBreaching"}
    for monitor in names.MONITORS:
        alarm = alarms[names.violations_alarm(monitor)]
        # A metric that is put twice counts once.
        assert (alarm["Namespace"], alarm["Statistic"]) == (names.METRIC_NAMESPACE, "Maximum")
        assert alarm["Dimensions"] == [{"Name": "Monitor", "Value": monitor}]


def package_event(approval: str) -> dict[str, Any]:
    return {
        "source": "aws.sagemaker",
        "detail-type": "SageMaker Model Package State Change",
        "detail": {
            "ModelPackageGroupName": names.MODEL_PACKAGE_GROUP,
            "ModelPackageVersion": 2,
            "ModelPackageStatus": "Completed",
            "ModelApprovalStatus": approval,
        },
    }


def pipeline_event(name: str, status: str) -> dict[str, Any]:
    return {
        "source": "aws.sagemaker",
        "detail-type": "SageMaker Model Building Pipeline Execution Status Change",
        "detail": {
            "currentPipelineExecutionStatus": status,
            "previousPipelineExecutionStatus": "Executing",
            "pipelineArn": f"arn:aws:sagemaker:{names.REGION}:{ACCOUNT}:pipeline/{name}",
        },
    }


def endpoint_event(name: str, status: str) -> dict[str, Any]:
    return {
        "source": "aws.sagemaker",
        "detail-type": "SageMaker Endpoint State Change",
        "detail": {"EndpointName": name, "EndpointStatus": status},
    }


def alarm_event(name: str, state: str) -> dict[str, Any]:
    return {
        "source": "aws.cloudwatch",
        "detail-type": "CloudWatch Alarm State Change",
        "detail": {"alarmName": name, "state": {"value": state}},
    }


# The shapes are those of the examples in AWS's documentation of each event.
@pytest.mark.parametrize(
    ("event", "rules"),
    [
        (package_event("Approved"), {"package-approved"}),
        (package_event("PendingManualApproval"), {"package-pending"}),
        (package_event("Rejected"), set()),
        (pipeline_event(names.TRAINING, "Failed"), {"workflow-failed"}),
        (pipeline_event(names.MONITORING, "Failed"), {"workflow-failed"}),
        (pipeline_event(names.TRAINING, "Succeeded"), set()),
        (pipeline_event("another", "Failed"), set()),
        (endpoint_event(names.ENDPOINT, "IN_SERVICE"), {"endpoint-deployed"}),
        (endpoint_event(names.ENDPOINT, "UPDATING"), set()),
        (endpoint_event("another", "IN_SERVICE"), set()),
        (alarm_event(names.ENDPOINT_ALARM, "ALARM"), {"alarm"}),
        (alarm_event(names.ENDPOINT_ALARM, "OK"), set()),
        (alarm_event("another", "ALARM"), set()),
    ],
)
def test_event_calls_what_it_should(
    resources: list[dict[str, Any]], event: dict[str, Any], rules: set[str]
) -> None:
    assert matching(resources, event) == rules


@pytest.mark.parametrize("monitor", names.MONITORS)
def test_alarm_of_a_monitor_is_told_to_people(
    resources: list[dict[str, Any]], monitor: str
) -> None:
    event = alarm_event(names.violations_alarm(monitor), "ALARM")
    assert "alarm" in matching(resources, event)
