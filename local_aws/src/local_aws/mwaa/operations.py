"""The operations of Amazon MWAA's API."""

from __future__ import annotations

import base64
import binascii
import json
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import ClientError

from local_aws.mwaa import bucket, packages
from local_aws.mwaa.airflow_process import HOST, free_port
from local_aws.mwaa.environments import CONFIGURATION, KIND, Environments, new_secrets
from local_aws.mwaa.logs import MODULES, group
from local_aws.mwaa.protocol import RestApiError
from local_aws.sagemaker.core.protocol import ApiError
from local_aws.sagemaker.core.roles import Need
from local_aws.sagemaker.core.store import AlreadyExists

Operation = Callable[[Environments, dict[str, Any]], dict[str, Any]]

PRINCIPALS = ("airflow.amazonaws.com", "airflow-env.amazonaws.com")
"""Whom the trust policy of an execution role has to name ("Amazon MWAA execution role")."""

_ROLES = ("Admin", "Op", "Public", "User", "Viewer")
_MOST_TAGS = 50
_MOST_ANSWER = 6 * 1024**2  # MWAA User Guide, "Using the Apache Airflow REST API"
_PAGE = 25

# What an environment has that a request does not set.
_DEFAULTS: Mapping[str, Any] = {
    "AirflowVersion": packages.DEFAULT_VERSION,
    "EndpointManagement": "SERVICE",
    "EnvironmentClass": "mw1.small",
    "MaxWebservers": 2,
    "MaxWorkers": 10,
    "MinWebservers": 2,
    "MinWorkers": 1,
    "Schedulers": 2,
    "WebserverAccessMode": "PRIVATE_ONLY",
    "WeeklyMaintenanceWindowStart": "SUN:03:30",
}

OPERATIONS: dict[str, Operation] = {}
"""The functions that answer operations, by name."""

DIFFERENCES: dict[str, str] = {}
"""What is not as on AWS, by operation, as the README tells it."""


def _operation(name: str, *, differs: str = "") -> Callable[[Operation], Operation]:
    def register(function: Operation) -> Operation:
        OPERATIONS[name] = function
        if differs:
            DIFFERENCES[name] = differs
        return function

    return register


def needs(environments: Environments, operation: str, request: Mapping[str, Any]) -> list[Need]:
    """Return what an operation needs, iam:PassRole among it.

    Source: Service Authorization Reference, "Actions, resources, and condition keys for Amazon
    Managed Workflows for Apache Airflow".

    Args:
        environments: The environments, for their ARNs.
        operation: Its name.
        request: Its parsed request.
    """
    action = f"airflow:{operation}"
    name = request.get("Name", "")
    if operation in ("InvokeRestApi", "CreateWebLoginToken"):
        prefix = _arn(environments, "role", name)
        return [Need(action, tuple(f"{prefix}/{role}" for role in _ROLES))]
    if operation == "ListEnvironments":
        return [Need(action)]
    resource = request.get("ResourceArn") or _arn(environments, "environment", name)
    found = [Need(action, (resource,))]
    if role := request.get("ExecutionRoleArn"):
        found.append(Need("iam:PassRole", (role,), {"iam:PassedToService": PRINCIPALS[0]}))
    return found


@_operation(
    "CreateEnvironment",
    differs="networks, classes, numbers of workers and schedulers, and KMS keys are stored only: "
    "each environment is one of each of Airflow's processes, with LocalExecutor and SQLite; "
    "startup scripts are refused; requirements that do not install fail it",
)
def _create(environments: Environments, request: dict[str, Any]) -> dict[str, Any]:
    """Stores the environment as CREATING, and starts Airflow in the background."""
    name, service = request["Name"], environments.service
    body = {**_DEFAULTS, **request}
    _check(environments, body)
    now = time.time()
    body |= {
        "Arn": _arn(environments, "environment", name),
        "CeleryExecutorQueue": f"arn:aws:sqs:{service.settings.region}:"
        f"{service.settings.account}:airflow-celery-{uuid.uuid4()}",
        "CreatedAt": now,
        "DatabaseVpcEndpointService": _endpoint_service(environments),
        "LastUpdate": {"CreatedAt": now, "Status": "PENDING", "Source": "CreateEnvironment"},
        "LoggingConfiguration": _logging(environments, name, body),
        "Port": free_port(),
        "Revision": 1,
        "Secrets": new_secrets(),
        "ServiceRoleArn": f"arn:aws:iam::{service.settings.account}:role/aws-service-role/"
        "airflow.amazonaws.com/AWSServiceRoleForAmazonMWAA",
        "Status": "CREATING",
        "WebserverVpcEndpointService": _endpoint_service(environments),
    }
    (environments.folder / name).mkdir(parents=True, exist_ok=True)
    try:
        service.store.insert(KIND, name, body["Arn"], body)
    except AlreadyExists:
        raise _invalid(f"Environment with name {name} already exists") from None
    environments.wake(name)
    return {"Arn": body["Arn"]}


