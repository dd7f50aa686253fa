"""What ministack's API Gateway lacks: validators of stacks, and callers that a policy lets in."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, NamedTuple

from local_aws.host.internals import module

INVOKE = "execute-api:Invoke"
Answer = tuple[int, dict[str, str], bytes]
Given = Mapping[str, Any]
Provisioned = tuple[str, dict[str, Any]]

_DENIED = "AccessDenied"
_FLAGS = ("ValidateRequestBody", "ValidateRequestParameters")


class Invocation(NamedTuple):
    """A request to an API, not to the service that makes APIs.

    Attributes:
        api: The API's id.
        stage: Its stage.
        path: What is asked for, below the stage.
    """

    api: str
    stage: str
    path: str


def apply() -> None:
    """Add what is missing."""
    _make_validators()
    _validate_what_has_a_model()
    _answer_who_is_denied()


def invocation(path: str, host: str) -> Invocation | None:
    """Return the invocation that a request is, if it is one.

    Args:
        path: The request's path.
        host: Its header Host.
    """
    found = module("app")._parse_execute_api_url(host, path)
    return Invocation(*found) if found else None


def asks_iam(asked: Invocation, method: str) -> bool:
    """Tell whether IAM decides on a request: other methods read no signature."""
    found = module("app")._execute_api_authorization_type(
        asked.api, asked.stage, method, asked.path
    )
    return bool(found == "AWS_IAM")


def denied(
    asked: Invocation, message: str, headers: Mapping[str, str], query: Mapping[str, list[str]]
) -> Answer:
    """Return what an API answers to a caller whom no policy lets in."""
    answer: Answer = module("services.apigateway_v1").authentication_error_response(
        asked.api, asked.stage, SimpleNamespace(code=_DENIED, message=message), headers, query
    )
    return answer


def _answer_who_is_denied() -> None:
    """Answer a caller whom no policy lets in by the gateway response for that.

    AWS: API Gateway Developer Guide, "Gateway response types for API Gateway", ACCESS_DENIED.
    """
    errors = module("services.apigateway_v1")._AUTHENTICATION_GATEWAY_ERRORS
    errors[_DENIED] = ("ACCESS_DENIED", "AccessDeniedException")


def _make_validators() -> None:
    """Let CloudFormation make request validators, and give them to the methods that name them.

    AWS: AWS::ApiGateway::RequestValidator and AWS::ApiGateway::Method, RequestValidatorId.
    """
    gateway = module("services.apigateway_v1")
    handlers = module("services.cloudformation.provisioners")._RESOURCE_HANDLERS
    name, methods = "AWS::ApiGateway::RequestValidator", "AWS::ApiGateway::Method"

    def put(validator: str, properties: Given) -> Provisioned:
        flags = {
            flag[0].lower() + flag[1:]: str(properties.get(flag, False)).lower() == "true"
            for flag in _FLAGS
        }
        made = {"id": validator, "name": properties.get("Name", ""), **flags}
        gateway._request_validators.setdefault(properties["RestApiId"], {})[validator] = made
        return validator, {"RequestValidatorId": validator}

    def create(_: str, properties: Given, __: str) -> Provisioned:
        return put(uuid.uuid4().hex[:6], properties)

    def update(physical_id: str, old: Given, new: Given, stack: str) -> Provisioned:
        if any(old.get(key) != new.get(key) for key in ("RestApiId", "Name")):
            return create("", new, stack)
        return put(physical_id, new)

    def delete(physical_id: str, properties: Given) -> None:
        gateway._request_validators.get(properties["RestApiId"], {}).pop(physical_id, None)

    handlers[name] = {**handlers[name], "create": create, "update": update, "delete": delete}
    original = handlers[methods]

    def validated(properties: Given, done: Provisioned) -> Provisioned:
        resource = gateway._resources[properties["RestApiId"]][properties["ResourceId"]]
        method = resource["resourceMethods"][properties["HttpMethod"]]
        method["requestValidatorId"] = properties.get("RequestValidatorId")
        return done

    def create_method(logical_id: str, properties: Given, stack: str) -> Provisioned:
        return validated(properties, original["create"](logical_id, properties, stack))

    def update_method(physical_id: str, old: Given, new: Given, stack: str) -> Provisioned:
        return validated(new, original["update"](physical_id, old, new, stack))

    handlers[methods] = {**original, "create": create_method, "update": update_method}


def _validate_what_has_a_model() -> None:
    """Validate the body of a content type that has a model, or else by the model for $default.

    AWS: API Gateway Developer Guide, "Request validation for REST APIs": "If no matching content
    type is found, request validation is not performed."
    """
    gateway = module("services.apigateway_v1")
    original = gateway._check_request_validation

    def check(method: Given, api: str, request: object, headers: Given, *more: object) -> object:
        models = method.get("requestModels") or {}
        sent = {name.lower(): value for name, value in headers.items()}
        kind = (sent.get("content-type") or "application/json").split(";", 1)[0].strip()
        model = models.get(kind) or models.get("$default")
        known = {kind: model} if model else {}
        return original({**method, "requestModels": known}, api, request, headers, *more)

    gateway._check_request_validation = check
