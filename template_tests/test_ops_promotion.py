"""Promote a version: what comes to the other environment, and what is refused by its name."""

import hashlib
import json
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from support.account_promotion import (
    DEV,
    DIGEST,
    DIGESTS,
    FILES,
    FOLDER,
    HERE,
    IMAGE,
    LAYERS,
    MANIFEST,
    MODEL,
    PROD,
    THERE,
    Account,
)
from support.fake_sagemaker import ACCOUNT, FakeSageMaker, RefusalError, Request
from typer.testing import CliRunner

from lambdas.aws import split_uri
from ops import OpsError, aws, belongings, images, promotion
from ops import __main__ as command_line
from usecase import config
from usecase.errors import UseCaseError
from workflows import names, overlays
from workflows import promotion as promoted
from workflows.overlays import Overlay

pytest_plugins = ["support.lambda_account"]

OTHER_ACCOUNT = "210987654321"


@pytest.fixture
def account(
    session: boto3.Session, sagemaker: FakeSageMaker, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Account]:
    files = {"dev": Overlay(), "prod": Overlay(models_from="dev")}
    monkeypatch.setattr(overlays, "known", lambda *_: [*files])
    monkeypatch.setattr(overlays, "load", lambda name, *_: files[name] if name else Overlay())
    monkeypatch.setenv(names.ENVIRONMENT, "dev")
    cached = (aws.s3, aws.sagemaker, aws.account)
    for client in cached:
        client.cache_clear()
    s3: Any = session.client("s3")
    place = {"CreateBucketConfiguration": {"LocationConstraint": names.REGION}}
    for bucket in (HERE, THERE):
        s3.create_bucket(Bucket=bucket, **({} if names.REGION == "us-east-1" else place))
    found = Account(sagemaker)
    found.register()

    def take_role(_: object, there: promoted.Place) -> boto3.Session:
        found.asked = f"{there.account} {there.role}"
        return session

    monkeypatch.setattr(promotion, "take_role", take_role)
    monkeypatch.setattr(belongings.Target, "ecr", lambda *_: found.ecr)
    monkeypatch.setattr(images, "urlopen", found.ecr.open)
    answer: Any = found.answer
    session.events.register("before-call.cloudformation", answer)
    yield found
    session.events.unregister("before-call.cloudformation", answer)
    for client in cached:
        client.cache_clear()


def promote(version: int = 7, to: str = "prod") -> str:
    """What the command says, in one line."""
    command = ("models", "promote", str(version), "--to", to)
    result = CliRunner().invoke(command_line.app, command)
    if result.exception:
        raise result.exception
    return " ".join(result.output.split())


def test_version_comes_whole_and_awaits_approval(account: Account) -> None:
    said = promote()
    assert "Version 7 of dev is version 1 of prod, where it awaits approval" in said
    assert "USECASE_ENVIRONMENT=prod uv run ops models approve 1" in said
    assert account.asked == f"{ACCOUNT} {PROD.of(f'promotion-{names.REGION}')}"
    (version,) = account.arrived
    assert version["ModelApprovalStatus"] == "PendingManualApproval"
    properties = version["CustomerMetadataProperties"]
    before = account.of(7)["CustomerMetadataProperties"]
    kept = ("Execution", "InferenceMode", "Monitors", "Trigger")
    assert {name: properties[name] for name in kept} == {name: before[name] for name in kept}
    assert ("Request" in properties) == ("Request" in before)
    assert properties["PromotedFrom"] == "dev"
    assert properties["PromotedVersion"] == "7"
    assert properties["PromotedArn"] == account.of(7)["ModelPackageArn"]
    assert properties["ArtifactSha256"] == hashlib.sha256(MODEL).hexdigest()
    assert properties["ImageDigest"] == DIGEST
    # What was decided in dev is not decided in prod.
    assert {"ApprovedAt", "RolledBackFrom"} & properties.keys() == set()
    assert "ApprovalDescription" not in version
    assert version["MetadataProperties"] == {"CommitId": "0123456789abcdef"}


def test_nothing_that_is_registered_is_in_dev_or_can_become_another(account: Account) -> None:
    promote()
    (version,) = account.arrived
    (container,) = version["InferenceSpecification"]["Containers"]
    registry = f"{ACCOUNT}.dkr.ecr.{names.REGION}.amazonaws.com"
    assert container["Image"] == f"{registry}/{PROD.repository}@{DIGEST}"
    assert {*account.ecr.found[PROD.repository]} == {DIGEST}  # and no tag
    assert account.ecr.layers[PROD.repository] == account.ecr.layers[DEV.repository]
    types = version["InferenceSpecification"]["SupportedTransformInstanceTypes"]
    assert types == [config.load().instances.inference]
    told = [*belongings.uris(version)]
    assert len(told) == 7
    assert all(uri.startswith(f"s3://{THERE}/training/promoted-") for uri in told)
    s3 = aws.s3()
    copied = {one["Key"] for one in s3.list_objects_v2(Bucket=THERE)["Contents"]}
    names_only = {key.split("/", 3)[3] for key in copied}
    # The files of a baseline that the registry does not name, too; and not what it was trained on.
    assert names_only >= {*FILES, "model/output/model.tar.gz", "test/part-0.parquet"}
    assert not any(name.startswith("train/") for name in names_only)
    for uri in told:
        _, key = split_uri(uri)
        assert key in copied or f"{key}/part-0.parquet" in copied


