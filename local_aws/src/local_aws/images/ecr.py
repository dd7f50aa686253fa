"""Records images in the registry (ECR) of the local AWS."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from local_aws.images.images import DOCKER_MANIFEST, OCI_MANIFEST

_URI = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?"
    r"/(?P<repository>[a-z0-9._/-]+)(?::(?P<tag>[\w.-]+))?"
)
# The media types of manifests, and those of the configurations that they name.
_CONFIGURATIONS = {
    DOCKER_MANIFEST: "application/vnd.docker.container.image.v1+json",
    OCI_MANIFEST: "application/vnd.oci.image.config.v1+json",
}


class PushError(Exception):
    """The registry did not take the image."""


def put_image(
    uri: str, configuration: Mapping[str, object], media_type: str, env: Mapping[str, str]
) -> None:
    """Record an image, so that whoever asks the registry for it learns that it is there.

    It has no layers but its configuration, for the image's files stay where they are. A URI that is
    not one of ECR has no registry here, and nothing is done.

    Args:
        uri: Name of the image with its registry.
        configuration: What the image consists of; the same makes the same digest.
        media_type: The manifest's: `DOCKER_MANIFEST` or `OCI_MANIFEST`.
        env: Where AWS_ENDPOINT_URL and credentials are, as AWS's tools take them.

    Raises:
        PushError: No endpoint is set, so this could be the real AWS; or the registry refused.
    """
    match = _URI.fullmatch(uri)
    if match is None:
        return
    endpoint = env.get("AWS_ENDPOINT_URL_ECR") or env.get("AWS_ENDPOINT_URL")
    if not endpoint and "AWS_ENDPOINT_URL_SAGEMAKER" in env:
        return  # SageMaker alone has no registry; that the image is pushed is in its folder
    if not endpoint:
        raise PushError("AWS_ENDPOINT_URL is not set; `local-aws status` shows what to set")
    content = json.dumps(configuration, sort_keys=True).encode()
    request = {
        "registryId": match["account"],
        "repositoryName": match["repository"],
        "imageManifest": _manifest(content, media_type),
        "imageManifestMediaType": media_type,
        "imageTag": match["tag"] or "latest",
    }
    try:
        _Registry(match["region"], endpoint, env).put(request, content)
    except (BotoCoreError, ClientError) as error:
        raise PushError(f"{uri}: {error}") from error


class _Registry:
    def __init__(self, region: str, endpoint: str, env: Mapping[str, str]) -> None:
        self._client: Any = botocore.session.get_session().create_client(
            "ecr",
            region_name=region,
            endpoint_url=endpoint,
            aws_access_key_id=env.get("AWS_ACCESS_KEY_ID", "test"),
            aws_secret_access_key=env.get("AWS_SECRET_ACCESS_KEY", "test"),
            aws_session_token=env.get("AWS_SESSION_TOKEN"),
            # It is on this machine: what does not answer does not run.
            config=Config(retries={"mode": "standard", "total_max_attempts": 2}),
        )

    def put(self, request: dict[str, str], configuration: bytes) -> None:
        client = self._client
        repository = {name: request[name] for name in ("registryId", "repositoryName")}
        try:
            self._upload(repository, configuration)
        except client.exceptions.RepositoryNotFoundException:
            client.create_repository(**repository)
            self._upload(repository, configuration)
        try:
            client.put_image(**request)
        except client.exceptions.ImageAlreadyExistsException:
            return
        except client.exceptions.ImageTagAlreadyExistsException:
            # Tags of the CDK's repository are immutable; pushing the same again changes nothing.
            digest = _digest(request["imageManifest"].encode())
            tags = [{"imageTag": request["imageTag"]}]
            there = client.batch_get_image(**repository, imageIds=tags)["images"]
            if [image["imageId"]["imageDigest"] for image in there] != [digest]:
                raise

    def _upload(self, repository: dict[str, str], layer: bytes) -> None:
        client = self._client
        upload = repository | {"uploadId": client.initiate_layer_upload(**repository)["uploadId"]}
        client.upload_layer_part(
            **upload, partFirstByte=0, partLastByte=len(layer) - 1, layerPartBlob=layer
        )
        with suppress(client.exceptions.LayerAlreadyExistsException):
            client.complete_layer_upload(**upload, layerDigests=[_digest(layer)])


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def _manifest(configuration: bytes, media_type: str) -> str:
    config = {
        "mediaType": _CONFIGURATIONS[media_type],
        "size": len(configuration),
        "digest": _digest(configuration),
    }
    manifest = {"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": []}
    return json.dumps(manifest, sort_keys=True)
