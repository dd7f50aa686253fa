"""The SageMaker service: dispatch, state changes and their events, threads, start and stop."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

import boto3
from botocore.config import Config

from local_aws.images import containers
from local_aws.sagemaker.core import events, permissions, resources
from local_aws.sagemaker.core.kinds import KINDS
from local_aws.sagemaker.core.loops import attempt
from local_aws.sagemaker.core.operations import OPERATIONS
from local_aws.sagemaker.core.protocol import ApiError, operation_model, parse, serialize
from local_aws.sagemaker.core.roles import PRINCIPAL, Roles, Session
from local_aws.sagemaker.core.store import Store

if TYPE_CHECKING:
    from local_aws.images.images import Images
    from local_aws.settings import Settings

Hook = Callable[["Service"], None]
Emit = Callable[[str, dict[str, Any], list[str]], None]

# Clients may be used by several threads at once, but not made.
_CLIENTS_LOCK = threading.Lock()

# Seconds until events that were not taken are sent again: twice as long each time.
_FIRST_WAIT, _LONGEST_WAIT = 0.1, 60.0

_log = logging.getLogger(__name__)


@cache
def _session() -> Any:  # noqa: ANN401 - typed by service names, which are not known here
    """Return the one session of this process: it keeps the service models that it has read."""
    return boto3.session.Session()


class Acting(NamedTuple):
    """The service with a role: what it calls, it calls with that.

    Attributes:
        service: The service.
        role: ARN of the role.
    """

    service: Service
    role: str

    def client(self, name: str) -> Any:  # noqa: ANN401 - made at run time
        """Return the boto3 client of a service, by boto3's name."""
        return self.service.client(name, self.role)


class Run(Protocol):
    """A job that runs, as those see it who wait for it or end it.

    Attributes:
        name: The job's name.
        addresses: The loopback addresses of its hosts.
        done: Set when its end is stored.
    """

    name: str
    addresses: list[str]
    done: threading.Event

    def stop(self) -> None:
        """Ask the job to stop, in the background."""

    def abort(self, reason: str) -> None:
        """End the job as failed, in the background."""


