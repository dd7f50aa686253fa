"""What all kinds of resources have in common: creating, finding, listing, tags."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from local_aws.sagemaker.core.kinds import KINDS, Kind, register
from local_aws.sagemaker.core.operations import operation
from local_aws.sagemaker.core.protocol import ApiError, output_shape
from local_aws.sagemaker.core.store import AlreadyExists

if TYPE_CHECKING:
    from local_aws.sagemaker.core.service import Service

_MAX_TAGS = 50
_DEFAULT_PAGE = 10
# Filters for what never is here: warm pools, training plans, other accounts' shared groups.
_MATCH_NOTHING = {"WarmPoolStatusEquals", "TrainingPlanArnEquals"}


def full_arn(service: Service, kind: str, name_or_arn: str) -> str:
    """Return the ARN of what a request names by name or by ARN."""
    return name_or_arn if name_or_arn.startswith("arn:") else service.arn(kind, name_or_arn)


def require(service: Service, kind: str, name_or_arn: str) -> dict[str, Any]:
    """Return a resource's body.

    Raises:
        ApiError: It does not exist; code and text are those of its kind.
    """
    body = service.store.get(kind, name_or_arn)
    if body is None:
        code, text = KINDS[kind].not_found
        arn = full_arn(service, kind, name_or_arn)
        raise ApiError(code, text.format(kind=kind, arn=arn, name=name_or_arn))
    return body


def create(
    service: Service,
    kind: str,
    request: Mapping[str, Any],
    name: str | None = None,
    **fields: object,
) -> dict[str, Any]:
    """Store a new resource with its tags and queue its event.

    Args:
        service: The service.
        kind: Kind of the resource.
        request: The Create request; all of its members become the body, but for its tags.
        name: The resource's name, where the request does not hold it under its kind's member.
        **fields: Further members of the body, such as the first status.

    Returns:
        The stored body, with the ARN.

    Raises:
        ApiError: The name is taken; code and text are those of the kind.
    """
    table = KINDS[kind]
    name = name or str(request[table.name_member])
    arn = service.arn(kind, name)
    body = {**request, table.arn_member: arn, **fields}
    tags = body.pop("Tags", [])
    with service.store.transaction():
        try:
            service.store.insert(kind, name, arn, body)
        except AlreadyExists:
            code, text = table.exists
            raise ApiError(code, text.format(kind=kind, arn=arn, name=name)) from None
        if tags:
            _write_tags(service, arn, {tag["Key"]: tag["Value"] for tag in tags})
        stored = require(service, kind, arn)
        service.publish(kind, stored)
    return stored


def delete(service: Service, kind: str, name_or_arn: str) -> None:
    """Remove a resource and its tags.

    Raises:
        ApiError: It does not exist.
    """
    with service.store.transaction():
        arn = require(service, kind, name_or_arn)[KINDS[kind].arn_member]
        service.store.delete(kind, arn)
        service.store.delete("Tags", arn)


# Lists


def list_resources(
    service: Service,
    kind: str,
    request: Mapping[str, Any],
    keep: Callable[[dict[str, Any]], bool] = lambda _: True,
    **equals: str | int | None,
) -> dict[str, Any]:
    """Answer a List operation of a kind: filter, sort, page.

    Args:
        service: The service.
        kind: Kind of the resources.
        request: The List request with any of NameContains, StatusEquals, CreationTimeAfter,
            CreationTimeBefore, CreatedAfter, CreatedBefore, LastModifiedTimeAfter,
            LastModifiedTimeBefore, SortBy, SortOrder, MaxResults, NextToken.
        keep: What a body must satisfy beside that.
        **equals: Members that must have these values.

    Returns:
        The response; its list member is the one that AWS's model declares.
    """
    table = KINDS[kind]
    bodies = [
        body
        for body in service.store.list(kind, **equals)
        if _matches(kind, body, request) and keep(body)
    ]
    order = request.get("SortOrder")
    return page(
        f"List{kind}s",
        bodies,
        request,
        key=_sort_key(kind, request.get("SortBy", table.sort_by)),
        descending=order == "Descending" if order else not table.ascending,
    )


def page(
    operation_name: str,
    bodies: list[dict[str, Any]],
    request: Mapping[str, Any],
    key: Callable[[dict[str, Any]], tuple[Any, str]],
    descending: bool,
) -> dict[str, Any]:
    """Sort and cut one page of a list.

    The token names the last item's place in the order rather than a count, so that what is created
    or deleted between two pages makes no item appear twice or not at all.

    Args:
        operation_name: The List operation, for its response's list member.
        bodies: What is to be listed, in any order.
        request: The request, for its MaxResults and NextToken.
        key: Place of a body in the order; must differ for any two.
        descending: Whether the greatest comes first.

    Raises:
        ApiError: NextToken is not one that this operation gave.
    """
    ordered = sorted(bodies, key=key, reverse=descending)
    if "NextToken" in request:
        last = _read_token(request["NextToken"])
        try:
            ordered = [b for b in ordered if (key(b) < last if descending else key(b) > last)]
        except TypeError:
            raise _bad_token() from None
    count = request.get("MaxResults", _DEFAULT_PAGE)
    members = output_shape(operation_name).members
    result: dict[str, Any] = {
        next(name for name, shape in members.items() if shape.type_name == "list"): ordered[:count]
    }
    if len(ordered) > count:
        token = json.dumps(key(ordered[count - 1])).encode()
        result["NextToken"] = base64.urlsafe_b64encode(token).decode()
    return result


def _matches(kind: str, body: Mapping[str, Any], request: Mapping[str, Any]) -> bool:
    status = body.get(KINDS[kind].status_member or "")
    created, modified = body["CreationTime"], body["LastModifiedTime"]
    after = request.get("CreationTimeAfter", request.get("CreatedAfter"))
    before = request.get("CreationTimeBefore", request.get("CreatedBefore"))
    return (
        not _MATCH_NOTHING & request.keys()
        and request.get("CrossAccountFilterOption") != "CrossAccount"
        and request.get("NameContains", "") in body.get(KINDS[kind].name_member, "")
        and request.get("StatusEquals", status) == status
        and (after is None or created > after)
        and (before is None or created < before)
        and modified > request.get("LastModifiedTimeAfter", float("-inf"))
        and modified < request.get("LastModifiedTimeBefore", float("inf"))
    )


def _sort_key(kind: str, sort_by: str) -> Callable[[dict[str, Any]], tuple[Any, str]]:
    table = KINDS[kind]
    members = {
        "Name": table.name_member,
        "Status": table.status_member or "",
        "PipelineExecutionArn": "PipelineExecutionArn",
    }
    member = members.get(sort_by, "CreationTime")
    return lambda body: (body.get(member), body[table.arn_member])


def _read_token(token: str) -> tuple[Any, str]:
    try:
        value, arn = json.loads(base64.urlsafe_b64decode(token.encode()))
    except (ValueError, TypeError, binascii.Error, RecursionError):
        raise _bad_token() from None
    if not isinstance(value, str | int | float) or not isinstance(arn, str):
        raise _bad_token()
    return value, arn


def _bad_token() -> ApiError:
    return ApiError(
        "ValidationException", "NextToken is not one that this operation returned; leave it out"
    )


# Tags


def tags_of(service: Service, arn: str) -> dict[str, str]:
    """Return the tags of a resource."""
    body = service.store.get("Tags", arn)
    tags: dict[str, str] = body["Tags"] if body else {}
    return tags


def _write_tags(service: Service, arn: str, tags: dict[str, str]) -> None:
    if len(tags) > _MAX_TAGS:
        raise ApiError("ResourceLimitExceeded", f"{arn} would have more than {_MAX_TAGS} tags")
    if service.store.get("Tags", arn) is None:
        service.store.insert("Tags", arn, arn, {"Tags": tags})
    else:
        service.store.update("Tags", arn, Tags=tags)


def _require_arn(service: Service, arn: str) -> None:
    if not any(service.store.get(kind, arn) for kind in KINDS if arn.startswith("arn:")):
        raise ApiError("ValidationException", f"Could not find the resource {arn}")


def _tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())]


@operation("AddTags")
def _add_tags(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """Adds or replaces tags of a resource, 50 at most."""
    arn = request["ResourceArn"]
    with service.store.transaction():
        _require_arn(service, arn)
        tags = tags_of(service, arn) | {tag["Key"]: tag["Value"] for tag in request["Tags"]}
        _write_tags(service, arn, tags)
    return {"Tags": _tag_list(tags)}


@operation("ListTags")
def _list_tags(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """Lists the tags of a resource, in pages."""
    _require_arn(service, request["ResourceArn"])
    tags = _tag_list(tags_of(service, request["ResourceArn"]))
    request.setdefault("MaxResults", _MAX_TAGS)
    return page("ListTags", tags, request, lambda tag: (tag["Key"], tag["Key"]), descending=False)


@operation("DeleteTags")
def _delete_tags(service: Service, request: dict[str, Any]) -> None:
    """Removes tags of a resource by their keys."""
    arn = request["ResourceArn"]
    with service.store.transaction():
        _require_arn(service, arn)
        tags = tags_of(service, arn)
        kept = {key: value for key, value in tags.items() if key not in request["TagKeys"]}
        _write_tags(service, arn, kept)


# Kinds of resources


def declare(kind: Kind, *verbs: str) -> None:
    """Enter a kind of resource in the tables, with those of its operations that are plain.

    Args:
        kind: The kind.
        *verbs: Which: `Create` (checked by the model alone), `Describe`, `List`, `Delete`.

    Raises:
        ValueError: The kind or an operation is registered twice.
    """
    register(kind)
    for verb in verbs:
        _PLAIN[verb](kind)


def _plain_create(kind: Kind) -> None:
    @operation(f"Create{kind.name}")
    def create_(service: Service, request: dict[str, Any]) -> dict[str, Any]:
        """Stores it with its tags."""
        return create(service, kind.name, request)


def _plain_describe(kind: Kind) -> None:
    @operation(f"Describe{kind.name}")
    def describe(service: Service, request: dict[str, Any]) -> dict[str, Any]:
        """Returns what was given, and its state."""
        return require(service, kind.name, request[kind.name_member])


def _plain_list(kind: Kind) -> None:
    @operation(f"List{kind.name}s")
    def list_(service: Service, request: dict[str, Any]) -> dict[str, Any]:
        """Filters, sorts and pages."""
        return list_resources(service, kind.name, request)


def _plain_delete(kind: Kind) -> None:
    @operation(f"Delete{kind.name}")
    def delete_(service: Service, request: dict[str, Any]) -> None:
        """Forgets it, and its tags."""
        delete(service, kind.name, request[kind.name_member])


_PLAIN = {
    "Create": _plain_create,
    "Describe": _plain_describe,
    "List": _plain_list,
    "Delete": _plain_delete,
}