@_operation(
    "GetEnvironment",
    differs="`WebserverUrl` is `http://127.0.0.1:` and a port; whoever reaches it is an admin",
)
def _get(environments: Environments, request: dict[str, Any]) -> dict[str, Any]:
    """Returns what was given, and the environment's state."""
    body = _require(environments, request["Name"])
    shown = {"Status": environments.status(body), "WebserverUrl": f"http://{HOST}:{body['Port']}"}
    return {"Environment": {**body, **shown}}


@_operation("ListEnvironments")
def _list(environments: Environments, request: dict[str, Any]) -> dict[str, Any]:
    """Lists the names of the environments, in pages."""
    names = sorted(body["Name"] for body in environments.service.store.list(KIND))
    if token := request.get("NextToken"):
        try:
            after = base64.urlsafe_b64decode(token.encode()).decode()
        except (binascii.Error, ValueError):
            raise _invalid("NextToken is not one that this operation returned") from None
        names = [name for name in names if name > after]
    count = request.get("MaxResults", _PAGE)
    answer: dict[str, Any] = {"Environments": names[:count]}
    if len(names) > count:
        answer["NextToken"] = base64.urlsafe_b64encode(names[count - 1].encode()).decode()
    return answer


@_operation(
    "UpdateEnvironment",
    differs="Airflow is started anew, whatever changes, and running tasks with it; an older "
    "version than the present one is refused",
)
def _update(environments: Environments, request: dict[str, Any]) -> dict[str, Any]:
    """Changes the members that are given; what fails is rolled back."""
    name, service = request["Name"], environments.service
    with service.store.transaction():
        body = _require(environments, name)
        if body["Status"] not in ("AVAILABLE", "UPDATE_FAILED"):
            raise _invalid(f"Environment {name} is {body['Status']}, not AVAILABLE")
        changes = {key: value for key, value in request.items() if key in CONFIGURATION}
        if "NetworkConfiguration" in changes:
            changes["NetworkConfiguration"] = {
                **body["NetworkConfiguration"],
                **changes["NetworkConfiguration"],
            }
        wanted = {**body, **changes}
        _check(environments, wanted)
        if _version(wanted) < _version(body):
            raise _invalid(
                f"AirflowVersion: {name} has {body['AirflowVersion']}; it cannot go back to "
                f"{wanted['AirflowVersion']}"
            )
        if "LoggingConfiguration" in changes:
            changes["LoggingConfiguration"] = _logging(environments, name, wanted)
        last = {"CreatedAt": time.time(), "Status": "PENDING", "Source": "UpdateEnvironment"}
        if "WorkerReplacementStrategy" in request:
            last["WorkerReplacementStrategy"] = request["WorkerReplacementStrategy"]
        service.store.update(
            KIND,
            name,
            **changes,
            Former={key: body[key] for key in (*CONFIGURATION, "Revision") if key in body},
            LastUpdate=last,
            Revision=body["Revision"] + 1,
            Status="UPDATING",
        )
    environments.wake(name)
    return {"Arn": body["Arn"]}


@_operation("DeleteEnvironment")
def _delete(environments: Environments, request: dict[str, Any]) -> dict[str, Any]:
    """Ends Airflow in the background, and forgets the environment; its logs stay."""
    _require(environments, request["Name"])
    environments.service.store.update(KIND, request["Name"], Status="DELETING")
    environments.wake(request["Name"])
    return {}


@_operation("InvokeRestApi")
def _invoke(environments: Environments, request: dict[str, Any]) -> dict[str, Any]:
    """Calls Airflow's own REST API, and answers what that answers."""
    body = _require_started(environments, request["Name"])
    status, document = environments.call(
        body["Name"],
        request["Method"],
        request["Path"],
        request.get("QueryParameters"),
        request.get("Body"),
    )
    if status >= 400:
        raise RestApiError(status, document)
    if len(json.dumps(document)) > _MOST_ANSWER:
        raise RestApiError(500, {"detail": "The answer has more than 6 MB; ask for less"})
    return {"RestApiStatusCode": status, "RestApiResponse": document}


@_operation(
    "CreateWebLoginToken",
    differs="`WebServerHostname` has a port; the page asks for no token, and `/aws_mwaa/login` is "
    "not there: the token is one of Airflow's own API",
)
def _web_token(environments: Environments, request: dict[str, Any]) -> dict[str, Any]:
    """Returns a token for the page of Airflow, and where that is."""
    body = _require_started(environments, request["Name"])
    return {
        "AirflowIdentity": "Anonymous",
        "WebServerHostname": f"{HOST}:{body['Port']}",
        "WebToken": environments.token(body["Name"]),
    }


