"""The life of a generated project (`poe local`) as the tests see it."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import boto3
from botocore.config import Config

from tests import template

COMMAND = ("uv", "run", "poe", "local")

#: Lives are lived on a local AWS that refuses what the roles of the stacks do not allow.
STRICT = {"LOCAL_AWS_IAM": "enforce"}
#: A flight as whoever asks knows it: nothing of the visibility, and nothing of its route.
FLIGHT = {
    "carrier": "UA",
    "origin": "EWR",
    "dest": "IAH",
    "scheduled_departure": "2013-07-10T22:00:00Z",
    "distance": 1400,
    "precipitation": 0.1,
}
T = TypeVar("T")


@dataclass(frozen=True)
class Life:
    """A life that has been lived and whose local AWS runs on.

    Attributes:
        project: The project's folder.
        output: What it has printed.
        result: `.local/lifecycle.json`.
        environment: What points a client at the local AWS.
        clients: Those that were asked for, by service. Making one takes a tenth of a second of a
            CPU, which who waits for a short job does not have.
    """

    project: Path
    output: str
    result: dict[str, Any]
    environment: dict[str, str] = field(repr=False)
    clients: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def slug(self) -> str:
        """The project's short name."""
        return str(self.result["answers"]["project_slug"])

    def client(self, service: str) -> Any:  # noqa: ANN401 - boto3's clients have no common type
        """A client of the local AWS."""
        if service not in self.clients:
            self.clients[service] = self.new_client(service)
        return self.clients[service]

    def new_client(self, service: str, config: Config | None = None) -> Any:  # noqa: ANN401 - as above
        """A client of the local AWS with settings of its own."""
        session = boto3.session.Session(
            aws_access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
            region_name=str(self.result["answers"]["aws_region"]),
        )
        endpoint = self.environment["AWS_ENDPOINT_URL"]
        return session.client(service, endpoint_url=endpoint, config=config)

    def query(self, sql: str) -> list[list[str]]:
        """The rows that Athena answers with; nothing is an empty text."""
        athena = self.client("athena")
        query = athena.start_query_execution(
            QueryString=sql,
            QueryExecutionContext={"Database": self.slug.replace("-", "_")},
            WorkGroup=self.slug,
        )["QueryExecutionId"]
        deadline = time.monotonic() + 120
        status: dict[str, Any] = {"State": "QUEUED"}
        while status["State"] in ("QUEUED", "RUNNING") and time.monotonic() < deadline:
            time.sleep(0.05)
            status = athena.get_query_execution(QueryExecutionId=query)["QueryExecution"]["Status"]
        if status["State"] != "SUCCEEDED":
            raise AssertionError(f"{sql}: {status}")
        pages = athena.get_paginator("get_query_results").paginate(QueryExecutionId=query)
        _, *rows = [row for page in pages for row in page["ResultSet"]["Rows"]]
        return [[cell.get("VarCharValue", "") for cell in row["Data"]] for row in rows]

    def counted(self, first: str, last: str) -> dict[str, int]:
        """The predictions of some days by version, as docs/operations.md counts them."""
        text = (self.project / "docs" / "operations.md").read_text()
        (sql,) = re.findall(r"```sql\n(.*?)```", text, flags=re.DOTALL)
        rows = self.query(sql.replace("2026-01-01", first).replace("2026-01-31", last))
        return {version: int(predictions) for version, predictions in rows}

    def ops(self, *arguments: str) -> str:
        """What `ops` with these arguments prints."""
        return template.run(["uv", "run", "ops", *arguments], self.project, self.environment)


def live(project: Path) -> Life:
    """Live, and leave the local AWS running; end it with `end`."""
    return lived(project, template.run([*COMMAND, "--keep"], project, STRICT))


def lived(project: Path, output: str, result: dict[str, Any] | None = None) -> Life:
    """A life that has just been lived; by `poe local --keep` unless its result is given."""
    result = result or json.loads((project / ".local" / "lifecycle.json").read_text())
    environment = (
        "from local import local_aws; import json; print(json.dumps(local_aws.environment()))"
    )
    printed = template.run(["uv", "run", "python", "-c", environment], project)
    return Life(project, output, result, json.loads(printed))


def end(project: Path) -> None:
    """Stop the project's local AWS."""
    template.run(
        ["uv", "run", "python", "-c", "from local import local_aws; local_aws.stop()"], project
    )


def kill_in(project: Path, stage_before: str, seconds: float) -> None:
    """Live until some seconds after a stage has ended, then kill the command.

    What the command has started, in sessions of its own, goes on for a while.
    """
    log = project / ".local" / "killed.log"
    log.parent.mkdir(exist_ok=True)
    with log.open("w") as output:
        process = subprocess.Popen(
            COMMAND,
            cwd=project,
            env=template.environment(STRICT),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 300
        while f"\n{stage_before} " not in f"\n{log.read_text()}":
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"stage {stage_before} was not reached:\n{log.read_text()}")
            time.sleep(0.1)
        time.sleep(seconds)
        if process.poll() is not None:
            raise AssertionError(f"too late to kill it:\n{log.read_text()}")
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def at_once(times: int, work: Callable[[], T]) -> list[T]:
    """Call a function several times at the same time; the results."""
    with ThreadPoolExecutor(times) as pool:
        return [future.result() for future in [pool.submit(work) for _ in range(times)]]
