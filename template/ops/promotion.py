"""Bring an approved version to another environment, where it awaits approval as any other.

A role of the other environment does it, which may read what belongs to versions here: so all that
is written there is written by its own account, and no policy there lets another one write.
"""

import hashlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any

import boto3
import typer
from botocore.exceptions import ClientError
from rich.console import Console

from lambdas import other_mode
from lambdas.aws import split_uri
from ops import OpsError, aws, belongings, models
from ops.belongings import Target
from ops.models import Version
from usecase import schema
from workflows import keys, names, overlays, promotion
from workflows.promotion import Place

console = Console(soft_wrap=True)

COPIED = ("InferenceSpecification", "ModelMetrics", "DriftCheckBaselines", "MetadataProperties")
"""Members of a version that are the same everywhere, but for where things are."""
DECIDED = (
    *("ApprovedAt", models.ROLLED_BACK_AT, models.ROLLED_BACK_TO),
    *(models.ROLLED_BACK_FROM, models.ROLLBACK_REASON),
)
"""Its metadata that tells what was decided here, and so stays here."""


def promote(
    version: Annotated[int, typer.Argument(help="The version, which is approved here.")],
    to: Annotated[str, typer.Option(help="The environment to bring it to.")],
) -> None:
    """Bring an approved version to another environment, where it awaits approval.

    However often, and wherever it was interrupted: it is one version there.
    """
    here, there = places(to)
    found = models.find(version)
    require_promotable(found, here)
    target = Target(there, take_role(here, there))
    require_deployed(target)
    name = f"Version {version} of {here.environment}"
    if known := registered(target, found.arn):
        number, approval = known
        console.print(f"{name} is version {number} of {to}, {approval}. Nothing is changed.")
        return
    with console.status("Promoting …") as status:
        number = bring(found, here, target, lambda text: status.update(f"Promoting: {text}"))
    console.print(f"{name} is version {number} of {to}, where it awaits approval:")
    console.print(
        f"  {overlays.ENVIRONMENT}={to} uv run ops models report {number} --open\n"
        f"  {overlays.ENVIRONMENT}={to} uv run ops models approve {number}"
    )


def places(to: str) -> tuple[Place, Place]:
    """The environment of the command, and the one to bring a version to.

    Raises:
        OpsError: When the one takes no versions of the other, or an account is not on record.
    """
    here = names.current().environment
    if not here:
        raise OpsError(
            f"which environment has the version? Set {overlays.ENVIRONMENT}, for example "
            f"{overlays.ENVIRONMENT}={overlays.known()[0]}"
        )
    if to not in overlays.known():
        raise OpsError(
            f"--to: there is no environment {to!r}; there are: {', '.join(overlays.known())}"
        )
    file = f"{overlays.FOLDER}/{to}.toml"
    if to == here:
        raise OpsError(f"--to: the version is in {to} already; name another environment")
    if overlays.load(to).models_from != here:
        raise OpsError(
            f'{to} takes no versions of {here}: set models_from = "{here}" in {file}, and deploy '
            "both (docs/environments.md)"
        )
    account = aws.account()
    source, target = promotion.place(here, account), promotion.place(to, account)
    if source.account != target.account and not overlays.load(here).account:
        raise OpsError(
            f"{to} belongs to account {target.account} ({file}), and these are credentials of "
            f"account {account}: set it as account in {overlays.FOLDER}/{here}.toml, and deploy "
            f"{to}, which lets in no account that is not on record"
        )
    return source, target


def require_promotable(version: Version, here: Place) -> None:
    """See that a version is approved here, and fits this project.

    Raises:
        OpsError: When it is not approved, or was trained for something else.
    """
    number = version.number
    if version.approval != "Approved":
        raise OpsError(
            f"version {number} is {version.approval} in {here.environment}: what nobody has "
            f"approved there is not promoted (`uv run ops models approve {number}`)"
        )
    another = f"version {number} was trained for another"
    if other := other_mode(version.properties, names.INFERENCE_MODE):
        raise OpsError(
            f"{another} inference mode, {other}: this project has {names.INFERENCE_MODE}"
        )
    statistics = aws.read_json(f"{version.evaluation}/statistics.json")
    kind = next((key for key in statistics if key.endswith("_metrics")), "none")
    if kind != names.QUALITY_METRICS:
        told, own = (text.removesuffix("_metrics") for text in (kind, names.QUALITY_METRICS))
        raise OpsError(f"{another} problem type, {told}: this project has {own}")
    use_case = overlays.use_case(here.environment)
    trained = models.trained_on(version)
    if trained is None:
        raise OpsError(f"version {number} has no schema.json on record: train a new version")
    if reason := schema.mismatch(trained, use_case):
        raise OpsError(f"{another} schema: {reason}")
    if ("Request" in version.properties) != (use_case.request is not None):
        raise OpsError(f"{another} schema: only one of it and usecase.toml has a [request]")


def take_role(here: Place, there: Place) -> boto3.Session:
    """A session with the role that brings versions to an environment.

    Raises:
        OpsError: When it cannot be taken.
    """
    partition = boto3.Session().get_partition_for_region(there.region)
    arn = f"arn:{partition}:iam::{there.account}:role/{there.role}"
    sts = boto3.client("sts", region_name=names.REGION)
    try:
        taken = sts.assume_role(RoleArn=arn, RoleSessionName=f"from-{here.environment}")
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("AccessDenied", "NoSuchEntity"):
            raise
        raise OpsError(
            f"{there.environment} lets nobody in: it is not deployed yet, or not since it has "
            f"models_from ({overlays.ENVIRONMENT}={there.environment} uv run poe deploy), or these "
            f"credentials may not take {arn}"
        ) from None
    credentials = taken["Credentials"]
    return boto3.Session(
        aws_access_key_id=credentials["AccessKeyId"],
        aws_secret_access_key=credentials["SecretAccessKey"],
        aws_session_token=credentials["SessionToken"],
        region_name=there.region,
    )