class Service:
    """What the rooms of Amazon SageMaker share; `assembly.SageMaker` is the service with them all.

    Attributes:
        at_start: What takes up what a former process left, in this order.
        at_end: What ends threads and child processes at a clean stop, in this order.
        settings: What the local AWS was started with.
        store: All resources.
        images: What stands for each container image.
        roles: Who acts, and what is allowed.
        runs: The jobs that run now, by ARN.
    """

    at_start: ClassVar[tuple[Hook, ...]] = ()
    at_end: ClassVar[tuple[Hook, ...]] = ()

    def __init__(
        self, settings: Settings, emit: Emit, images: Images, roles: Roles | None = None
    ) -> None:
        """Open the state; nothing runs before `resume`.

        Args:
            settings: What the local AWS was started with.
            emit: Takes detail type, detail and resources of an event of source `aws.sagemaker`.
                Called from one thread, in the order of the changes.
            images: What stands for each container image.
            roles: Who acts and what is allowed; without it everything is.
        """
        self.settings = settings
        self.images = images
        self.roles = roles or Roles(settings)
        self.store = Store(settings.data_dir / "sagemaker.sqlite")
        self.runs: dict[str, Run] = {}
        self._emit = emit
        self._clients: dict[tuple[str, str], Any] = {}
        self._threads: set[threading.Thread] = set()
        self._starting = threading.Lock()
        self._closing = False
        self._wake = threading.Event()
        self._sender = threading.Thread(target=self._send_events, name="events", daemon=True)
        self._sender.start()

    # Requests

    def call(
        self, operation: str, request: Mapping[str, Any], session: Session | None = None
    ) -> dict[str, Any]:
        """Run one operation.

        Args:
            operation: Operation name, for example `CreateModel`.
            request: Its request members, as JSON values.
            session: Who calls; None for the account itself.

        Returns:
            The response members, timestamps as epoch seconds.

        Raises:
            ApiError: What AWS would answer with an error.
        """
        return self._answer(operation, json.dumps(request).encode(), session)

    def handle(self, target: str, body: bytes, session: Session | None = None) -> tuple[int, bytes]:
        """Answer one request of the JSON protocol.

        Args:
            target: The X-Amz-Target header, `SageMaker.<operation>`.
            body: Request body.
            session: Who calls; None for the account itself.

        Returns:
            HTTP status and JSON body.
        """
        try:
            answer = self._answer(target.removeprefix("SageMaker."), body, session)
            return 200, json.dumps(answer).encode()
        except ApiError as error:
            code, message, status = error.code, error.message, error.status
        except Exception:
            _log.exception("%s failed", target)
            code, message, status = "InternalFailure", f"{target} failed; see the log", 500
        return status, json.dumps({"__type": code, "message": message}).encode()

    def _answer(self, operation: str, body: bytes, session: Session | None) -> dict[str, Any]:
        operation_model(operation)
        function = OPERATIONS.get(operation)
        if function is None:
            raise ApiError(
                "NotImplemented", f"The local AWS does not know SageMaker's {operation}", 501
            )
        request = parse(operation, body)
        if session is not None:
            self.roles.authorize(session, permissions.needs(self, operation, request))
        for role in permissions.roles(operation, request):
            self.roles.check_trust(role, PRINCIPAL)
        return serialize(operation, function(self, request) or {})

    # State

    def arn(self, kind: str, name: str) -> str:
        """Return the ARN of a resource by its kind and name."""
        path = KINDS[kind].arn_path
        return f"arn:aws:sagemaker:{self.settings.region}:{self.settings.account}:{path}/{name}"

    def set_status(
        self, kind: str, name: str, status: str | None, **fields: object
    ) -> dict[str, Any]:
        """Update a resource and, if its status changes, send its event.

        Args:
            kind: Kind of the resource.
            name: Its name or ARN.
            status: New status, or None to leave it.
            **fields: Members to replace; None removes one.

        Returns:
            The new body.

        Raises:
            KeyError: There is no such resource.
        """
        member = KINDS[kind].status_member
        with self.store.transaction():
            before = (self.store.get(kind, name) or {}).get(member or "")
            if status is not None and member:
                fields[member] = status
            body = self.store.update(kind, name, **fields)
            if status is not None and status != before:
                self.publish(kind, body, before)
        return body

    def publish(self, kind: str, body: dict[str, Any], previous_status: str | None = None) -> None:
        """Send the event of a resource's change; kinds without events send none."""
        tags = resources.tags_of(self, body[KINDS[kind].arn_member])
        event = events.state_change(kind, body, previous_status, tags)
        if event:
            self.send(event)

    def send(self, event: events.Event) -> None:
        """Send an event to EventBridge.

        It is written with the change that it tells of and delivered by a thread of its own, so that
        neither a slow receiver holds the change up nor the end of the process loses the event. One
        that EventBridge does not take is sent again later, after those that follow it. As with AWS
        it may arrive more than once.
        """
        self.store.queue_event(*event)
        self._wake.set()

    def _send_events(self) -> None:
        wait = None
        while not self._closing:
            self._wake.wait(wait)
            self._wake.clear()
            if attempt("sending events", self._send_waiting) and not self.store.next_event():
                wait = None
            else:
                wait = min(_LONGEST_WAIT, (wait or _FIRST_WAIT / 2) * 2)

    def _send_waiting(self) -> None:
        last = 0
        while not self._closing and (event := self.store.next_event(last)):
            last = event[0]
            if attempt(f"sending the event {event[1]}", self._emit, *event[1:]):
                self.store.event_sent(last)

    # Machinery

    def client(self, name: str, role: str = "") -> Any:  # noqa: ANN401 - made at run time
        """Return the boto3 client of a service that SageMaker uses, made once for each role.

        Args:
            name: boto3's name of the service.
            role: ARN of the role with which SageMaker calls it; empty for what it does by itself.
        """
        credentials = self.roles.credentials(Session(role) if role else None)
        key = (name, credentials["AWS_ACCESS_KEY_ID"])
        with _CLIENTS_LOCK:
            if key not in self._clients:
                self._clients[key] = _session().client(
                    name,
                    region_name=self.settings.region,
                    endpoint_url=self.settings.endpoint_of(name),
                    aws_access_key_id=credentials["AWS_ACCESS_KEY_ID"],
                    aws_secret_access_key=credentials["AWS_SECRET_ACCESS_KEY"],
                    aws_session_token=credentials.get("AWS_SESSION_TOKEN"),
                    config=Config(
                        max_pool_connections=50,
                        retries={"mode": "standard"},
                        inject_host_prefix=False,  # see `Settings.client_environment`
                        # Nothing leaves this machine: they would only cost time.
                        request_checksum_calculation="when_required",
                        response_checksum_validation="when_required",
                    ),
                )
            return self._clients[key]

    def acting_as(self, role: str) -> Acting:
        """Return the service with a role, by its ARN."""
        return Acting(self, role)

    def submit(self, function: Callable[..., None], *args: object) -> None:
        """Run a function in a thread of its own; what it raises is logged.

        A thread each, not a pool: pipelines wait in theirs for jobs that need one too.

        Raises:
            RuntimeError: There is no thread to be had.
        """

        def run() -> None:
            try:
                function(*args)
            except Exception:
                _log.exception("%s%r failed", function.__qualname__, args)
            finally:
                self._threads.discard(threading.current_thread())

        thread = threading.Thread(target=run, name=function.__name__, daemon=True)
        with self._starting:  # one that has not started cannot be waited for
            self._threads.add(thread)
            try:
                thread.start()
            except BaseException:
                self._threads.discard(thread)
                raise

    def resume(self) -> None:
        """Take up what a former process left behind, then send the events that it did not."""
        containers.kill_lost(self.settings.data_dir / "endpoints")
        for take_up in self.at_start:
            take_up(self)
        self._wake.set()

    def close(self) -> None:
        """End all jobs and servers and close the state."""
        for end in self.at_end:
            end(self)
        with self._starting:
            threads = list(self._threads)
        for thread in threads:
            thread.join(timeout=30)
        self._closing = True
        self._wake.set()
        self._sender.join(timeout=30)
        self.store.close()