def test_promoting_twice_changes_nothing(account: Account) -> None:
    promote()
    calls = len(account.sagemaker.called("CreateModelPackage"))
    account.arrived[0]["ModelApprovalStatus"] = "Rejected"
    assert "is version 1 of prod, Rejected. Nothing is changed" in promote()
    assert len(account.sagemaker.called("CreateModelPackage")) == calls == 1
    assert len(account.ecr.uploads) == len(LAYERS)


@pytest.mark.parametrize("where", ["layer", "object", "registry"])
def test_interrupted_promotion_is_repeated(account: Account, where: str) -> None:
    def fail(*_: object, **__: object) -> Any:
        raise RefusalError("no more today", "ThrottlingException")

    whole = account.ecr.upload_layer_part

    def cut(**given: Any) -> None:
        if given["partFirstByte"]:
            fail()
        whole(**given)

    with pytest.MonkeyPatch.context() as patch:
        if where == "layer":
            patch.setattr(account.ecr, "upload_layer_part", cut)
        elif where == "object":
            patch.setattr(belongings, "copy", fail)
        else:
            patch.setitem(account.sagemaker.operations, "CreateModelPackage", fail)
        with pytest.raises((RefusalError, ClientError)):
            promote()
    assert account.arrived == []
    promote()
    assert len(account.arrived) == 1
    assert account.ecr.found[PROD.repository][DIGEST][1] == MANIFEST
    keys = [one["Key"] for one in aws.s3().list_objects_v2(Bucket=THERE)["Contents"]]
    assert len({key.split("/")[1] for key in keys}) == 1


def unapproved(account: Account) -> None:
    account.of(7)["ModelApprovalStatus"] = "PendingManualApproval"


def of_another_mode(account: Account) -> None:
    account.of(7)["CustomerMetadataProperties"]["InferenceMode"] = "carrier_pigeon"


def write(name: str, change: Callable[[Any], object]) -> None:
    """Change a JSON document of version 7."""
    uri = f"{FOLDER}/{name}"
    document = aws.read_json(uri)
    change(document)
    bucket, key = split_uri(uri)
    aws.s3().put_object(Bucket=bucket, Key=key, Body=json.dumps(document).encode())


def of_another_problem(_: Account) -> None:
    metric = config.load().approval.metric
    write(
        "evaluation/statistics.json",
        lambda found: (found.clear(), found.update({"ranking_metrics": {metric: {"value": 1}}})),
    )


def of_other_features(_: Account) -> None:
    write("evaluation/schema.json", lambda found: found["features"].pop())


def of_another_target(_: Account) -> None:
    write("evaluation/schema.json", lambda found: found.update(target="another_one"))


def of_other_requests(account: Account) -> None:
    properties = account.of(7)["CustomerMetadataProperties"]
    if properties.pop("Request", None) is None:
        properties["Request"] = "true"


def without_schema(account: Account) -> None:
    del account.of(7)["CustomerMetadataProperties"]["Schema"]


def undeployed(account: Account) -> None:
    del account.stacks[PROD.stacks[2]]


def deployed_otherwise(account: Account) -> None:
    account.stacks[PROD.stacks[0]] = {promoted.CONTRACT_OUTPUT: "of another commit"}


def without_image(account: Account) -> None:
    account.ecr.found[DEV.repository].clear()


def of_another_image(account: Account) -> None:
    other = MANIFEST.replace("2", "2 ", 1)
    entry = (images.sha256(other.encode()), other, images.MANIFESTS[0])
    account.ecr.found[DEV.repository]["tag"] = entry


def of_several_images(account: Account) -> None:
    kind = "application/vnd.oci.image.index.v1+json"
    account.ecr.found[DEV.repository]["tag"] = (DIGEST, MANIFEST, kind)


def of_another_repository(account: Account) -> None:
    (container,) = account.of(7)["InferenceSpecification"]["Containers"]
    container["Image"] = IMAGE.replace(DEV.repository, "cdk-assets")


def with_a_broken_layer(account: Account) -> None:
    account.ecr.layers[DEV.repository][DIGESTS[1]] = b"cut off"


def without_artifact(_: Account) -> None:
    aws.s3().delete_object(Bucket=HERE, Key="training/execution7/model/output/model.tar.gz")


def of_another_artifact(_: Account) -> None:
    aws.s3().put_object(
        Bucket=HERE, Key="training/execution7/model/output/model.tar.gz", Body=b"another"
    )


def without_baseline(_: Account) -> None:
    aws.s3().delete_object(Bucket=HERE, Key=f"training/execution7/{FILES[0]}")


