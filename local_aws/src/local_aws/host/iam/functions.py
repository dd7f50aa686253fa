"""Lambda functions with the credentials of their roles."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from local_aws.host.iam.roles import IamRoles
from local_aws.host.iam.targets import of_target
from local_aws.host.internals import module
from local_aws.sagemaker.core.protocol import ApiError
from local_aws.sagemaker.core.roles import Session

_PRINCIPAL = "lambda.amazonaws.com"
_log = logging.getLogger(__name__)


def apply(roles: IamRoles) -> None:
    """Let functions call with their roles, which they have from Lambda as environment variables.

    AWS: AWS Lambda Developer Guide, "Defining Lambda function permissions with an execution role"
    and "Adding a dead-letter queue".

    Args:
        roles: The account's roles.
    """
    functions = module("services.lambda_svc")

    def credentials(config: Mapping[str, Any]) -> dict[str, str]:
        roles.check_trust(config.get("Role", ""), _PRINCIPAL)
        return roles.credentials(_session(config))

    module("core.lambda_runtime").execution_credentials = credentials
    functions.execution_credentials = credentials
    original = functions._route_async_failure

    def route(target: str, name: str, event: dict[str, Any], result: dict[str, Any]) -> None:
        _, config, _ = functions._get_func_record_for_ref(name)
        try:
            roles.authorize(_session(config or {}), of_target(target))
        except ApiError as error:
            _log.warning("the event of %s is lost: %s", name, error)
            return
        original(target, name, event, result)

    functions._route_async_failure = route


def _session(config: Mapping[str, Any]) -> Session:
    return Session(config.get("Role", ""), config.get("FunctionName", "lambda"))
