"""Bad input in each mode, on a project that serves: who asks, and who looks after it, is told why.

What the server refuses by itself is in template_tests/, the limits of AWS in local_aws/tests/.
"""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests import conftest, scenarios
from tests.callers import ASYNC, BATCH, MODES, REALTIME, SERVERLESS, Client
from tests.scenarios import Combination, Scene, until

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]

MB = 1024**2
ROW = b"10,5,1400,0,10,2.5,UA,EWR,IAH\n"
#: A body is refused from here on: by its size, and with this code.
TOO_LARGE = {REALTIME: (6 * MB, "413"), SERVERLESS: (4 * MB, "ValidationError")}


@pytest.fixture(scope="module", params=MODES)
def scene(
    request: pytest.FixtureRequest, repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    combination = Combination("step_functions", request.param, "binary_classification")
    folder = tmp_path_factory.mktemp("refusals") / "project"
    project = conftest.make_project(repository, folder, vars(combination))
    with scenarios.staged(combination, project) as scene:
        yield scene


@pytest.fixture
def client(scene: Scene) -> Client:
    if scene.combination.batch:
        pytest.skip("batch inference has no callers")
    return Client(scene, scene.combination.inference_mode)


def refused(client: Client, body: bytes, content_type: str) -> dict[str, Any]:
    """The error of a request."""
    with pytest.raises(ClientError) as caught:
        client.ask(body, str(uuid.uuid4()), content_type)
    return dict(caught.value.response)


def test_bodies_over_the_limit_of_the_mode(scene: Scene, client: Client, tmp_path: Path) -> None:
    mode = scene.combination.inference_mode
    if mode == ASYNC:
        file, key = tmp_path / "large.csv", "async/requests/large.csv"
        with file.open("wb") as content:
            content.truncate(1024 * MB + 1)
        scene.life.client("s3").upload_file(str(file), scene.bucket, key)
        with pytest.raises(AssertionError, match="is larger than 1073741824 bytes"):
            client.queued(key, "large", "text/csv")
        scene.mail("is larger than 1073741824 bytes")
        return
    largest, code = TOO_LARGE[mode]
    assert refused(client, b" " * (largest + 1), "text/csv")["Error"]["Code"] == code


def test_answers_over_the_limit_of_the_mode(scene: Scene, client: Client) -> None:
    if scene.combination.inference_mode == ASYNC:
        pytest.skip("an asynchronous answer has no such limit")
    body = ROW.replace(b"10,5,1400,0,10,2.5,UA,EWR,IAH", b",,,,,,,,") * 400_000
    assert len(body) < 4 * MB
    runtime = scene.life.client("sagemaker-runtime")
    with pytest.raises(ClientError, match="the answer is larger than") as caught:
        runtime.invoke_endpoint(
            EndpointName=client.endpoint,
            ContentType="text/csv",
            Accept="application/json",
            Body=body,
        )
    assert caught.value.response["OriginalStatusCode"] == 413


def test_content_types_that_are_not_understood(scene: Scene, client: Client) -> None:
    if scene.combination.inference_mode == ASYNC:
        with pytest.raises(AssertionError, match="Content-Type must be"):
            client.ask(ROW, str(uuid.uuid4()), "text/plain")
        scene.mail("Content-Type must be")
        return
    response = refused(client, ROW, "text/plain")
    assert response["OriginalStatusCode"] == 415
    assert "Content-Type must be" in response["OriginalMessage"]


def test_object_that_is_gone(scene: Scene, client: Client) -> None:
    if scene.combination.inference_mode != ASYNC:
        pytest.skip("bodies are not in S3")
    inference_id = str(uuid.uuid4())
    with pytest.raises(AssertionError, match="Could not download"):
        client.queued(f"async/requests/{inference_id}.csv", inference_id, "text/csv")
    assert scene.mail(inference_id)["subject"].endswith(": requests fail")


def test_version_whose_image_is_gone(scene: Scene) -> None:
    """Whoever approves it is told at once, people by mail; what has served goes on."""
    version, before = scene.versions()[0], scene.serving()
    _, _, name = version["image"].partition("/")
    repository, _, tag = name.rpartition(":")
    deleted = scene.life.client("ecr").batch_delete_image(
        repositoryName=repository, imageIds=[{"imageTag": tag}]
    )
    assert deleted["imageIds"]
    with pytest.raises(AssertionError, match="is not in ECR any more"):
        scene.life.ops("models", "approve", str(version["number"]))
    # Approved elsewhere, as in SageMaker Studio.
    scene.life.client("sagemaker").update_model_package(
        ModelPackageArn=version["arn"],
        ModelApprovalStatus="Approved",
        ApprovalDescription="once more",
        CustomerMetadataProperties={"ApprovedAt": datetime.now(UTC).isoformat()},
    )
    mail = scene.mail(f"Requested image {version['image']} not found")
    assert f"version {version['number']}" in mail["subject"]

    def settled() -> bool | None:
        """What a trial has made is gone a moment later."""
        return scene.serving() == before or None

    until("all as it was before", settled)
    mode = scene.combination.inference_mode
    if mode != BATCH:
        assert Client(scene, mode).ask(ROW, str(uuid.uuid4()), "text/csv")
