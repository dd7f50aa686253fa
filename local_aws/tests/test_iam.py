"""Where calls are refused: what the policies of a role allow, by service and by condition."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from botocore.exceptions import ClientError
from conftest import REGION
from host_process import ACCOUNT, HostProcess, queue
from iam_roles import Acting, allow, deny, role

# Above 10 KB boto3 compresses what it sends of metrics.
MANY = [{"MetricName": f"metric-{number}", "Value": number} for number in range(500)]
MODEL = {"PrimaryContainer": {"Image": "unknown:1"}}


def arn(service: str, resource: str) -> str:
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostProcess]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOCAL_AWS_IAM", "enforce")
        with HostProcess(tmp_path_factory.mktemp("host")) as host:
            s3 = host.client("s3")
            where = {"LocationConstraint": REGION}
            for bucket in ("mine", "others"):
                s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=where)
                s3.put_object(Bucket=bucket, Key="in/a", Body=b"1")
            for name in ("mine", "others"):
                queue(host, name)
                host.client("sns").create_topic(Name=name)
            yield host


def refused(call: Callable[..., Any], **request: Any) -> str:
    """Call what has to be refused; return the message."""
    with pytest.raises(ClientError) as caught:
        call(**request)
    error = caught.value.response["Error"]
    # SNS has a code of its own; HEAD has no body for one.
    assert error["Code"] in ("AccessDenied", "AccessDeniedException", "AuthorizationError", "403")
    return str(error["Message"])


def queue_url(host: HostProcess, name: str) -> str:
    url: str = host.client("sqs").get_queue_url(QueueName=name)["QueueUrl"]
    return url


# A service, what a role may do there, a call that this allows, and one that it does not.
CASES: dict[str, tuple[dict[str, Any], str, str, dict[str, Any], dict[str, Any]]] = {
    "reading an object": (
        allow("s3:GetObject", on="arn:aws:s3:::mine/in/*"),
        "s3",
        "get_object",
        {"Bucket": "mine", "Key": "in/a"},
        {"Bucket": "others", "Key": "in/a"},
    ),
    "writing an object": (
        allow("s3:PutObject", on="arn:aws:s3:::mine/out/*"),
        "s3",
        "put_object",
        {"Bucket": "mine", "Key": "out/a", "Body": b"2" * 3_000_000},
        {"Bucket": "mine", "Key": "in/a", "Body": b"2" * 3_000_000},
    ),
    "listing a prefix": (
        allow("s3:ListBucket", on="arn:aws:s3:::mine", StringLike={"s3:prefix": ["in/*"]}),
        "s3",
        "list_objects_v2",
        {"Bucket": "mine", "Prefix": "in/"},
        {"Bucket": "mine"},
    ),
    "metrics of a namespace": (
        allow("cloudwatch:PutMetricData", StringEquals={"cloudwatch:namespace": "Mine"}),
        "cloudwatch",
        "put_metric_data",
        {"Namespace": "Mine", "MetricData": [{"MetricName": "m", "Value": 1}]},
        {"Namespace": "Others", "MetricData": [{"MetricName": "m", "Value": 1}]},
    ),
    "more metrics of a namespace than go uncompressed": (
        allow("cloudwatch:PutMetricData", StringEquals={"cloudwatch:namespace": "Mine"}),
        "cloudwatch",
        "put_metric_data",
        {"Namespace": "Mine", "MetricData": MANY},
        {"Namespace": "Others", "MetricData": MANY},
    ),
    "alarms by name": (
        allow("cloudwatch:DescribeAlarms", on=arn("cloudwatch", "alarm:mine")),
        "cloudwatch",
        "describe_alarms",
        {"AlarmNames": ["mine"]},
        {"AlarmNames": ["mine", "others"]},
    ),
    "a topic": (
        allow("sns:Publish", on=arn("sns", "mine")),
        "sns",
        "publish",
        {"TopicArn": arn("sns", "mine"), "Message": "m"},
        {"TopicArn": arn("sns", "others"), "Message": "m"},
    ),
    "executions of a state machine": (
        allow("states:ListExecutions", on=arn("states", "stateMachine:mine")),
        "stepfunctions",
        "list_executions",
        {"stateMachineArn": arn("states", "stateMachine:mine")},
        {"stateMachineArn": arn("states", "stateMachine:others")},
    ),
    "an endpoint's description": (
        allow("sagemaker:DescribeEndpoint", on=arn("sagemaker", "endpoint/mine-*")),
        "sagemaker",
        "describe_endpoint",
        {"EndpointName": "mine-1"},
        {"EndpointName": "others"},
    ),
    "an endpoint's answer": (
        allow("sagemaker:InvokeEndpoint", on=arn("sagemaker", "endpoint/mine")),
        "sagemaker-runtime",
        "invoke_endpoint",
        {"EndpointName": "mine", "Body": b"1"},
        {"EndpointName": "others", "Body": b"1"},
    ),
    "versions of a group": (
        allow("sagemaker:ListModelPackages", on=arn("sagemaker", "model-package-group/mine")),
        "sagemaker",
        "list_model_packages",
        {"ModelPackageGroupName": "mine"},
        {"ModelPackageGroupName": "others"},
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_role_may_what_its_policy_says(
    host: HostProcess, case: tuple[dict[str, Any], str, str, dict[str, Any], dict[str, Any]]
) -> None:
    statement, service, operation, allowed, denied = case
    acting = Acting(host, role(host, statement))
    call = getattr(acting.client(service), operation)
    # What is asked for need not be there.
    with suppress(ClientError):
        call(**allowed)
    assert {entry[2] for entry in acting.calls()} == {True}

    message = refused(call, **denied)

    (action,) = statement["Action"]
    assert f"is not authorized to perform: {action} on resource: " in message
    assert f"because no identity-based policy allows the {action} action" in message
    first, *_, last = acting.calls()
    assert first[0] == last[0] == action
    assert last[2] is False


def test_a_message_is_sent_to_the_queue_that_is_allowed(host: HostProcess) -> None:
    acting = Acting(host, role(host, allow("sqs:SendMessage", on=arn("sqs", "mine"))))
    sqs = acting.client("sqs")
    sqs.send_message(QueueUrl=queue_url(host, "mine"), MessageBody="m")
    refused(sqs.send_message, QueueUrl=queue_url(host, "others"), MessageBody="m")
    refused(sqs.receive_message, QueueUrl=queue_url(host, "mine"))


def test_each_object_of_a_batch_is_checked(host: HostProcess) -> None:
    acting = Acting(host, role(host, allow("s3:DeleteObject", on="arn:aws:s3:::mine/out/*")))
    s3 = acting.client("s3")
    keys = [{"Key": "out/x"}, {"Key": "out/y"}]
    s3.delete_objects(Bucket="mine", Delete={"Objects": keys})
    refused(s3.delete_objects, Bucket="mine", Delete={"Objects": [*keys, {"Key": "in/a"}]})
    refused(s3.head_object, Bucket="mine", Key="in/a")
    host.client("s3").head_object(Bucket="mine", Key="in/a")


def test_who_denies_wins(host: HostProcess) -> None:
    acting = Acting(host, role(host, allow("s3:*"), deny("s3:GetObject", on="*/in/*")))
    message = refused(acting.client("s3").get_object, Bucket="mine", Key="in/a")
    assert message.endswith("with an explicit deny in an identity-based policy")
    acting.client("s3").list_objects_v2(Bucket="mine")


def test_a_bucket_that_wants_tls_takes_requests_to_this_machine(host: HostProcess) -> None:
    host.client("s3").create_bucket(
        Bucket="tls", CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    insecure = {"Effect": "Deny", "Principal": {"AWS": "*"}, "Action": "s3:*", "Resource": "*"}
    condition = {"Bool": {"aws:SecureTransport": "false"}}
    policy = {"Version": "2012-10-17", "Statement": [{**insecure, "Condition": condition}]}
    host.client("s3").put_bucket_policy(Bucket="tls", Policy=json.dumps(policy))
    acting = Acting(host, role(host, allow("s3:*")))
    acting.client("s3").put_object(Bucket="tls", Key="a", Body=b"1")


def test_a_condition_on_the_principal_sees_the_role_of_a_session(host: HostProcess) -> None:
    target = role(host)
    own = role(host)
    name = own.rpartition("/")[2]
    for arn, may in ((own, True), (target, False)):
        only = allow("sts:AssumeRole", on=target, ArnEquals={"aws:PrincipalArn": arn})
        document = json.dumps({"Version": "2012-10-17", "Statement": [only]})
        host.client("iam").put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=document)
        sts = Acting(host, own).client("sts")
        if may:
            sts.assume_role(RoleArn=target, RoleSessionName="next")
        else:
            refused(sts.assume_role, RoleArn=target, RoleSessionName="next")


def test_roles_are_passed_to_services_that_the_condition_names(host: HostProcess) -> None:
    passed = role(host)
    to_sagemaker = {"iam:PassedToService": "sagemaker.amazonaws.com"}
    to_lambda = {"iam:PassedToService": "lambda.amazonaws.com"}
    create = allow("sagemaker:CreateModel")
    may = Acting(host, role(host, create, allow("iam:PassRole", StringEquals=to_sagemaker)))
    may.client("sagemaker").create_model(ModelName="passed", ExecutionRoleArn=passed, **MODEL)
    assert ("iam:PassRole", passed, True) in may.calls()
    for pass_role in (allow("iam:PassRole", StringEquals=to_lambda), create):
        other = Acting(host, role(host, create, pass_role)).client("sagemaker")
        message = refused(other.create_model, ModelName="m", ExecutionRoleArn=passed, **MODEL)
        assert f"iam:PassRole on resource: {passed}" in message


def test_tags_at_creation_need_their_own_permission(host: HostProcess) -> None:
    passes = allow("iam:PassRole")
    acting = Acting(host, role(host, allow("sagemaker:CreateModel"), passes))
    request = {"ModelName": "tagged", "ExecutionRoleArn": role(host), **MODEL}
    tags = [{"Key": "k", "Value": "v"}]
    message = refused(acting.client("sagemaker").create_model, Tags=tags, **request)
    assert f"sagemaker:AddTags on resource: {arn('sagemaker', 'model/tagged')}" in message
    acting.client("sagemaker").create_model(**request)


def test_an_endpoint_needs_both_of_its_resources(host: HostProcess) -> None:
    endpoint = arn("sagemaker", "endpoint/e")
    acting = Acting(host, role(host, allow("sagemaker:CreateEndpoint", on=endpoint)))
    create = acting.client("sagemaker").create_endpoint
    message = refused(create, EndpointName="e", EndpointConfigName="c")
    assert arn("sagemaker", "endpoint-config/c") in message


def test_a_model_package_is_logged_for_create_model_and_never_refused(host: HostProcess) -> None:
    """AWS's own policies allow it, its reference does not name it."""
    group = host.client("sagemaker").create_model_package_group(ModelPackageGroupName="g")
    package = host.client("sagemaker").create_model_package(
        ModelPackageGroupName="g",
        InferenceSpecification={"Containers": [{"Image": "i:1", "ModelDataUrl": "s3://b/k"}]},
    )["ModelPackageArn"]
    assert group["ModelPackageGroupArn"]
    model = arn("sagemaker", "model/*")
    acting = Acting(
        host, role(host, allow("sagemaker:CreateModel", on=model), allow("iam:PassRole"))
    )
    acting.client("sagemaker").create_model(
        ModelName="of-package",
        ExecutionRoleArn=role(host),
        PrimaryContainer={"ModelPackageName": package},
    )
    assert ("sagemaker:CreateModel", package, False) in acting.calls()


