"""Copies of images from one repository of ECR to another, to the same digest, without Docker.

ECR copies no image from one account to another by itself but all that is pushed from then on
(replication). So each layer that the other repository lacks goes through this machine.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.request import urlopen

from ops import OpsError

MANIFESTS = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
)
"""Manifests of one image; others list several, for other platforms or to tell of their origin."""
AT_ONCE = 100
"""So many layers BatchCheckLayerAvailability takes."""


@dataclass(frozen=True)
class Repository:
    """A repository.

    Attributes:
        client: A client of ECR, of its region.
        registry: Its account.
        name: Its name.
    """

    client: Any
    registry: str
    name: str

    @property
    def called(self) -> dict[str, str]:
        """What requests call it."""
        return {"registryId": self.registry, "repositoryName": self.name}


@dataclass(frozen=True)
class Found:
    """An image in a repository.

    Attributes:
        digest: Its digest: `sha256:` and 64 hexadecimal digits.
        manifest: Its manifest, to the byte.
        media_type: The manifest's.
    """

    digest: str
    manifest: str
    media_type: str

    @property
    def layers(self) -> list[str]:
        """The digests of its configuration and its layers."""
        content = json.loads(self.manifest)
        return [part["digest"] for part in (content["config"], *content["layers"])]


def find(repository: Repository, reference: Mapping[str, Any]) -> Found:
    """An image, by its tag or by its digest.

    Args:
        repository: Where it is.
        reference: `imageTag` or `imageDigest`.

    Raises:
        OpsError: When it is not there, or is not one image.
    """
    what = f"image {', '.join(reference.values())} of repository {repository.name}"
    answer = repository.client.batch_get_image(
        **repository.called, imageIds=[dict(reference)], acceptedMediaTypes=[*MANIFESTS]
    )
    if not answer["images"]:
        reason = "; ".join(failure["failureReason"] for failure in answer["failures"])
        raise OpsError(f"{what} cannot be had: {reason}: train a new version (`uv run ops train`)")
    (image,) = answer["images"]
    media_type = image.get("imageManifestMediaType", MANIFESTS[0])
    found = Found(image["imageId"]["imageDigest"], image["imageManifest"], media_type)
    if media_type not in MANIFESTS or sha256(found.manifest.encode()) != found.digest:
        raise OpsError(f"{what} is not one image, but {media_type}: it cannot be copied")
    return found


def copy(image: Found, source: Repository, to: Repository, progress: Callable[[str], None]) -> None:
    """Bring an image to another repository; one that is there already stays as it is.

    Args:
        image: The image.
        source: Where it is.
        to: Where it is to be as well.
        progress: Called with what is waited for.

    Raises:
        OpsError: When a layer has not arrived as it is.
    """
    client = to.client
    missing = lacking(to, image.layers)
    for number, digest in enumerate(missing, start=1):
        progress(f"layer {number} of {len(missing)} that {to.name} lacks")
        _copy_layer(digest, source, to)
    # Without a tag: a tag could be one that a deployment looks for.
    with suppress(client.exceptions.ImageAlreadyExistsException):
        client.put_image(
            **to.called,
            imageManifest=image.manifest,
            imageManifestMediaType=image.media_type,
            imageDigest=image.digest,
        )


def lacking(repository: Repository, layers: list[str]) -> list[str]:
    """The layers that are not in a repository, each once."""
    found = []
    wanted = [*dict.fromkeys(layers)]
    for first in range(0, len(wanted), AT_ONCE):
        some = wanted[first : first + AT_ONCE]
        answer = repository.client.batch_check_layer_availability(
            **repository.called, layerDigests=some
        )
        there = {
            layer["layerDigest"]
            for layer in answer["layers"]
            if layer["layerAvailability"] == "AVAILABLE"
        }
        found += [digest for digest in some if digest not in there]
    return found


def _copy_layer(digest: str, source: Repository, to: Repository) -> None:
    """Bring a layer, in the parts that ECR wants; it compares the whole with the digest."""
    client = to.client
    url = source.client.get_download_url_for_layer(**source.called, layerDigest=digest)
    begun = client.initiate_layer_upload(**to.called)
    upload = to.called | {"uploadId": begun["uploadId"]}
    first, hashed = 0, hashlib.sha256()
    with urlopen(url["downloadUrl"]) as content:  # noqa: S310 - the address is ECR's own
        while part := content.read(begun["partSize"]):
            hashed.update(part)
            last = first + len(part) - 1
            client.upload_layer_part(
                **upload, partFirstByte=first, partLastByte=last, layerPartBlob=part
            )
            first = last + 1
    if f"sha256:{hashed.hexdigest()}" != digest:
        raise OpsError(f"layer {digest} of {source.name} did not come whole: run this again")
    with suppress(client.exceptions.LayerAlreadyExistsException):
        client.complete_layer_upload(**upload, layerDigests=[digest])


def sha256(content: bytes) -> str:
    """The digest of a content, as registries write it."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
