"""What the shared tests need to know of the endpoint: how it is asked, what it leaves behind."""

import base64
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import polars as pl
from support.fake_sagemaker import ACCOUNT, BUCKET, FakeSageMaker, RefusalError, Request, find
from support.image import write_lines
from support.templates import alarm_event

from lambdas import deploy
from workflows import names

NAMES = names.Names()

#: What the stacks tell the functions.
ENVIRONMENT = {
    "ALARMS": " ".join(NAMES.rollback_alarms),
    "BAKE_SECONDS": "300",
    "CAPTURE_URI": f"s3://{BUCKET}/capture",
    "ENDPOINT": NAMES.endpoint,
    "INSTANCE_COUNT": "1",
    "INSTANCE_TYPE": "ml.m5.large",
    "MAX_INSTANCES": "1",
    "MODEL_ROLE": f"arn:aws:iam::{ACCOUNT}:role/model",
    "PROJECT": names.PROJECT,
    "REQUESTS_PER_INSTANCE": "600",
    "SHIFT_PERCENT": "10",
    "SHIFT_WAIT_SECONDS": "300",
    "TRAFFIC_SHIFTING": "CANARY",
    "VARIANT": names.VARIANT,
}

#: What AWS does not let one limit to a resource.
EVERYWHERE = {"sagemaker:ListEndpointConfigs"}


def endpoint_event(name: str, status: str) -> dict[str, Any]:
    return {
        "source": "aws.sagemaker",
        "detail-type": "SageMaker Endpoint State Change",
        "detail": {"EndpointName": name, "EndpointStatus": status},
    }


#: Events, and the rules that they match.
EVENTS: list[tuple[dict[str, Any], set[str]]] = [
    (endpoint_event(NAMES.endpoint, "IN_SERVICE"), {"endpoint-deployed"}),
    (endpoint_event(NAMES.endpoint, "UPDATING"), set()),
    (endpoint_event("another", "IN_SERVICE"), set()),
    *((alarm_event(name, "ALARM"), {"alarm"}) for name in NAMES.rollback_alarms),
    *((alarm_event(name, "OK"), set()) for name in NAMES.rollback_alarms),
]

COMMANDS = ("endpoint", "invoke", "traffic")

#: Where predictions are, and keys from before, within and after 2026-01-31T23:00 to 02-01T01:30.
PREFIX = "capture/"
BEFORE = ["2026/01/31/22/a.jsonl"]
# An hour more than the window, as captures can be filed late.
WITHIN = ["2026/01/31/23/a.jsonl", "2026/02/01/00/a.jsonl", "2026/02/01/02/a.jsonl"]
AFTER = ["2026/02/01/03/a.jsonl"]
#: In the folder of the window's last time, but from after it.
JUST_AFTER = "2026/02/01/01/late.jsonl"


class SageMaker(FakeSageMaker):
    """With endpoints, and what Application Auto Scaling knows of them.

    Attributes:
        configs: Endpoint configurations by name.
        endpoints: Endpoints by name, as DescribeEndpoint shows them.
        scaled: Scalable targets by their ResourceId, with the policy that was put last.
    """

    def __init__(self) -> None:
        super().__init__()
        self.configs: dict[str, Request] = {}
        self.endpoints: dict[str, Request] = {}
        self.scaled: dict[str, Request] = {}
        self.operations |= {
            "CreateEndpoint": self._create_endpoint,
            "CreateEndpointConfig": self._create_endpoint_config,
            "DeleteEndpoint": self._delete_endpoint,
            "DeleteEndpointConfig": self._delete_endpoint_config,
            "DescribeEndpoint": self._describe_endpoint,
            "DeregisterScalableTarget": self._deregister,
            "DescribeEndpointConfig": lambda r: find(self.configs, r["EndpointConfigName"]),
            "ListEndpointConfigs": lambda r: {
                "EndpointConfigs": [
                    config for name, config in self.configs.items() if r["NameContains"] in name
                ]
            },
            "PutScalingPolicy": lambda r: self.scaled[r["ResourceId"]].update(r) or {},
            "RegisterScalableTarget": lambda r: self.scaled.update({r["ResourceId"]: r}) or {},
            "UpdateEndpoint": self._update_endpoint,
        }

    def finish(self, status: str = "InService") -> None:
        """Bring what the endpoint is doing to its end."""
        endpoint = self.endpoints[NAMES.endpoint]
        pending = endpoint.pop("PendingDeploymentSummary", None)
        endpoint |= {"EndpointStatus": status, "LastModifiedTime": datetime.now(UTC)}
        if pending and status == "InService":
            endpoint["EndpointConfigName"] = pending["EndpointConfigName"]

    def roll_back(self, reason: str) -> None:
        """End an update as an alarm does: the configuration before is in service again."""
        endpoint = self.endpoints[NAMES.endpoint]
        del endpoint["PendingDeploymentSummary"]
        endpoint["FailureReason"] = reason
        self.finish()

    def serving(self) -> str:
        """The ARN of the package that the endpoint serves."""
        config = self.configs[self.endpoints[NAMES.endpoint]["EndpointConfigName"]]
        model = self.models[config["ProductionVariants"][0]["ModelName"]]
        return str(model["PrimaryContainer"]["ModelPackageName"])

    def _create_endpoint_config(self, request: Request) -> Request:
        name, body = request["EndpointConfigName"], {**request, "CreationTime": datetime.now(UTC)}
        return self.create("endpoint configuration", self.configs, name, body)

    def _delete_endpoint_config(self, request: Request) -> Request:
        find(self.configs, request["EndpointConfigName"])
        del self.configs[request["EndpointConfigName"]]
        return {}

    def _create_endpoint(self, request: Request) -> Request:
        find(self.configs, request["EndpointConfigName"])
        now = datetime.now(UTC)
        body = {**request, "EndpointStatus": "Creating", "LastModifiedTime": now}
        return self.create("endpoint", self.endpoints, request["EndpointName"], body)

    def _describe_endpoint(self, request: Request) -> Request:
        return dict(find(self.endpoints, request["EndpointName"]))

    def _update_endpoint(self, request: Request) -> Request:
        endpoint = find(self.endpoints, request["EndpointName"])
        find(self.configs, request["EndpointConfigName"])
        if endpoint["EndpointStatus"] != "InService":
            raise RefusalError(f'Cannot update in-progress endpoint "{request["EndpointName"]}".')
        endpoint |= {"EndpointStatus": "Updating", "LastModifiedTime": datetime.now(UTC)}
        endpoint["PendingDeploymentSummary"] = {"EndpointConfigName": request["EndpointConfigName"]}
        return {}

    def _deregister(self, request: Request) -> Request:
        if request["ResourceId"] not in self.scaled:
            raise RefusalError("No scalable target registered", "ObjectNotFoundException")
        del self.scaled[request["ResourceId"]]
        return {}

    def _delete_endpoint(self, request: Request) -> Request:
        find(self.endpoints, request["EndpointName"])
        del self.endpoints[request["EndpointName"]]
        return {}