def test_what_cannot_be_evaluated_is_named_and_refuses_nothing(host: HostProcess) -> None:
    unknown = {"sagemaker:VpcSubnets": "subnet-1"}
    lists = allow("sagemaker:ListModels", **{"ForAllValues:StringEquals": unknown})
    acting = Acting(host, role(host, lists))
    acting.client("sagemaker").list_models()
    denies = deny("sagemaker:ListModels", StringEquals={"s3:locationconstraint": "x"})
    other = Acting(host, role(host, allow("sagemaker:ListModels"), denies))
    other.client("sagemaker").list_models()
    managed = role(host)
    host.client("iam").attach_role_policy(
        RoleName=managed.rpartition("/")[2],
        PolicyArn="arn:aws:iam::aws:policy/AmazonSageMakerFullAccess",
    )
    third = Acting(host, managed)
    third.client("sagemaker").list_models()
    for role_acting, named, allowed in (
        (acting, "sagemaker:VpcSubnets", True),
        (other, "s3:locationconstraint", True),
        (third, "arn:aws:iam::aws:policy/AmazonSageMakerFullAccess", None),
    ):
        (call,) = role_acting.logged()
        assert call["unknown"] == [named]
        assert call["allowed"] is allowed


def test_a_boundary_and_a_managed_policy_of_the_account_count(host: HostProcess) -> None:
    iam = host.client("iam")
    document = {"Version": "2012-10-17", "Statement": [allow("s3:*", "sagemaker:ListModels")]}
    policy = iam.create_policy(PolicyName="mine", PolicyDocument=json.dumps(document))
    given = role(host)
    name = given.rpartition("/")[2]
    iam.attach_role_policy(RoleName=name, PolicyArn=policy["Policy"]["Arn"])
    acting = Acting(host, given)
    acting.client("sagemaker").list_models()
    only = {"Version": "2012-10-17", "Statement": [allow("s3:GetObject")]}
    boundary = iam.create_policy(PolicyName="bound", PolicyDocument=json.dumps(only))
    iam.put_role_permissions_boundary(RoleName=name, PermissionsBoundary=boundary["Policy"]["Arn"])
    refused(acting.client("sagemaker").list_models)
    acting.client("s3").get_object(Bucket="mine", Key="in/a")


