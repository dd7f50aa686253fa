"""Two environments in one account, dev with a version and what belongs to it."""

import hashlib
import io
import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from support.fake_sagemaker import ACCOUNT, ARN, FakeSageMaker, Request

from ops import aws, images
from usecase import config
from workflows import names, overlays
from workflows import promotion as promoted
from workflows.names import Names

DEV, PROD = Names(environment="dev"), Names(environment="prod")
HERE, THERE = DEV.bucket(ACCOUNT), PROD.bucket(ACCOUNT)
FOLDER = f"s3://{HERE}/training/execution7"
MODEL = b"a model, as tar and gzip have made it"
LAYERS = [b"configuration", b"a layer", b"another layer" * 3]
DIGESTS = [images.sha256(layer) for layer in LAYERS]
MANIFEST = json.dumps(
    {
        "schemaVersion": 2,
        "config": {"digest": DIGESTS[0]},
        "layers": [{"digest": d} for d in DIGESTS[1:]],
    }
)
DIGEST = images.sha256(MANIFEST.encode())
IMAGE = f"{ACCOUNT}.dkr.ecr.{names.REGION}.amazonaws.com/{DEV.repository}:tag"
FILES = ("baseline/statistics.json", "baseline/constraints.json", "baseline/schema.json")


class AlreadyThereError(Exception):
    """Takes the place of two exceptions of a client of ECR."""


class Ecr:
    """Two repositories of ECR, which moto has without layers.

    Attributes:
        layers: The layers of each repository.
        found: The images of each, by tag and by digest: digest, manifest and its media type.
        uploads: The layers that are uploaded.
        exceptions: As the client has them.
    """

    def __init__(self) -> None:
        self.layers = {DEV.repository: dict(zip(DIGESTS, LAYERS, strict=True)), PROD.repository: {}}
        image = (DIGEST, MANIFEST, images.MANIFESTS[0])
        self.found: dict[str, dict[str, tuple[str, str, str]]] = {
            DEV.repository: {"tag": image, DIGEST: image},
            PROD.repository: {},
        }
        self.uploads: list[bytes] = []
        self.exceptions = SimpleNamespace(
            ImageAlreadyExistsException=AlreadyThereError,
            LayerAlreadyExistsException=AlreadyThereError,
        )

    def batch_get_image(self, **given: Any) -> Any:
        (wanted,) = given["imageIds"]
        (reference,) = wanted.values()
        there = self.found[given["repositoryName"]]
        if reference not in there:
            return {"images": [], "failures": [{"failureReason": "Requested image not found"}]}
        digest, manifest, media_type = there[reference]
        image = {"imageId": {"imageDigest": digest}, "imageManifest": manifest}
        return {"images": [image | {"imageManifestMediaType": media_type}], "failures": []}

    def batch_check_layer_availability(self, **given: Any) -> Any:
        there = self.layers[given["repositoryName"]]
        kinds = {True: "AVAILABLE", False: "UNAVAILABLE"}
        return {
            "layers": [
                {"layerDigest": one, "layerAvailability": kinds[one in there]}
                for one in given["layerDigests"]
            ]
        }

    def get_download_url_for_layer(self, **given: Any) -> Any:
        return {"downloadUrl": f"{given['repositoryName']} {given['layerDigest']}"}

    def open(self, url: str) -> io.BytesIO:
        repository, digest = url.split()
        return io.BytesIO(self.layers[repository][digest])

    def initiate_layer_upload(self, **_: object) -> Any:
        self.uploads.append(b"")
        return {"uploadId": str(len(self.uploads) - 1), "partSize": 10}

    def upload_layer_part(self, **given: Any) -> None:
        number, part = int(given["uploadId"]), given["layerPartBlob"]
        before = self.uploads[number]
        assert given["partFirstByte"] == len(before)
        assert given["partLastByte"] == len(before + part) - 1
        assert len(part) <= 10
        self.uploads[number] = before + part

    def complete_layer_upload(self, **given: Any) -> None:
        content = self.uploads[int(given["uploadId"])]
        assert [images.sha256(content)] == given["layerDigests"]
        self.layers[given["repositoryName"]][given["layerDigests"][0]] = content

    def put_image(self, **given: Any) -> None:
        """Take an image by its digest: a tag could be one that a deployment looks for."""
        assert "imageTag" not in given
        name, digest = given["repositoryName"], given["imageDigest"]
        assert set(DIGESTS) == {*self.layers[name]}
        if digest in self.found[name]:
            raise AlreadyThereError
        image = (digest, given["imageManifest"], given["imageManifestMediaType"])
        self.found[name][digest] = image


