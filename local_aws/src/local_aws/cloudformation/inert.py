"""What creates, updates and deletes the resources of types of which nothing runs here.

They are accepted, checked for their properties, and have `Ref` and `Fn::GetAtt`, so that stacks
with dashboards, Studio, Airflow or networks deploy; no API knows them.
"""

from __future__ import annotations

import hashlib
import logging
import uuid
from collections import defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from local_aws.cloudformation.inert_rows import InertType
from local_aws.cloudformation.properties import Given, Handlers, Provisioned
from local_aws.sagemaker.core.store import AlreadyExists

if TYPE_CHECKING:
    from local_aws.sagemaker.core.service import Service

_KIND = "InertResource"
_log = logging.getLogger(__name__)


def handlers(service: Service, entry: InertType) -> Handlers:
    """Return what creates, updates and deletes a type's resources."""
    settings = service.settings

    def key(physical_id: str) -> str:
        return f"{entry.name} {physical_id}"

    def create(logical_id: str, properties: Given, stack: str) -> Provisioned:
        entry.properties.check(logical_id, properties)
        generated = f"{stack}-{logical_id}"[:50] + f"-{uuid.uuid4().hex[:12]}"
        digest = hashlib.sha256(generated.encode()).hexdigest()
        url = str(properties.get("Url", ""))
        values: dict[str, Any] = defaultdict(
            lambda: generated,
            {
                "AwsAccountId": settings.account,
                "DomainOwner": settings.account,
                **properties,
                "name": generated,
                "id": digest[:12],
                "octet": str(int(digest[:2], 16) % 254 + 1),
                "host": url.removeprefix("https://"),
                "region": settings.region,
                "account": settings.account,
                "now": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            },
        )
        try:
            physical_id = values["ref"] = entry.ref.format_map(values)
            attributes = {k: text.format_map(values) for k, text in entry.attributes.items()}
        except (KeyError, TypeError) as error:
            raise ValueError(f"{logical_id}: a property lacks {error}") from error
        owner = f"{stack}/{logical_id}"
        name = key(physical_id)
        try:
            service.store.insert(_KIND, name, name, {"Attributes": attributes, "Owner": owner})
        except AlreadyExists as error:
            # A process that was killed may have left it before its stack knew of it.
            if (service.store.get(_KIND, name) or {}).get("Owner") != owner:
                raise ValueError(
                    f"Resource of type '{entry.name}' with identifier '{physical_id}' already "
                    "exists."
                ) from error
            service.store.update(_KIND, name, Attributes=attributes)
        _log.info("%s %s: stored, nothing of it runs here", entry.name, physical_id)
        return physical_id, attributes

    def update(physical_id: str, old: Given, new: Given, stack: str) -> Provisioned:
        del old, stack
        entry.properties.check(physical_id, new)
        found = service.store.get(_KIND, key(physical_id)) or {}
        return physical_id, found.get("Attributes", {})

    def delete(physical_id: str, properties: Given) -> None:
        del properties
        service.store.delete(_KIND, key(physical_id))

    return {"create": create, "update": update, "delete": delete}