@_operation(
    "CreateCliToken",
    differs="`WebServerHostname` has a port; `/aws_mwaa/cli` is not there: the token is one of "
    "Airflow's own API",
)
def _cli_token(environments: Environments, request: dict[str, Any]) -> dict[str, Any]:
    """Returns a token for Airflow's command line, and where that is."""
    body = _require_started(environments, request["Name"])
    return {
        "CliToken": environments.token(body["Name"]),
        "WebServerHostname": f"{HOST}:{body['Port']}",
    }


@_operation("ListTagsForResource")
def _list_tags(environments: Environments, request: dict[str, Any]) -> dict[str, Any]:
    """Lists the tags of an environment."""
    return {"Tags": _require(environments, request["ResourceArn"]).get("Tags", {})}


@_operation("TagResource")
def _tag(environments: Environments, request: dict[str, Any]) -> dict[str, Any]:
    """Adds or replaces tags of an environment, 50 at most."""
    with environments.service.store.transaction():
        body = _require(environments, request["ResourceArn"])
        tags = {**body.get("Tags", {}), **request["Tags"]}
        if len(tags) > _MOST_TAGS:
            raise _invalid(f"{body['Arn']} would have more than {_MOST_TAGS} tags")
        environments.service.store.update(KIND, body["Name"], Tags=tags)
    return {}


@_operation("UntagResource")
def _untag(environments: Environments, request: dict[str, Any]) -> dict[str, Any]:
    """Removes tags of an environment by their keys."""
    with environments.service.store.transaction():
        body = _require(environments, request["ResourceArn"])
        tags = {k: v for k, v in body.get("Tags", {}).items() if k not in request["tagKeys"]}
        environments.service.store.update(KIND, body["Name"], Tags=tags or None)
    return {}


def _check(environments: Environments, body: Mapping[str, Any]) -> None:
    """Refuse a configuration that could not run.

    Raises:
        ApiError: Names the member (ValidationException).
    """
    if body["AirflowVersion"] not in packages.VERSIONS:
        raise _invalid(
            f"AirflowVersion: {body['AirflowVersion']} is not there in this local AWS; it has "
            + ", ".join(packages.VERSIONS)
        )
    if body.get("StartupScriptS3Path"):
        raise _invalid("StartupScriptS3Path: this local AWS runs no startup scripts; leave it out")
    for principal in PRINCIPALS:
        environments.service.roles.check_trust(body["ExecutionRoleArn"], principal)
    name = bucket.name_of(body)
    s3 = environments.service.client("s3")
    try:
        versioning = s3.get_bucket_versioning(Bucket=name).get("Status")
    except ClientError as error:
        raise _invalid(f"SourceBucketArn: the bucket {name}: {error}") from error
    if versioning != "Enabled":
        raise _invalid(f"SourceBucketArn: the bucket {name} has no versioning; MWAA needs it")


def _logging(environments: Environments, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the whole LoggingConfiguration: by default, tasks' logs are kept."""
    settings = environments.service.settings
    given = body.get("LoggingConfiguration", {})
    prefix = f"arn:aws:logs:{settings.region}:{settings.account}:log-group"
    return {
        module: {
            "Enabled": module == "TaskLogs",
            "LogLevel": "INFO",
            **given.get(module, {}),
            "CloudWatchLogGroupArn": f"{prefix}:{group(name, module)}",
        }
        for module in MODULES
    }


def _require(environments: Environments, name_or_arn: str) -> dict[str, Any]:
    body = environments.service.store.get(KIND, name_or_arn)
    if body is None:
        raise ApiError(
            "ResourceNotFoundException", f"No environment found with name {name_or_arn}", 404
        )
    return body


def _require_started(environments: Environments, name: str) -> dict[str, Any]:
    body = _require(environments, name)
    if body["Status"] not in ("AVAILABLE", "UPDATING", "UPDATE_FAILED"):
        raise ApiError("ResourceNotFoundException", f"Environment {name} is {body['Status']}", 404)
    return body


def _arn(environments: Environments, kind: str, name: str) -> str:
    settings = environments.service.settings
    return f"arn:aws:airflow:{settings.region}:{settings.account}:{kind}/{name}"


def _endpoint_service(environments: Environments) -> str:
    """Return a name as that of an endpoint service; there is none here."""
    region = environments.service.settings.region
    return f"com.amazonaws.vpce.{region}.vpce-svc-{uuid.uuid4().hex[:17]}"


def _version(body: Mapping[str, Any]) -> list[int]:
    return [int(part) for part in body["AirflowVersion"].split(".")]


def _invalid(message: str) -> ApiError:
    return ApiError("ValidationException", message)
