"""What another inference mode has left is shown, and deleted after a question only."""

import json
from contextlib import suppress
from itertools import permutations
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.model import OperationModel
from support.fake_sagemaker import BUCKET, RefusalError, Request
from support.outside_account import ENDPOINT, FIRST, KINDS, PROJECT, SECOND, TAGS, Account, ops

from ops import OpsError, aws, outside

FIND_ALL = aws.deployed

pytest_plugins = ["support.lambda_account", "support.outside_account"]

#: What tells the mode of a configuration.
CONFIGS: dict[str, Request] = {
    "realtime": {"ProductionVariants": [{}]},
    "serverless": {"ProductionVariants": [{"ServerlessConfig": {}}]},
    "async": {"ProductionVariants": [{}], "AsyncInferenceConfig": {}},
}


@pytest.mark.usefixtures("at_a_terminal", "account")
@pytest.mark.parametrize("fails", [False, True])
def test_stack_that_no_answer_brings_any_more_is_shown_and_deleted_on_request(
    session: boto3.Session, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    states = dict.fromkeys((f"{PROJECT}-api", f"{PROJECT}-serving", "other-api"), "CREATE_COMPLETE")

    def cloudformation(model: OperationModel, params: Request, **_: object) -> Any:
        name = params["body"].get("StackName")
        if model.name == "DeleteStack":
            states[name] = "DELETE_FAILED" if fails else "DELETE_IN_PROGRESS"
        elif name and name not in states:
            error = {"Code": "ValidationError", "Message": f"Stack with id {name} does not exist"}
            return SimpleNamespace(status_code=400), {"Error": error, "ResponseMetadata": {}}
        found = [
            {"StackName": one, "StackStatus": state, "StackStatusReason": "it is in use"}
            for one, state in states.items()
            if name in (None, one)
        ]
        if name and states[name] == "DELETE_IN_PROGRESS" and model.name == "DescribeStacks":
            del states[name]
        return SimpleNamespace(status_code=200), {"Stacks": found, "ResponseMetadata": {}}

    session.events.register("before-call.cloudformation", cloudformation)
    monkeypatch.setattr(aws, "deployed", FIND_ALL)
    monkeypatch.setattr(aws, "own_stacks", lambda: (f"{PROJECT}-serving",))
    said = ops("leftovers")[1]
    assert f"stack {PROJECT}-api (what is in it may cost money)" in said
    assert "serving" not in said
    if fails:
        with pytest.raises(OpsError, match=f"stack {PROJECT}-api is not deleted: it is in use"):
            ops("leftovers", "--remove", "--yes")
    else:
        assert ops("leftovers", "--remove", "--yes")[0] == 0
        assert {*states} == {f"{PROJECT}-serving", "other-api"}
        assert ops("leftovers") == (0, "Nothing is left over from other answers.")
    session.events.unregister("before-call.cloudformation", cloudformation)


@pytest.mark.usefixtures("at_a_terminal")
def test_endpoint_that_batch_has_left_behind_is_shown_and_deleted_on_request(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made in real-time mode, by an earlier version even; then the answer became batch."""
    account.deploy(FIRST, None if ENDPOINT == PROJECT else TAGS)  # others have always had tags
    monkeypatch.setattr(outside, "MODE", "batch")
    key = f"capture/{PROJECT}/AllTraffic/2026/01/31/12/a.jsonl"
    aws.s3().put_object(Bucket=BUCKET, Key=key, Body=b"")
    before = account.names()
    status, said = ops("leftovers", "--after-deployment")
    assert (status, account.names()) == (0, before)
    costs = f"endpoint {ENDPOINT} (costs money"
    for part in (costs, FIRST, f"s3://{BUCKET}/capture/ (objects: 1;"):
        assert part in said
    assert "uv run ops leftovers --remove --data" in said
    assert ops("leftovers", "--remove", "--data", typed="n\n")[0] == 1
    assert account.names() == before
    assert ops("leftovers", "--remove", typed="y\n")[0] == 0
    # The newest of the models predicts now.
    assert account.names() == {"endpoint": [], "endpoint-config": [], "model": [FIRST]}
    assert list(aws.keys("capture/")) == [key]
    assert ops("leftovers", "--data", "--yes")[0] == 0
    assert not list(aws.keys("capture/"))
    assert ops("leftovers") == (0, "Nothing is left over from other answers.")
    assert ops("leftovers", "--after-deployment") == (0, "")


def put(account: Account, mode: str, name: str) -> None:
    """Put what a deployment in an inference mode makes."""
    made_by = {"made-by": outside.MAKERS["batch" if mode == "batch" else "endpoint"]}
    account.add("model", name, TAGS | made_by)
    if mode in CONFIGS:
        account.add("endpoint", f"{PROJECT}{outside.ENDPOINTS[mode]}", TAGS)
        account.add("endpoint-config", name, TAGS)
        account.kinds[name] = CONFIGS[mode]


@pytest.mark.parametrize(("before", "mode"), [*permutations((*CONFIGS, "batch"), 2)])
def test_everything_that_another_mode_has_left_is_shown_and_deleted(
    account: Account,
    session: boto3.Session,
    monkeypatch: pytest.MonkeyPatch,
    before: str,
    mode: str,
) -> None:
    """And nothing of what serves now."""
    monkeypatch.setattr(outside, "MODE", mode)
    monkeypatch.setattr(outside, "model_role", lambda: "models")
    iam, logs = session.client("iam"), session.client("logs")
    alarms = session.client("cloudwatch")
    put(account, before, FIRST)
    iam.create_role(RoleName="models", AssumeRolePolicyDocument="{}")
    allowed = {"Effect": "Allow", "Action": "sns:Publish", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    for name in ("permissions", f"requests-{before}", f"requests-{mode}"):
        iam.put_role_policy(RoleName="models", PolicyName=name, PolicyDocument=policy)
    for one in {before, mode} & CONFIGS.keys():
        group = f"/aws/sagemaker/Endpoints/{PROJECT}{outside.ENDPOINTS[one]}"
        logs.create_log_group(logGroupName=group)
    for one in (before, mode):
        for function in outside.FUNCTIONS[one]:
            with suppress(logs.exceptions.ResourceAlreadyExistsException):
                logs.create_log_group(logGroupName=f"/aws/lambda/{PROJECT}-{function}")
    alarm = f"{PROJECT}-backlog-without-capacity"
    if "async" in (before, mode):
        alarms.put_metric_alarm(
            AlarmName=alarm,
            EvaluationPeriods=1,
            ComparisonOperator="GreaterThanThreshold",
            Threshold=0,
            MetricName="any",
            Namespace="any",
            Period=60,
            Statistic="Sum",
        )
    for prefix in {*outside.DATA[before], *outside.DATA[mode], "predictions/"}:
        aws.s3().put_object(Bucket=BUCKET, Key=f"{prefix}any", Body=b"")
    ours = [name for name in account.known["endpoint"] if name != PROJECT]
    before_mode = account.names()
    put(account, mode, SECOND)
    status, shown = ops("leftovers")
    assert status == 0
    left = [name for found in before_mode.values() for name in found]
    left += [*ours, *(p for p in outside.DATA[before] if p not in outside.DATA[mode])]
    left += [f"requests-{before}", *([alarm] if before == "async" else [])]
    left += [f"Endpoints/{PROJECT}{outside.ENDPOINTS[before]} "] if before in CONFIGS else []
    gone = {*outside.FUNCTIONS[before]} - {*outside.FUNCTIONS[mode]}
    left += [f"/aws/lambda/{PROJECT}-{function} " for function in gone]
    assert [name for name in left if name not in shown] == []
    assert ops("leftovers", "--remove", "--data", "--yes")[0] == 0
    assert ops("leftovers") == (0, "Nothing is left over from other answers.")
    kept = {kind: [] if mode == "batch" else [SECOND] for kind in KINDS} | {"model": [SECOND]}
    kept["endpoint"] = [f"{PROJECT}{outside.ENDPOINTS[mode]}"] if mode in CONFIGS else []
    assert account.names() == kept
    policies = iam.list_role_policies(RoleName="models")["PolicyNames"]
    assert set(policies) == {"permissions", f"requests-{mode}"}
    found = alarms.describe_alarms()["MetricAlarms"]
    assert [one["AlarmName"] for one in found] == ([alarm] if mode == "async" else [])
    groups = logs.describe_log_groups(logGroupNamePrefix="/aws/lambda/")["logGroups"]
    assert {group["logGroupName"] for group in groups} == {
        f"/aws/lambda/{PROJECT}-{function}" for function in outside.FUNCTIONS[mode]
    }
    # The table of predictions is that of all modes.
    assert {f"{key.partition('/')[0]}/" for key in aws.keys("")} == {
        *outside.DATA[mode],
        "predictions/",
    }


def test_model_that_predicts_in_batches_is_left_whatever_has_made_it(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outside, "MODE", "batch")
    for name in (FIRST, SECOND):
        account.add("model", name, TAGS)
    assert outside.left_over(outside.everything()) == outside.Outside(models=[FIRST])


def test_deployment_by_who_may_not_look_does_not_fail(
    account: Account,
) -> None:
    def refuse(_: Request) -> Request:
        raise RefusalError("not today")

    account.operations["ListEndpoints"] = refuse
    status, said = ops("leftovers", "--after-deployment")
    assert status == 0
    assert "unknown" in said
    with pytest.raises(ClientError, match="not today"):
        ops("leftovers")
