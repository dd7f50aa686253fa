"""`local-aws-docker push`: what the registry and SageMaker have of an image then."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from botocore.exceptions import ClientError
from conftest import REGION
from docker_process import Docker, context
from host_process import HostProcess

from local_aws.images.images import Images


@pytest.fixture
def docker(tmp_path: Path) -> Docker:
    return Docker(tmp_path / "data")


@pytest.mark.parametrize("mutability", [None, "IMMUTABLE"])
def test_push_tells_the_registry_and_sagemaker(
    host: HostProcess, tmp_path: Path, mutability: str | None
) -> None:
    repository = f"toy/{mutability or 'missing'}".lower()
    uri = f"000000000000.dkr.ecr.{REGION}.amazonaws.com/{repository}:1"
    ecr: Any = host.client("ecr")
    if mutability:
        ecr.create_repository(repositoryName=repository, imageTagMutability=mutability)
    docker = Docker(tmp_path / "data", AWS_ENDPOINT_URL=ecr.meta.endpoint_url)
    docker.run("build", "-t", uri, str(context(tmp_path, 'WORKDIR /app\nCMD ["python"]\n')))

    docker.run("push", uri)
    docker.run("push", uri)  # as a run that was interrupted does again

    wanted = [{"imageTag": "1"}]
    (found,) = ecr.describe_images(repositoryName=repository, imageIds=wanted)["imageDetails"]
    assert found["imageTags"] == ["1"]
    assert Images(docker.data_dir).resolve(uri) == docker.image(uri)
    with pytest.raises(ecr.exceptions.ImageNotFoundException):
        ecr.describe_images(repositoryName=repository, imageIds=[{"imageTag": "2"}])

    other = context(tmp_path, 'WORKDIR /app\nCMD ["python3"]\n')
    docker.run("build", "-t", uri, str(other))
    if mutability:
        assert "ImageTagAlreadyExists" in docker.run("push", uri, status=1).stderr
    else:
        docker.run("push", uri)
        (after,) = ecr.describe_images(repositoryName=repository, imageIds=wanted)["imageDetails"]
        assert after["imageDigest"] != found["imageDigest"]


@pytest.mark.parametrize(
    ("output", "kind"),
    [
        ([], "oci.image.manifest.v1"),
        (["--output=type=docker"], "oci.image.manifest.v1"),
        (["-o", "type=docker,oci-mediatypes=true"], "oci.image.manifest.v1"),
        # As the AWS CDK passes `outputs` of an image asset.
        (["--output=type=docker,oci-mediatypes=false"], "docker.distribution.manifest.v2"),
    ],
)
def test_the_registry_has_the_manifest_that_was_asked_for(
    host: HostProcess, tmp_path: Path, output: list[str], kind: str
) -> None:
    repository = f"toy/{tmp_path.name}".lower().replace("_", "-")
    uri = f"000000000000.dkr.ecr.{REGION}.amazonaws.com/{repository}:1"
    ecr: Any = host.client("ecr")
    docker = Docker(tmp_path / "data", AWS_ENDPOINT_URL=ecr.meta.endpoint_url)

    docker.run("build", "-t", uri, *output, str(context(tmp_path, "WORKDIR /app\n")))
    docker.run("push", uri)

    (found,) = ecr.describe_images(repositoryName=repository)["imageDetails"]
    assert found["imageManifestMediaType"] == f"application/vnd.{kind}+json"
    wanted = [{"imageTag": "1"}]
    (image,) = ecr.batch_get_image(repositoryName=repository, imageIds=wanted)["images"]
    manifest = json.loads(image["imageManifest"])
    assert manifest["mediaType"] == f"application/vnd.{kind}+json"
    assert Images(docker.data_dir).resolve(uri).media_type == f"application/vnd.{kind}+json"


def test_push_never_goes_to_the_real_aws(docker: Docker, tmp_path: Path) -> None:
    uri = f"000000000000.dkr.ecr.{REGION}.amazonaws.com/toy:1"
    docker.run("build", "-t", uri, str(context(tmp_path, "WORKDIR /app\n")))
    docker.env.pop("AWS_ENDPOINT_URL", None)
    docker.env.pop("AWS_ENDPOINT_URL_ECR", None)

    assert "AWS_ENDPOINT_URL" in docker.run("push", uri, status=1).stderr
    docker.run("push", "unknown", status=1)


def test_a_name_without_a_registry_needs_none(docker: Docker, tmp_path: Path) -> None:
    docker.run("build", "-t", "toy", str(context(tmp_path, "WORKDIR /app\n")))
    docker.run("push", "toy")

    assert Images(docker.data_dir).resolve("toy") == docker.image("toy")


def test_what_the_registry_has_deleted_is_gone_for_sagemaker(
    host: HostProcess, tmp_path: Path
) -> None:
    uri = f"000000000000.dkr.ecr.{REGION}.amazonaws.com/toy/deleted"
    ecr, sagemaker = host.client("ecr"), host.client("sagemaker")
    docker = Docker(host.data_dir, AWS_ENDPOINT_URL=ecr.meta.endpoint_url)
    for tag in ("1", "2"):
        folder = str(context(tmp_path, f'WORKDIR /app\nCMD ["python{tag}"]\n'))
        docker.run(
            "build", "-t", f"{uri}:{tag}", "--output=type=docker,oci-mediatypes=false", folder
        )
        docker.run("push", f"{uri}:{tag}")
    deleted = ecr.batch_delete_image(repositoryName="toy/deleted", imageIds=[{"imageTag": "1"}])
    assert not deleted["failures"]

    def make(tag: str) -> None:
        sagemaker.create_model(
            ModelName=f"of-{tag}",
            ExecutionRoleArn="arn:aws:iam::000000000000:role/any",
            PrimaryContainer={"Image": f"{uri}:{tag}"},
        )

    with pytest.raises(ClientError, match=f"Requested image {uri}:1 not found") as caught:
        make("1")
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    make("2")


def test_an_image_is_copied_by_its_layers_and_runs_by_its_digest(
    host: HostProcess, tmp_path: Path
) -> None:
    registry = f"000000000000.dkr.ecr.{REGION}.amazonaws.com"
    ecr: Any = host.client("ecr")
    docker = Docker(host.data_dir, AWS_ENDPOINT_URL=ecr.meta.endpoint_url)
    uri = f"{registry}/toy/copied:1"
    docker.run("build", "-t", uri, str(context(tmp_path, 'WORKDIR /app\nCMD ["python"]\n')))
    docker.run("push", uri)
    ecr.create_repository(repositoryName="toy/copy")
    (image,) = ecr.batch_get_image(repositoryName="toy/copied", imageIds=[{"imageTag": "1"}])[
        "images"
    ]
    digest = image["imageId"]["imageDigest"]
    given = {
        "repositoryName": "toy/copy",
        "imageManifest": image["imageManifest"],
        "imageManifestMediaType": image["imageManifestMediaType"],
    }
    with pytest.raises(ecr.exceptions.LayersNotFoundException):
        ecr.put_image(**given)

    layer = json.loads(image["imageManifest"])["config"]["digest"]
    found = ecr.get_download_url_for_layer(repositoryName="toy/copied", layerDigest=layer)
    with urlopen(found["downloadUrl"]) as answer:  # noqa: S310 - of the local AWS
        content = answer.read()
    with pytest.raises(ecr.exceptions.LayersNotFoundException):
        ecr.get_download_url_for_layer(repositoryName="toy/copy", layerDigest=layer)
    upload = {
        "repositoryName": "toy/copy",
        "uploadId": ecr.initiate_layer_upload(repositoryName="toy/copy")["uploadId"],
    }
    for first, part in ((0, content[:10]), (10, content[10:])):
        last = first + len(part) - 1
        ecr.upload_layer_part(**upload, partFirstByte=first, partLastByte=last, layerPartBlob=part)
    ecr.complete_layer_upload(**upload, layerDigests=[layer])
    (told,) = ecr.batch_check_layer_availability(repositoryName="toy/copy", layerDigests=[layer])[
        "layers"
    ]
    assert told["layerAvailability"] == "AVAILABLE"

    with pytest.raises(ecr.exceptions.ImageDigestDoesNotMatchException):
        ecr.put_image(**given, imageDigest=f"sha256:{'0' * 64}")
    ecr.put_image(**given, imageDigest=digest)
    with pytest.raises(ecr.exceptions.ImageAlreadyExistsException):
        ecr.put_image(**given, imageDigest=digest)
    images = Images(host.data_dir)
    assert images.resolve(f"{registry}/toy/copy@{digest}") == images.resolve(uri)
    ecr.batch_delete_image(repositoryName="toy/copy", imageIds=[{"imageDigest": digest}])
    assert f"{registry}/toy/copy@{digest}" not in images.uris()


def test_a_layer_arrives_whole_or_not_at_all(host: HostProcess) -> None:
    ecr: Any = host.client("ecr")
    ecr.create_repository(repositoryName="toy/layers")
    upload = {
        "repositoryName": "toy/layers",
        "uploadId": ecr.initiate_layer_upload(repositoryName="toy/layers")["uploadId"],
    }
    with pytest.raises(ecr.exceptions.InvalidLayerPartException):
        ecr.upload_layer_part(**upload, partFirstByte=5, partLastByte=9, layerPartBlob=b"after")
    ecr.upload_layer_part(**upload, partFirstByte=0, partLastByte=4, layerPartBlob=b"layer")
    with pytest.raises(ecr.exceptions.InvalidLayerException):
        ecr.complete_layer_upload(**upload, layerDigests=[f"sha256:{'0' * 64}"])
    with pytest.raises(ecr.exceptions.UploadNotFoundException):
        ecr.complete_layer_upload(**upload, layerDigests=[f"sha256:{'0' * 64}"])