def require_deployed(target: Target) -> None:
    """See that an environment is deployed, and for such versions as this project's.

    Raises:
        OpsError: When it is not.
    """
    there = target.place
    deploy = f"{overlays.ENVIRONMENT}={there.environment} uv run poe deploy"
    client = target.session.client("cloudformation")
    outputs: dict[str, str] = {}
    for name in there.names.stacks:
        try:
            (stack,) = client.describe_stacks(StackName=name)["Stacks"]
        except ClientError as error:
            if not aws.is_missing(error):
                raise
            raise OpsError(
                f"{there.environment} is not deployed yet, it has no stack {name}: {deploy}"
            ) from None
        outputs |= {one["OutputKey"]: one["OutputValue"] for one in stack.get("Outputs", [])}
    use_case = overlays.use_case(there.environment)
    if outputs.get(promotion.CONTRACT_OUTPUT) != promotion.contract(use_case):
        raise OpsError(
            f"{there.environment} is deployed from a commit with another inference mode, problem "
            f"type, target, features or [request] than this one: {deploy}, or go to that commit"
        )


def registered(target: Target, arn: str) -> tuple[int, str] | None:
    """The number and the approval of the version that another one has become, if it has.

    Args:
        target: Where.
        arn: The other one.
    """
    client = target.sagemaker
    pages = client.get_paginator("list_model_packages").paginate(
        ModelPackageGroupName=target.place.names.model_package_group
    )
    for page in pages:
        for summary in page["ModelPackageSummaryList"]:
            package = client.describe_model_package(ModelPackageName=summary["ModelPackageArn"])
            if package.get("CustomerMetadataProperties", {}).get(promotion.ARN) == arn:
                return package["ModelPackageVersion"], package.get("ModelApprovalStatus", "")
    return None


def bring(version: Version, here: Place, target: Target, progress: Callable[[str], None]) -> int:
    """Copy all that belongs to a version, then register it; its number there.

    It is registered last, so that what is registered is whole.

    Raises:
        OpsError: When something is gone, or is not any more what was registered.
    """
    package: Mapping[str, Any] = aws.sagemaker().describe_model_package(
        ModelPackageName=version.arn
    )
    (container,) = package["InferenceSpecification"]["Containers"]
    progress("the image")
    digest = belongings.bring_image(container, here, target, progress)
    progress("the model")
    etag, artifact = belongings.hashed(container, target)
    # What makes it this version, so that whoever promotes it again writes the same there.
    mark = hashlib.sha256(f"{version.arn} {artifact} {digest}".encode()).hexdigest()[:32]
    there = target.place
    moved = partial(
        belongings.move,
        old=f"s3://{here.bucket}/{keys.TRAINING}",
        new=f"s3://{there.bucket}/{promotion.FOLDERS}{mark}/",
    )
    body = registration(package, moved, there)
    progress("the evaluation, the baselines and the test data")
    model = split_uri(version.artifact)[1]
    belongings.copy(belongings.of(target.s3, package) | {model: etag}, here, target, moved)
    (copied,) = body["InferenceSpecification"]["Containers"]
    if belongings.hashed(copied, target)[1] != artifact:
        raise OpsError(f"the model did not come to {copied['ModelDataUrl']} as it is")
    progress("the registry")
    repository = (
        f"{there.registry}.{belongings.domain(container['Image'])}/{there.names.repository}"
    )
    copied["Image"] = f"{repository}@{digest}"
    body["CustomerMetadataProperties"] |= {
        promotion.FROM: here.environment,
        promotion.VERSION: str(version.number),
        promotion.ARN: version.arn,
        promotion.ARTIFACT: artifact,
        promotion.DIGEST: digest,
    }
    # With the token, who has asked at the same time gets the same version.
    made = target.sagemaker.create_model_package(ClientToken=mark, **body)
    return int(made["ModelPackageArn"].rpartition("/")[2])


def registration(package: Mapping[str, Any], moved: Callable[[Any], Any], there: Place) -> Any:  # noqa: ANN401 - a request
    """How a version is registered where it is brought to.

    Args:
        package: The version as the registry has it here.
        moved: Makes a URI of where something will be of the one where it is.
        there: Where it is brought to.
    """
    body = {member: moved(package[member]) for member in COPIED if member in package}
    specification = body["InferenceSpecification"]
    specification["Containers"] = [
        {"Image": one["Image"], "ModelDataUrl": one["ModelDataUrl"]}
        for one in specification["Containers"]
    ]
    instances = overlays.use_case(there.environment).instances
    for member in specification:
        if member.endswith("InstanceTypes"):  # those of another environment may not do
            specification[member] = [instances.inference]
    properties = package.get("CustomerMetadataProperties", {})
    return body | {
        "ModelPackageGroupName": there.names.model_package_group,
        "ModelApprovalStatus": "PendingManualApproval",
        "CustomerMetadataProperties": {
            name: moved(value) for name, value in properties.items() if name not in DECIDED
        },
    }
