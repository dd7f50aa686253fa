"""Endpoints with real model servers: create, update, delete, fail, restart."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from conftest import REGION, ROLE, Aws, until
from model_server import SERVER_IMAGE, Held, Hosted, Load, host, next_service, running, serves

from local_aws.images.containers import start_time
from local_aws.sagemaker.hosting import variant


@pytest.fixture
def hosted(aws: Aws, tmp_path: Path) -> Iterator[Hosted]:
    with host(aws, tmp_path) as served:
        yield served


def statuses(hosted: Hosted) -> list[str]:
    """What the events of endpoints tell, in their order."""
    kind = "SageMaker Endpoint State Change"
    return [detail["EndpointStatus"] for name, detail, _arns in hosted.aws.events if name == kind]


def test_an_endpoint_serves_until_it_is_deleted(hosted: Hosted) -> None:
    client = hosted.aws.sagemaker
    hosted.model("m1", Environment={"START_SECONDS": "0.5"})
    hosted.config("c1", {"ModelName": "m1", "InitialVariantWeight": 2.0})
    created = client.create_endpoint(
        EndpointName="e1", EndpointConfigName="c1", Tags=[{"Key": "k", "Value": "v"}]
    )
    arn = f"arn:aws:sagemaker:{REGION}:000000000000:endpoint/e1"
    assert created["EndpointArn"] == arn
    described = client.describe_endpoint(EndpointName="e1")
    assert described["EndpointStatus"] == "Creating"
    assert described["PendingDeploymentSummary"]["EndpointConfigName"] == "c1"
    with pytest.raises(ClientError, match="Endpoint e1 of account 000000000000 not found"):
        hosted.invoke("e1")
    with pytest.raises(ClientError, match="Cannot update in-progress endpoint"):
        client.update_endpoint(EndpointName="e1", EndpointConfigName="c1")
    with pytest.raises(ClientError, match="Cannot update in-progress endpoint"):
        client.delete_endpoint(EndpointName="e1")
    with pytest.raises(ClientError, match="Cannot create already existing endpoint"):
        client.create_endpoint(EndpointName="e1", EndpointConfigName="c1")

    described = hosted.wait("e1")
    assert described["EndpointStatus"] == "InService"
    assert described["EndpointConfigName"] == "c1"
    assert "PendingDeploymentSummary" not in described
    summary = described["ProductionVariants"][0]
    assert summary["DeployedImages"][0]["SpecifiedImage"] == SERVER_IMAGE
    assert (summary["CurrentWeight"], summary["CurrentInstanceCount"]) == (2.0, 1)
    assert client.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "k", "Value": "v"}]
    assert [e["EndpointName"] for e in client.list_endpoints()["Endpoints"]] == ["e1"]
    assert hosted.invoke("e1")["model"] == "m1"

    (pid,) = running(hosted.aws)
    client.delete_endpoint(EndpointName="e1")
    client.get_waiter("endpoint_deleted").wait(
        EndpointName="e1", WaiterConfig={"Delay": 1, "MaxAttempts": 20}
    )
    assert start_time(pid) is None
    assert not (hosted.aws.service.settings.data_dir / "endpoints" / "e1").exists()
    with pytest.raises(ClientError, match=f'Could not find endpoint "{arn}"'):
        client.describe_endpoint(EndpointName="e1")


def test_an_update_fails_no_request(hosted: Hosted, tmp_path: Path) -> None:
    client = hosted.aws.sagemaker
    hosted.endpoint("old")
    hosted.model("new", Environment={"START_SECONDS": "0.3"})
    hosted.config("new", {"ModelName": "new"})
    (old_pid,) = running(hosted.aws)
    with Load(hosted, "old") as load, Held(hosted, tmp_path / "held", "old") as slow:
        client.update_endpoint(EndpointName="old", EndpointConfigName="new")
        described = client.describe_endpoint(EndpointName="old")
        assert described["EndpointStatus"] == "Updating"
        assert described["EndpointConfigName"] == "old"
        pending = described["PendingDeploymentSummary"]
        assert pending["EndpointConfigName"] == "new"
        assert pending["ProductionVariants"][0]["VariantName"] == "AllTraffic"
        with pytest.raises(ClientError, match="Cannot update in-progress endpoint"):
            client.update_endpoint(EndpointName="old", EndpointConfigName="old")
        with pytest.raises(ClientError, match="Cannot update in-progress endpoint"):
            client.delete_endpoint(EndpointName="old")

        described = hosted.wait("old")
        assert described["EndpointConfigName"] == "new"
        assert "PendingDeploymentSummary" not in described
        until(lambda: load.models[-1] == "new")
        assert start_time(old_pid) is not None
        slow.let_go()
        until(lambda: start_time(old_pid) is None)
    assert load.failures == []
    assert set(load.models) == {"old", "new"}
    assert load.models[-1] == "new"
    # The request that was under way at the switch was answered by the server that had it.
    assert slow.answers[0]["model"] == "old"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("broken", "did not pass the ping health check.*the model is broken, exit code: 1"),
        ("sick", "did not pass the ping health check"),
    ],
)
def test_a_failed_update_is_rolled_back(
    hosted: Hosted, content: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(variant, "HEALTH_CHECK_SECONDS", 1)
    hosted.endpoint("good")
    hosted.model("bad", content)
    hosted.config("bad", {"ModelName": "bad"})
    until(lambda: statuses(hosted) == ["CREATING", "IN_SERVICE"])
    with Load(hosted, "good") as load:
        hosted.aws.sagemaker.update_endpoint(EndpointName="good", EndpointConfigName="bad")
        described = hosted.wait("good")
    assert load.failures == []
    assert set(load.models) == {"good"}
    assert described["EndpointStatus"] == "InService"
    assert described["EndpointConfigName"] == "good"
    assert re.search(reason, described["FailureReason"], re.DOTALL)
    assert "PendingDeploymentSummary" not in described
    until(lambda: statuses(hosted)[2:] == ["UPDATING", "ROLLING_BACK", "IN_SERVICE"])
    assert len(running(hosted.aws)) == 1
    # The endpoint can be updated again.
    hosted.model("next")
    hosted.config("next", {"ModelName": "next"})
    hosted.aws.sagemaker.update_endpoint(EndpointName="good", EndpointConfigName="next")
    assert hosted.wait("good")["EndpointConfigName"] == "next"
    assert "FailureReason" not in hosted.wait("good")
    assert hosted.invoke("good")["model"] == "next"


def test_a_failed_creation_says_why(hosted: Hosted) -> None:
    client = hosted.aws.sagemaker
    hosted.model("broken")
    hosted.config("c1", {"ModelName": "broken"})
    client.create_endpoint(EndpointName="e1", EndpointConfigName="c1")
    described = hosted.wait("e1")
    assert described["EndpointStatus"] == "Failed"
    assert "the model is broken" in described["FailureReason"]
    assert running(hosted.aws) == []
    with pytest.raises(ClientError, match="in status Failed"):
        client.update_endpoint(EndpointName="e1", EndpointConfigName="c1")
    client.delete_endpoint(EndpointName="e1")
    client.get_waiter("endpoint_deleted").wait(
        EndpointName="e1", WaiterConfig={"Delay": 1, "MaxAttempts": 20}
    )


def test_model_data_that_is_not_there_or_no_archive(hosted: Hosted) -> None:
    client = hosted.aws.sagemaker
    uri = hosted.aws.put("text", "not an archive")
    for name, url, reason in (
        ("absent", f"s3://{hosted.aws.bucket}/absent.tar.gz", "Could not find model data at"),
        ("text", uri, "Failed to extract model data archive"),
    ):
        hosted.model(name, ModelDataUrl=url)
        hosted.config(name, {"ModelName": name})
        client.create_endpoint(EndpointName=name, EndpointConfigName=name)
        described = hosted.wait(name)
        assert described["EndpointStatus"] == "Failed"
        assert reason in described["FailureReason"]


def test_the_health_check_has_the_time_that_the_variant_gives_it(
    hosted: Hosted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(variant, "HEALTH_CHECK_SECONDS", 0.1)
    hosted.model("m1", Environment={"START_SECONDS": "1"})
    hosted.config("short", {"ModelName": "m1"})
    hosted.config("long", {"ModelName": "m1", "ContainerStartupHealthCheckTimeoutInSeconds": 60})
    for name, status in (("short", "Failed"), ("long", "InService")):
        hosted.aws.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
        assert hosted.wait(name)["EndpointStatus"] == status


def test_models_and_configs_must_be_there(hosted: Hosted) -> None:
    client = hosted.aws.sagemaker
    with pytest.raises(ClientError, match=r'Could not find endpoint configuration "arn:.*/none"'):
        client.create_endpoint(EndpointName="e1", EndpointConfigName="none")
    hosted.endpoint("e1")
    with pytest.raises(ClientError, match=r'Could not find endpoint configuration "arn:.*/none"'):
        client.update_endpoint(EndpointName="e1", EndpointConfigName="none")
    with pytest.raises(ClientError, match="Could not find endpoint "):
        client.update_endpoint(EndpointName="none", EndpointConfigName="e1")
    hosted.model("gone")
    hosted.config("gone", {"ModelName": "gone"})
    client.delete_model(ModelName="gone")
    with pytest.raises(ClientError, match=r'Could not find model "arn:.*/gone"'):
        client.update_endpoint(EndpointName="e1", EndpointConfigName="gone")
    assert hosted.wait("e1")["EndpointConfigName"] == "e1"


def test_what_is_not_served_is_refused_by_name(hosted: Hosted) -> None:
    hosted.model("m1")
    shadow = {"VariantName": "Shadow", "ModelName": "m1", "InstanceType": "ml.m5.large"}
    hosted.config("c1", {"ModelName": "m1"}, ShadowProductionVariants=[shadow])
    with pytest.raises(ClientError, match="has ShadowProductionVariants, which the local AWS"):
        hosted.aws.sagemaker.create_endpoint(EndpointName="e1", EndpointConfigName="c1")


def test_a_model_package_is_deployed(hosted: Hosted) -> None:
    hosted.model("source")
    client = hosted.aws.sagemaker
    container = client.describe_model(ModelName="source")["PrimaryContainer"]
    client.create_model_package_group(ModelPackageGroupName="g")
    package = client.create_model_package(
        ModelPackageGroupName="g",
        ModelApprovalStatus="Approved",
        InferenceSpecification={
            "Containers": [
                {
                    "Image": SERVER_IMAGE,
                    "ModelDataUrl": container["ModelDataUrl"],
                    "Environment": {"A": "package", "START_SECONDS": "0"},
                }
            ],
            "SupportedContentTypes": ["text/csv"],
            "SupportedResponseMIMETypes": ["text/csv"],
        },
    )["ModelPackageArn"]
    client.create_model(
        ModelName="packaged",
        ExecutionRoleArn=ROLE,
        PrimaryContainer={"ModelPackageName": package, "Environment": {"A": "model"}},
    )
    hosted.config("c1", {"ModelName": "packaged"})
    client.create_endpoint(EndpointName="e1", EndpointConfigName="c1")
    assert hosted.wait("e1")["EndpointStatus"] == "InService"
    assert hosted.invoke("e1")["model"] == "source"


def test_endpoints_serve_again_after_a_restart(hosted: Hosted) -> None:
    hosted.endpoint("e1")
    (pid,) = running(hosted.aws)
    hosted.aws.service.close()
    assert start_time(pid) is None
    with pytest.raises(ClientError, match="is being stopped"):
        hosted.invoke("e1")
    with next_service(hosted) as service:
        until(lambda: serves(service))
        described = service.call("DescribeEndpoint", {"EndpointName": "e1"})
        assert described["EndpointStatus"] == "InService"


def test_servers_of_a_killed_process_are_ended_at_the_next_start(hosted: Hosted) -> None:
    hosted.endpoint("e1")
    (pid,) = running(hosted.aws)
    # Another service on the same data finds what it would find after this one was killed.
    with next_service(hosted) as service:
        until(lambda: start_time(pid) is None)
        until(lambda: serves(service))