def without_test_data(_: Account) -> None:
    aws.s3().delete_object(Bucket=HERE, Key="training/execution7/test/part-0.parquet")


def elsewhere(account: Account) -> None:
    account.of(7)["CustomerMetadataProperties"]["TestData"] = "s3://elsewhere/test"


REFUSALS: list[tuple[Callable[[Account], None], str]] = [
    (unapproved, r"version 7 is PendingManualApproval in dev: .*`uv run ops models approve 7`"),
    (of_another_mode, "version 7 was trained for another inference mode, carrier_pigeon"),
    (of_another_problem, "version 7 was trained for another problem type, ranking: this"),
    (of_other_features, "version 7 was trained for another schema: the model was trained without"),
    (of_another_target, "another schema: its target is another_one, that of usecase.toml is"),
    (of_other_requests, r"another schema: only one of it and usecase.toml has a \[request\]"),
    (without_schema, "version 7 has no schema.json on record"),
    (undeployed, f"prod is not deployed yet, it has no stack {PROD.stacks[2]}"),
    (deployed_otherwise, "prod is deployed from a commit with another inference mode"),
    (without_image, f"image tag of repository {DEV.repository} cannot be had: Requested image"),
    (of_another_image, "was sha256:.* when the version was registered: train a new version"),
    (of_several_images, "is not one image, but application/vnd.oci.image.index"),
    (of_another_repository, f"is not in repository {DEV.repository} of dev"),
    (with_a_broken_layer, f"layer {DIGESTS[1]} of {DEV.repository} did not come whole"),
    (without_artifact, "the artifact .*model.tar.gz is gone: train a new version"),
    (of_another_artifact, "model.tar.gz is not the artifact any more that was registered"),
    (without_baseline, f"{FILES[0]} of version 7 is gone"),
    (without_test_data, "training/execution7/test of version 7 is gone"),
    (elsewhere, "s3://elsewhere/test is not below s3://"),
]


@pytest.mark.parametrize(("change", "message"), REFUSALS, ids=[one.__name__ for one, _ in REFUSALS])
def test_refusal_names_what_is_wrong(
    account: Account, change: Callable[[Account], None], message: str
) -> None:
    change(account)
    with pytest.raises(OpsError, match=message):
        promote()
    assert account.arrived == []


def test_unknown_version_is_refused_with_those_there_are(account: Account) -> None:
    with pytest.raises(OpsError, match="there is no version 8 in the registry; there are: 7"):
        promote(8)
    assert account.asked == ""


@pytest.mark.usefixtures("account")
@pytest.mark.parametrize(
    ("files", "here", "to", "message"),
    [
        ({}, "dev", "staging", "--to: there is no environment 'staging'; there are: dev, prod"),
        ({}, "dev", "dev", "--to: the version is in dev already"),
        ({}, "", "prod", "which environment has the version\\? Set USECASE_ENVIRONMENT"),
        ({"prod": Overlay()}, "dev", "prod", 'set models_from = "dev" in environments/prod.toml'),
        (
            {"prod": Overlay(models_from="dev", account=OTHER_ACCOUNT)},
            "dev",
            "prod",
            f"prod belongs to account {OTHER_ACCOUNT} .* credentials of account {ACCOUNT}: set it",
        ),
    ],
)
def test_environment_that_takes_no_versions_is_refused(
    monkeypatch: pytest.MonkeyPatch, files: dict[str, Overlay], here: str, to: str, message: str
) -> None:
    found = {"dev": Overlay(), "prod": Overlay(models_from="dev")} | files
    monkeypatch.setattr(overlays, "load", lambda name, *_: found[name] if name else Overlay())
    monkeypatch.setenv(names.ENVIRONMENT, here)
    with pytest.raises(OpsError, match=message):
        promote(to=to)


@pytest.mark.usefixtures("account")
def test_credentials_of_another_account_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"dev": Overlay(account=OTHER_ACCOUNT), "prod": Overlay(models_from="dev")}
    monkeypatch.setattr(overlays, "load", lambda name, *_: found[name] if name else Overlay())
    with pytest.raises(UseCaseError, match=f"environment dev belongs to account {OTHER_ACCOUNT}"):
        promote()


@pytest.mark.parametrize("code", ["AccessDenied", "NoSuchEntity"])
def test_role_that_cannot_be_taken_is_told_with_its_reasons(
    session: boto3.Session, code: str
) -> None:
    def answer(**_: object) -> tuple[Any, Request]:
        error = {"Code": code, "Message": "no"}
        return SimpleNamespace(status_code=403), {"Error": error, "ResponseMetadata": {}}

    refuse: Any = answer
    here, there = (promoted.Place(name, ACCOUNT, names.REGION) for name in ("dev", "prod"))
    session.events.register("before-call.sts.AssumeRole", refuse)
    try:
        with pytest.raises(
            OpsError, match=rf"prod lets nobody in: .* may not take arn:.*{there.role}"
        ):
            promotion.take_role(here, there)
    finally:
        session.events.unregister("before-call.sts.AssumeRole", refuse)
