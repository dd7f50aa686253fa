"""The model registry: model package groups, their versions, and approval.

Packages are `Completed` at once: AWS's validation jobs are for its Marketplace.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from local_aws.sagemaker.core import events, resources
from local_aws.sagemaker.core.kinds import Kind
from local_aws.sagemaker.core.operations import operation
from local_aws.sagemaker.core.protocol import ApiError

if TYPE_CHECKING:
    from local_aws.sagemaker.core.service import Service

_GROUP = "ModelPackageGroup"
_PACKAGE = "ModelPackage"
_MAX_METADATA = 50
_UPDATED = "UpdatedModelPackageFields"

# What an update replaces as a whole.
_REPLACED = (
    "ModelApprovalStatus",
    "ApprovalDescription",
    "InferenceSpecification",
    "SourceUri",
    "ModelCard",
    "ModelLifeCycle",
    "ModelPackageRegistrationType",
)
# What UpdatedModelPackageFields of an event calls the members of an update.
_TOLD_AS = {
    "ModelApprovalStatus": "ModelApprovalStatus",
    "ApprovalDescription": "ApprovalDescription",
    "InferenceSpecification": "InferenceSpecification",
    "SourceUri": "sourceUri",
    "ModelLifeCycle": "ModelLifeCycle",
    "CustomerMetadataProperties": "CustomerMetadataProperties",
    "CustomerMetadataPropertiesToRemove": "CustomerMetadataProperties",
    # These the guide does not list.
    "ModelCard": "ModelCard",
    "ModelPackageRegistrationType": "ModelPackageRegistrationType",
    "AdditionalInferenceSpecificationsToAdd": "AdditionalInferenceSpecifications",
}

resources.declare(
    Kind(
        _GROUP,
        "model-package-group",
        "ModelPackageGroupStatus",
        ascending=True,
        exists=("ValidationException", "Model Package Group already exists: {arn}"),
    ),
    "Describe",
    "List",
)
# A version is told by its group and number; the name that Describe adds is not there.
_described = events.described(
    "SageMaker Model Package State Change", events.iso, tags=False, omit={"ModelPackageName"}
)


def _change(
    kind: Kind, body: Mapping[str, Any], previous_status: str | None, tags: Mapping[str, str]
) -> events.Event:
    """Return the event of a package, which says of an update what it gave.

    The developer guide has UpdatedModelPackageFields in its example, with the values of `_TOLD_AS`
    and no more ("SageMaker model package state change"). That a version which is approved sends
    events for changes of its metadata too is in AWS's own handlers of such events. Not documented:
    what fields a creation has (here it has none), what the members that the guide does not list are
    called (here, as in the request), and whether a member that is given with the value that it has
    is among them (here it is: who approves a version again means it).
    """
    event = _described(kind, body, previous_status, tags)
    if _UPDATED in body:
        event.detail[_UPDATED] = body[_UPDATED]
    return event


resources.declare(
    Kind(_PACKAGE, "model-package", "ModelPackageStatus", ascending=True, event=_change)
)


@operation("CreateModelPackageGroup")
def _create_group(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """Makes a group, whose versions are numbered from 1."""
    return resources.create(service, _GROUP, request, ModelPackageGroupStatus="Completed")


@operation("DeleteModelPackageGroup")
def _delete_group(service: Service, request: dict[str, Any]) -> None:
    """Deletes a group that has no versions."""
    with service.store.transaction():
        group = resources.require(service, _GROUP, request["ModelPackageGroupName"])
        if service.store.list(_PACKAGE, ModelPackageGroupName=group["ModelPackageGroupName"]):
            raise ApiError(
                "ConflictException",
                f"Model Package Group {group['ModelPackageGroupArn']} still has model packages; "
                "delete them first",
            )
        resources.delete(service, _GROUP, group["ModelPackageGroupArn"])


@operation(
    "CreateModelPackage",
    differs="it is `Completed` at once, for nothing is scanned or validated",
)
def _create_package(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """Registers a new version of a group, or a package without versions."""
    if ("ModelPackageGroupName" in request) == ("ModelPackageName" in request):
        raise ApiError(
            "ValidationException",
            "Give one of ModelPackageGroupName (a new version of the group) and ModelPackageName "
            "(a package without versions)",
        )
    _check_metadata(request.get("CustomerMetadataProperties", {}))
    fields: dict[str, Any] = {
        "ModelPackageStatus": "Completed",
        "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []},
        "CertifyForMarketplace": request.get("CertifyForMarketplace", False),
    }
    if "ModelPackageName" in request:
        return resources.create(service, _PACKAGE, request, **fields)
    with service.store.transaction():
        group = resources.require(service, _GROUP, request["ModelPackageGroupName"])
        # Kept with the group, so that a deleted version's number is not given again.
        version = group.get("_LastVersion", 0) + 1
        service.store.update(_GROUP, group["ModelPackageGroupArn"], _LastVersion=version)
        group_name = group["ModelPackageGroupName"]
        fields |= {
            "ModelPackageName": f"{group_name}/{version}",
            "ModelPackageGroupName": group_name,
            "ModelPackageVersion": version,
            "ModelApprovalStatus": request.get("ModelApprovalStatus", "PendingManualApproval"),
        }
        return resources.create(
            service, _PACKAGE, request, name=f"{group_name}/{version}", **fields
        )


@operation("DescribeModelPackage")
def _describe_package(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """Shows a package, by its ARN."""
    return resources.require(service, _PACKAGE, request["ModelPackageName"])


@operation("BatchDescribeModelPackage")
def _batch_describe(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """Shows several packages, by their ARNs."""
    found, errors = {}, {}
    for arn in request["ModelPackageArnList"]:
        body = service.store.get(_PACKAGE, arn)
        if body:
            found[arn] = body
        else:
            errors[arn] = {
                "ErrorCode": "ValidationException",
                "ErrorResponse": f"{_PACKAGE} {arn} does not exist.",
            }
    return {"ModelPackageSummaries": found, "BatchDescribeModelPackageErrorMap": errors}


@operation("UpdateModelPackage")
def _update_package(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """Approves or rejects a version, and changes what is told of a package."""
    with service.store.transaction():
        body = resources.require(service, _PACKAGE, request["ModelPackageArn"])
        fields = {member: request[member] for member in _REPLACED if member in request}
        if "ModelApprovalStatus" in request and "ModelPackageVersion" not in body:
            raise ApiError(
                "ValidationException",
                "ModelApprovalStatus is for versions of a model package group only",
            )
        added = request.get("CustomerMetadataProperties", {})
        metadata = body.get("CustomerMetadataProperties", {}) | added
        for key in request.get("CustomerMetadataPropertiesToRemove", []):
            metadata.pop(key, None)
        _check_metadata(metadata)
        specifications = [
            *body.get("AdditionalInferenceSpecifications", []),
            *request.get("AdditionalInferenceSpecificationsToAdd", []),
        ]
        updated = service.store.update(
            _PACKAGE,
            body["ModelPackageArn"],
            **fields,
            CustomerMetadataProperties=metadata or None,
            AdditionalInferenceSpecifications=specifications or None,
        )
        told = dict.fromkeys(_TOLD_AS[member] for member in request if member in _TOLD_AS)
        service.publish(_PACKAGE, {**updated, _UPDATED: list(told)})
    return updated


@operation("DeleteModelPackage")
def _delete_package(service: Service, request: dict[str, Any]) -> None:
    """Deletes a package; its number is not given again."""
    resources.delete(service, _PACKAGE, request["ModelPackageName"])


@operation("ListModelPackages")
def _list_packages(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """Lists packages by group, approval, name and time; oldest first, as AWS does."""
    equals: dict[str, Any] = {}
    if "ModelApprovalStatus" in request:
        equals["ModelApprovalStatus"] = request["ModelApprovalStatus"]
    if "ModelPackageGroupName" in request:
        group = resources.require(service, _GROUP, request["ModelPackageGroupName"])
        equals["ModelPackageGroupName"] = group["ModelPackageGroupName"]
        wanted = "Both"
    else:
        wanted = request.get("ModelPackageType", "Unversioned")
    return resources.list_resources(
        service,
        _PACKAGE,
        request,
        keep=lambda body: wanted in ("Both", _package_type(body)),
        **equals,
    )


def _package_type(body: dict[str, Any]) -> str:
    return "Versioned" if "ModelPackageVersion" in body else "Unversioned"


def _check_metadata(metadata: dict[str, str]) -> None:
    if len(metadata) > _MAX_METADATA:
        raise ApiError(
            "ValidationException",
            f"CustomerMetadataProperties: at most {_MAX_METADATA} entries, not {len(metadata)}",
        )