class Account:
    """Both environments, in one account.

    Attributes:
        sagemaker: Both registries.
        ecr: Both repositories.
        stacks: The outputs of the stacks that are there.
        asked: The role that was asked for.
    """

    def __init__(self, sagemaker: FakeSageMaker) -> None:
        self.sagemaker = sagemaker
        self.ecr = Ecr()
        self.stacks: dict[str, dict[str, str]] = {name: {} for name in PROD.stacks}
        contract = promoted.contract(overlays.use_case("prod"))
        self.stacks[PROD.stacks[0]] = {promoted.CONTRACT_OUTPUT: contract}
        self.asked = ""
        sagemaker.operations |= {
            "CreateModelPackage": self._create,
            "ListModelPackages": self._list,
        }

    def of(self, number: int, where: Names = DEV) -> Request:
        """A version as the registry has it."""
        return self.sagemaker.packages[f"{ARN}:model-package/{where.model_package_group}/{number}"]

    def register(self) -> Request:
        """Register version 7 of dev, approved, and what belongs to it."""
        use_case = config.load()
        numeric = use_case.features.numeric
        schema = {
            "features": [
                {"name": name, "type": "Fractional" if name in numeric else "String"}
                for name in use_case.features.names
            ],
            "target": use_case.target.column,
            "answer": [{"name": name, "type": "Fractional"} for name in use_case.target.answer],
            "tables": [*use_case.data.tables],
            "id": use_case.data.id,
            "built_by": "",
        }
        metrics = {names.QUALITY_METRICS: {use_case.approval.metric: {"value": 0.7}}}
        contents = dict.fromkeys(FILES, b"{}") | {
            "model/output/model.tar.gz": MODEL,
            "evaluation/statistics.json": json.dumps(metrics).encode(),
            "evaluation/schema.json": json.dumps(schema).encode(),
            "evaluation/report.html": b"<h1>",
            "test/part-0.parquet": b"rows",
            "train/part-0.parquet": b"these stay where they are",
        }
        for name, content in contents.items():
            aws.s3().put_object(Bucket=HERE, Key=f"training/execution7/{name}", Body=content)

        def source(name: str) -> dict[str, str]:
            return {"ContentType": "application/json", "S3Uri": f"{FOLDER}/{name}"}

        sources = {"Statistics": source(FILES[0]), "Constraints": source(FILES[1])}
        arn = f"{ARN}:model-package/{DEV.model_package_group}/7"
        asked = {"Request": "true"} if use_case.request else {}
        self.sagemaker.packages[arn] = {
            "ModelPackageArn": arn,
            "ModelPackageGroupName": DEV.model_package_group,
            "ModelPackageVersion": 7,
            "ModelApprovalStatus": "Approved",
            "ApprovalDescription": "better",
            "CreationTime": datetime(2026, 1, 31, tzinfo=UTC),
            "CustomerMetadataProperties": {
                "ApprovedAt": "2026-01-31T12:00:00+00:00",
                "RolledBackFrom": "6",
                "Execution": "execution7",
                "InferenceMode": names.INFERENCE_MODE,
                "Monitors": "data_quality",
                "TestData": f"{FOLDER}/test",
                "Schema": f"{FOLDER}/evaluation/schema.json",
                "Report": f"{FOLDER}/evaluation/report.html",
                "Trigger": "new_data",
                **asked,
            },
            "MetadataProperties": {"CommitId": "0123456789abcdef"},
            "ModelMetrics": {"ModelQuality": {"Statistics": source("evaluation/statistics.json")}},
            "DriftCheckBaselines": {"ModelDataQuality": sources},
            "InferenceSpecification": {
                "Containers": [
                    {
                        "Image": IMAGE,
                        "ImageDigest": DIGEST,
                        "ModelDataUrl": f"{FOLDER}/model/output/model.tar.gz",
                        "ModelDataETag": hashlib.md5(MODEL).hexdigest(),  # noqa: S324 - as S3
                    }
                ],
                "SupportedContentTypes": ["text/csv"],
                "SupportedResponseMIMETypes": ["text/csv"],
                "SupportedTransformInstanceTypes": ["ml.m5.24xlarge"],
            },
        }
        return self.of(7)

    @property
    def arrived(self) -> list[Request]:
        """The versions of prod."""
        found = self.sagemaker.packages.values()
        return [one for one in found if one["ModelPackageGroupName"] == PROD.model_package_group]

    def answer(self, params: Request, **_: object) -> tuple[Any, Request]:
        """Answer DescribeStacks."""
        name = params["body"]["StackName"]
        if name not in self.stacks:
            error = {"Code": "ValidationError", "Message": f"Stack with id {name} does not exist"}
            return SimpleNamespace(status_code=400), {"Error": error, "ResponseMetadata": {}}
        outputs = self.stacks[name].items()
        stack = {"Outputs": [{"OutputKey": key, "OutputValue": value} for key, value in outputs]}
        return SimpleNamespace(status_code=200), {"Stacks": [stack], "ResponseMetadata": {}}

    def _list(self, request: Request) -> Request:
        group = request["ModelPackageGroupName"]
        found = [
            one for one in self.sagemaker.packages.values() if one["ModelPackageGroupName"] == group
        ]
        return {
            "ModelPackageSummaryList": [{"ModelPackageArn": o["ModelPackageArn"]} for o in found]
        }

    def _create(self, request: Request) -> Request:
        assert request.pop("ClientToken")
        number = len(self.arrived) + 1
        arn = f"{ARN}:model-package/{request['ModelPackageGroupName']}/{number}"
        self.sagemaker.packages[arn] = request | {
            "ModelPackageArn": arn,
            "ModelPackageVersion": number,
            "CreationTime": datetime(2026, 1, 31, tzinfo=UTC),
        }
        return {"ModelPackageArn": arn}