def test_a_role_is_assumed_by_whom_it_trusts(host: HostProcess) -> None:
    iam, name = host.client("iam"), "only-sagemaker"
    principal = {"Service": "sagemaker.amazonaws.com"}
    trust = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
    closed = iam.create_role(
        RoleName=name, AssumeRolePolicyDocument=json.dumps({"Statement": [trust]})
    )["Role"]["Arn"]
    assume = host.client("sts").assume_role
    refused(assume, RoleArn=closed, RoleSessionName="tests")
    refused(assume, RoleArn=f"arn:aws:iam::{ACCOUNT}:role/nobody", RoleSessionName="tests")

    opened = role(host)
    may = Acting(host, role(host, allow("sts:AssumeRole", on=opened))).client("sts")
    may.assume_role(RoleArn=opened, RoleSessionName="tests")
    refused(may.assume_role, RoleArn=closed, RoleSessionName="tests")
    may_not = Acting(host, role(host, allow("s3:*"))).client("sts")
    refused(may_not.assume_role, RoleArn=opened, RoleSessionName="tests")
    assert ":assumed-role/" in may_not.get_caller_identity()["Arn"]


@pytest.mark.parametrize("service", ["lambda.amazonaws.com", ""])
def test_sagemaker_takes_only_roles_that_trust_it(host: HostProcess, service: str) -> None:
    given = role(host, trusts=service) if service else f"arn:aws:iam::{ACCOUNT}:role/nobody"
    create = host.client("sagemaker").create_model
    with pytest.raises(ClientError, match=f"Could not assume role {given}") as caught:
        create(ModelName="untrusted", ExecutionRoleArn=given, **MODEL)
    assert caught.value.response["Error"]["Code"] == "ValidationException"
