"""What ministack's ECR lacks."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

from local_aws.host.internals import module
from local_aws.images.images import Image, Images

_PART_SIZE = 10 * 1024 * 1024
_Answer = tuple[int, dict[str, str], bytes]


def apply(images: Images, endpoint: str) -> None:
    """Add what is missing.

    Args:
        images: What runs for the images that the registry has.
        endpoint: URL of the local AWS.
    """
    _miss_images_that_are_not_there()
    _keep_layers()
    _hand_out_layers(endpoint)
    _take_whole_images(images)
    _forget_deleted_images(images)


def _keep_layers() -> None:
    """Keep the layers that are uploaded in parts, and tell which are there.

    AWS: Amazon ECR API Reference, InitiateLayerUpload, UploadLayerPart, CompleteLayerUpload and
    BatchCheckLayerAvailability.
    """
    ecr = module("services.ecr")
    initiate, upload, complete = (
        ecr._initiate_layer_upload,
        ecr._upload_layer_part,
        ecr._complete_layer_upload,
    )
    check = ecr._batch_check_layer_availability

    def begin(data: dict[str, Any]) -> _Answer:
        status, headers, body = initiate(data)
        if status == 200:
            body = json.dumps(json.loads(body) | {"partSize": _PART_SIZE}).encode()
            begun = ecr._uploads.setdefault(data["repositoryName"], {})
            begun[json.loads(body)["uploadId"]] = bytearray()
        return status, headers, body

    def take(data: dict[str, Any]) -> _Answer:
        part = ecr._uploads.get(data.get("repositoryName", ""), {}).get(data.get("uploadId"))
        if part is None:
            return _refused("UploadNotFoundException", "The upload could not be found")
        if data["partFirstByte"] != len(part):
            wanted = f"The part has to begin with byte {len(part)}, not {data['partFirstByte']}"
            return _refused("InvalidLayerPartException", wanted)
        part.extend(base64.b64decode(data["layerPartBlob"]))
        answer: _Answer = upload(data)
        return answer

    def finish(data: dict[str, Any]) -> _Answer:
        name, (digest, *_) = data["repositoryName"], data["layerDigests"]
        content = ecr._uploads.get(name, {}).pop(data["uploadId"], None)
        if content is None:
            return _refused("UploadNotFoundException", "The upload could not be found")
        if _digest(bytes(content)) != digest:
            return _refused("InvalidLayerException", f"The layer has not the digest {digest}")
        if digest in ecr._layer_blobs.get(name, {}):
            return _refused("LayerAlreadyExistsException", f"Layer {digest} exists already")
        ecr._layer_blobs.setdefault(name, {})[digest] = bytes(content)
        answer: _Answer = complete(data)
        return answer

    def available(data: dict[str, Any]) -> _Answer:
        status, headers, body = check(data)
        if status == 200:
            answer = json.loads(body)
            known = ecr._layer_blobs.get(data["repositoryName"], {})
            for layer in answer["layers"]:
                if (content := known.get(layer["layerDigest"])) is not None:
                    layer |= {"layerAvailability": "AVAILABLE", "layerSize": len(content)}
            body = json.dumps(answer).encode()
        return status, headers, body

    ecr._initiate_layer_upload = begin
    ecr._upload_layer_part = take
    ecr._complete_layer_upload = finish
    ecr._batch_check_layer_availability = available


def _hand_out_layers(endpoint: str) -> None:
    """Give the address of a layer that is there, at which it can be had.

    AWS: Amazon ECR API Reference, GetDownloadUrlForLayer.
    """
    ecr = module("services.ecr")
    original = ecr._get_download_url_for_layer

    def find(data: dict[str, Any]) -> _Answer:
        status, headers, body = original(data)
        if status == 200:
            name, digest = data["repositoryName"], data["layerDigest"]
            if digest not in ecr._layer_blobs.get(name, {}):
                return _refused("LayersNotFoundException", f"There is no layer {digest} in {name}")
            url = f"{endpoint}/v2/{name}/blobs/{digest}"
            body = json.dumps(json.loads(body) | {"downloadUrl": url}).encode()
        return status, headers, body

    ecr._get_download_url_for_layer = find


def _take_whole_images(images: Images) -> None:
    """Take an image whose layers are there and whose digest is right, and run it by its digest too.

    AWS: Amazon ECR API Reference, PutImage.
    """
    ecr, responses = module("services.ecr"), module("core.responses")
    original = ecr._put_image

    def put(data: dict[str, Any]) -> _Answer:
        name, tag = data.get("repositoryName", ""), data.get("imageTag")
        manifest = json.loads(data.get("imageManifest", "{}"))
        digest = _digest(data.get("imageManifest", "").encode())
        if name in ecr._repositories:
            parts = [manifest["config"]] if "config" in manifest else []
            wanted = [part["digest"] for part in (*parts, *manifest.get("layers", []))]
            known = ecr._layer_blobs.get(name, {})
            if missing := [one for one in wanted if one not in known]:
                return _refused("LayersNotFoundException", f"{name} has no {', '.join(missing)}")
            if data.get("imageDigest", digest) != digest:
                return _refused(
                    "ImageDigestDoesNotMatchException", f"The digest of the image is {digest}"
                )
            there = ecr._find_image(name, {"imageDigest": digest})
            if there and (tag is None or tag in there["imageTags"]):
                what = f"Image {digest} exists already in {name}"
                return _refused("ImageAlreadyExistsException", what)
        answer: _Answer = original(data)
        if answer[0] == 200 and (image := _runs(ecr._layer_blobs.get(name, {}), manifest)):
            registry = f"{responses.get_account_id()}.dkr.ecr.{responses.get_region()}"
            uri = f"{registry}.amazonaws.com/{name}"
            for reference in (f"@{digest}", *([f":{tag}"] if tag else [])):
                images.register(f"{uri}{reference}", image)
        return answer

    ecr._put_image = put


def _runs(layers: dict[str, bytes], manifest: dict[str, Any]) -> Image | None:
    """Return what runs for an image, which its configuration says; None of one made elsewhere."""
    configuration = json.loads(layers.get(manifest.get("config", {}).get("digest", ""), b"{}"))
    if "root" not in configuration:
        return None
    return Image(**{**configuration, "root": Path(configuration["root"])})


def _forget_deleted_images(images: Images) -> None:
    """Run nothing for an image any more that BatchDeleteImage has deleted.

    AWS: Amazon ECR API Reference, BatchDeleteImage.
    """
    ecr = module("services.ecr")
    original = ecr._batch_delete_image

    def delete(data: dict[str, Any]) -> object:
        answer = original(data)
        name = data.get("repositoryName", "")
        for uri in images.uris():
            path = uri.partition("/")[2]
            repository, at, which = path.rpartition("@" if "@" in path else ":")
            wanted = {"imageDigest" if at == "@" else "imageTag": which}
            if repository == name and not ecr._find_image(name, wanted):
                images.remove(uri)
        return answer

    ecr._batch_delete_image = delete


def _miss_images_that_are_not_there() -> None:
    """Answer DescribeImages with an error for an image that is not there; CDK asks before a push.

    AWS: Amazon ECR API Reference, DescribeImages.
    """
    ecr = module("services.ecr")
    original = ecr._describe_images

    def describe(data: dict[str, Any]) -> object:
        name = data.get("repositoryName", "")
        answer = original(data)
        if answer[0] != 200:
            return answer
        for wanted in data.get("imageIds") or []:
            if not ecr._find_image(name, wanted):
                message = f"The image with imageId {wanted} does not exist in repository {name}"
                return _refused("ImageNotFoundException", message)
        return answer

    ecr._describe_images = describe


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def _refused(code: str, message: str) -> _Answer:
    headers = {"Content-Type": "application/x-amz-json-1.1"}
    return 400, headers, json.dumps({"__type": code, "message": message}).encode()
