"""Versions that a person is told of before they are approved: they cannot be deployed."""

import json
from datetime import UTC, datetime

import boto3
import pytest

from ops import OpsError, aws, models
from workflows import names

pytest_plugins = ["support.lambda_account"]

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


def version(image: str = "an-image", **properties: str) -> models.Version:
    return models.Version(
        arn="arn",
        number=7,
        approval="PendingManualApproval",
        created=datetime(2026, 1, 31, tzinfo=UTC),
        trigger="manual",
        metrics={},
        artifact="",
        test_data="",
        evaluation="",
        schema="",
        image=image,
        commit="",
        properties=properties,
    )


def test_version_of_another_mode_is_refused() -> None:
    models.require_deployable(version())  # of before there was a record
    models.require_deployable(version(InferenceMode=names.INFERENCE_MODE))
    with pytest.raises(OpsError, match="version 7 was trained for another inference mode, other"):
        models.require_deployable(version(InferenceMode="other"))


def test_version_without_its_image_is_refused(session: boto3.Session) -> None:
    ecr = session.client("ecr")
    made = ecr.create_repository(repositoryName="use-case")["repository"]
    for tag in ("here", "gone"):
        manifest = json.dumps(
            {"schemaVersion": 2, "mediaType": MANIFEST, "config": {"digest": tag}}
        )
        ecr.put_image(repositoryName="use-case", imageManifest=manifest, imageTag=tag)
    ecr.batch_delete_image(repositoryName="use-case", imageIds=[{"imageTag": "gone"}])
    models.require_deployable(version(f"{made['repositoryUri']}:here"))
    for uri in (f"{made['repositoryUri']}:gone", f"{made['repositoryUri']}-2:here"):
        assert not aws.has_image(uri)
        with pytest.raises(OpsError, match=f"the image of version 7 is not in ECR any more, {uri}"):
            models.require_deployable(version(uri))
