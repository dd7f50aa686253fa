"""ministack in this process: its application, and what connects it with our SageMaker service.

ministack reads its settings from the environment when it is imported, so it is imported in
functions, after `Ministack` has set them.
"""

from __future__ import annotations

import contextvars
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from local_aws.host import api_gateway, ecr, lambda_functions, layers, objects
from local_aws.host.athena import queries
from local_aws.host.cloudformation import interrupted, resource_types
from local_aws.host.cloudwatch import evaluation
from local_aws.host.eventbridge import deliveries
from local_aws.host.iam import functions, policies
from local_aws.host.iam.gate import Gate
from local_aws.host.iam.roles import IamRoles
from local_aws.host.internals import check, module
from local_aws.host.s3 import LargeObjects
from local_aws.host.saver import Saver
from local_aws.host.stepfunctions import executions, history, states, tasks
from local_aws.host.stepfunctions.logs import StateLogs
from local_aws.host.stores import MinistackStores
from local_aws.sagemaker.core.events import copies
from local_aws.sagemaker.core.service import Service
from local_aws.settings import Settings

# By detail type; all others are SageMaker's.
_SOURCES = {evaluation.DETAIL_TYPE: "aws.cloudwatch", executions.DETAIL_TYPE: "aws.states"}


def _environment(settings: Settings) -> dict[str, str]:
    """Return the environment that ministack and the Lambda functions it runs read."""
    folder = settings.data_dir.resolve()
    return {
        "ATHENA_ENGINE": "duckdb",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": settings.region,
        "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",  # see `Settings.client_environment`
        "AWS_REGION": settings.region,
        "AWS_ENDPOINT_URL": settings.endpoint_url,
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(settings.port),
        "IOT_MTLS_ENABLED": "0",  # it would listen on all interfaces
        "MINISTACK_ACCOUNT_ID": settings.account,
        "MINISTACK_HOST": "127.0.0.1",
        "MINISTACK_REGION": settings.region,
        "PERSIST_STATE": "1",
        "S3_DATA_DIR": str(folder / "s3"),
        "S3_PERSIST": "0",  # `objects` begins it
        "SFTP_ENABLED": "0",
        "STATE_DIR": str(folder / "state"),
        "TMPDIR": str(folder / "tmp"),
    }


@contextmanager
def _hidden(name: str) -> Iterator[None]:
    """Hide a module that ministack would import just to see whether it is there.

    DuckDB takes a third of a second to import, and most who start a local AWS query nothing.
    """
    before = sys.modules.pop(name, None)
    sys.modules[name] = None  # type: ignore[assignment] # so that an import fails
    try:
        yield
    finally:
        del sys.modules[name]
        if before is not None:
            sys.modules[name] = before


class Ministack:
    """ministack's services in this process.

    Attributes:
        application: Its ASGI application.
        saver: Keeps its state on disk.
        roles: The roles of its IAM.
    """

    def __init__(self, settings: Settings) -> None:
        """Set ministack's environment and import it.

        Args:
            settings: What the local AWS is started with.

        Raises:
            IncompatibleMinistackError: It lacks something that is used here.
        """
        (settings.data_dir / "tmp").mkdir(parents=True, exist_ok=True)
        os.environ.update(_environment(settings))
        with _hidden("duckdb"):
            check()
        logging.getLogger("persistence").setLevel(logging.WARNING)
        self._settings = settings
        large = LargeObjects(settings.data_dir.resolve() / "tmp" / "s3")
        large.apply()
        self.roles = IamRoles(settings)
        objects.apply(os.environ["S3_DATA_DIR"])
        layers.apply()
        self.application = Gate(large.application(module("app").app), settings, self.roles)
        self.saver = Saver(MinistackStores(settings.data_dir.resolve() / "state"))

    def put_event(
        self,
        detail_type: str,
        detail: dict[str, Any],
        resources: list[str],
    ) -> None:
        """Put an event of an AWS service on the default bus, which callers from outside may not."""
        entry = {
            "Source": _SOURCES.get(detail_type, "aws.sagemaker"),
            "DetailType": detail_type,
            "Detail": json.dumps(detail),
            "Resources": resources,
        }

        def put() -> None:
            module("services.eventbridge")._put_events({"Entries": [entry]}, allow_aws_source=True)

        with self.saver.request():
            for _ in range(copies(self._settings.duplicate_events)):
                contextvars.copy_context().run(self._as_the_account, put)
        self.saver.save()

    def changes_stacks(self) -> bool:
        """Tell whether CloudFormation is at work on any stack."""
        stacks = module("services.cloudformation")._stacks._data
        found = [stack.get("StackStatus", "") for stack in list(stacks.values())]
        return any(
            state.endswith("_IN_PROGRESS") and state != "REVIEW_IN_PROGRESS" for state in found
        )

    def connect(self, service: Service) -> None:
        """Let CloudFormation, EventBridge and Scheduler reach SageMaker; add what is missing."""
        lambda_functions.apply()
        functions.apply(self.roles)
        policies.apply()
        ecr.apply(service.images, self._settings.endpoint_url)
        api_gateway.apply()
        deliveries.apply(service, self.saver.changed)
        resource_types.apply(service)
        evaluation.apply(service.send)
        self._state_logs = StateLogs(service)
        history.apply(self.saver.changed, self._state_logs)
        executions.apply(service.send)
        states.apply()
        tasks.apply(service)
        queries.apply()

    def resume(self) -> None:
        """Take up what a former process has left."""
        with self.saver.request():
            for take_up in (
                interrupted.fail_left_over,
                executions.tell_of_left_over,
            ):
                contextvars.copy_context().run(self._as_the_account, take_up)
        self.saver.save()

    def close(self) -> None:
        """End what runs in ministack's services; requests are still answered then."""
        reason = "The local AWS was stopped while the execution ran."
        contextvars.copy_context().run(self._as_the_account, executions.end_all, reason)
        self._state_logs.close()

    def _as_the_account(self, function: Callable[..., None], *args: object) -> None:
        """Call a function for our account; ministack keeps a request's in context variables."""
        responses = module("core.responses")
        responses.set_request_account_id(self._settings.account)
        responses.set_request_region(self._settings.region)
        function(*args)