class Endless:
    """Lambda's context of a function with time left."""

    def get_remaining_time_in_millis(self) -> int:
        return 10**6


def serve(fake: SageMaker, package: str, time: datetime) -> None:
    """Let a version serve."""
    approve(package, time)
    fake.finish()


def approve(package: str, time: datetime, *changed: str) -> str:
    """Let the event of an approval be handled; what was done.

    Args:
        package: ARN of the model package.
        time: The event's.
        changed: UpdatedModelPackageFields, if the event is to have them.
    """
    event: dict[str, Any] = {"time": time.isoformat(), "detail": {"ModelPackageArn": package}}
    if changed:
        event["detail"]["UpdatedModelPackageFields"] = [*changed]
    return deploy.handler(event, Endless())["outcome"]


def keep(
    folder: Path,
    features: pl.DataFrame,
    answers: Sequence[str],
    ids: Sequence[str],
    time: str = "2026-01-15T12:00:00Z",
) -> None:
    """Write predictions as they are kept.

    Args:
        folder: Where to, as in the data bucket.
        features: A row per prediction.
        answers: The server's answer to each row, a line of CSV.
        ids: The inference ids.
        time: When they were made.
    """
    lines = features.write_csv(include_header=False).splitlines()
    rows = zip(lines, answers, ids, strict=True)
    events = [event(f"{sent}\n", f"{answer}\n", name, time=time) for sent, answer, name in rows]
    hour = f"{datetime.fromisoformat(time):%Y/%m/%d/%H}"
    path = folder / f"capture/version=1/{NAMES.endpoint}/{names.VARIANT}" / hour / "1.jsonl"
    write_lines(path, events)


def put(session: boto3.Session, version: int | None, *keys: str) -> list[str]:
    """Capture a prediction of a version for each key of an hour; the keys below PREFIX."""
    folder = f"version={version}/" if version else ""
    where = f"{folder}{NAMES.endpoint}/{names.VARIANT}/"
    for key in keys:
        hour = datetime.strptime(key[:13], "%Y/%m/%d/%H").replace(tzinfo=UTC)
        time = hour + timedelta(minutes=45 if key == JUST_AFTER else 10)
        body = json.dumps(event("1", "2", key, time=time.isoformat())).encode()
        session.client("s3").put_object(Bucket=BUCKET, Key=f"{PREFIX}{where}{key}", Body=body)
    return [f"{where}{key}" for key in keys]


def event(
    sent: str,
    answered: str,
    inference_id: str | None = None,
    *,
    time: str = "2026-01-15T12:00:00Z",
    content_type: str = "text/csv",
    encoding: str = "CSV",
) -> dict[str, Any]:
    """An event, laid out as in model-monitor-data-capture-endpoint.html."""

    def payload(mode: str, data: str) -> dict[str, str]:
        if encoding == "BASE64":
            data = base64.b64encode(data.encode()).decode()
        return {
            "observedContentType": content_type,
            "mode": mode,
            "data": data,
            "encoding": encoding,
        }

    metadata = {"eventId": f"event-of-{inference_id}", "inferenceTime": time}
    if inference_id:
        metadata["inferenceId"] = inference_id
    return {
        "captureData": {
            "endpointInput": payload("INPUT", sent),
            "endpointOutput": payload("OUTPUT", answered),
        },
        "eventMetadata": metadata,
        "eventVersion": "0",
    }
