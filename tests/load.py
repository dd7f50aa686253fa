"""Load on the endpoint of a scene, by callers that try nothing twice, and what came of it."""

import csv
import io
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Self

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tests.other_features import Records
from tests.scenarios import Scene, until

CSV = "text/csv"

#: Requests at the same time: the serverless endpoint of a new project takes 5 and refuses more.
CALLERS = {"realtime": 16, "serverless": 5, "async": 16}

REPORT_SECONDS = 10.0


@dataclass(frozen=True)
class Outcome:
    """What came of a request; times are in seconds since 1970.

    Attributes:
        inference_id: Its id.
        row: The place of the row that was sent.
        due: When it was to be sent.
        sent: When it was.
        answered: When its answer was there; of an asynchronous endpoint, when it had the request.
        answer: The answer; of an asynchronous endpoint, its place.
        error: Why there is none, empty if there is.
    """

    inference_id: str
    row: int
    due: float
    sent: float
    answered: float
    answer: str
    error: str = ""

    @property
    def seconds(self) -> float:
        """How long the caller has waited."""
        return self.answered - self.sent


class Caller:
    """Asks the endpoint of a scene as programs do in its mode, with rows of CSV."""

    def __init__(self, scene: Scene, records: Records) -> None:
        self.scene, self.mode = scene, scene.combination.inference_mode
        self.bodies = [line(row) for row in records.rows]
        (endpoint,) = scene.serving()["endpoints"]
        self._name = endpoint["EndpointName"]
        settings = Config(max_pool_connections=32, retries={"total_max_attempts": 1})
        self._runtime = scene.life.new_client("sagemaker-runtime", settings)
        if self.mode == "async":
            for number, body in enumerate(self.bodies):
                scene.life.client("s3").put_object(
                    Bucket=scene.bucket, Key=f"async/requests/load/{number}.csv", Body=body
                )

    def __call__(self, inference_id: str, row: int) -> str:
        """The answer to a row; of an asynchronous endpoint, where it will be."""
        told: dict[str, Any] = {"EndpointName": self._name, "InferenceId": inference_id}
        if self.mode == "async":
            place = f"s3://{self.scene.bucket}/async/requests/load/{row}.csv"
            queued = self._runtime.invoke_endpoint_async(
                **told, ContentType=CSV, InputLocation=place, S3OutputPathExtension="load"
            )
            return str(queued["OutputLocation"])
        if self.mode == "serverless":
            told["CustomAttributes"] = f"inference_id={inference_id}"
        response = self._runtime.invoke_endpoint(**told, ContentType=CSV, Body=self.bodies[row])
        return str(response["Body"].read().decode())

    def outcome(self, inference_id: str, due: float) -> Outcome:
        """Ask, and tell what came of it."""
        row, sent, answer, error = int(inference_id[-6:]) % len(self.bodies), time.time(), "", ""
        try:
            answer = self(inference_id, row)
        except (BotoCoreError, ClientError) as raised:
            error = str(raised)
        return Outcome(inference_id, row, due, sent, time.time(), answer, error)


def line(row: Sequence[object]) -> bytes:
    """A row as CSV."""
    text = io.StringIO()
    csv.writer(text).writerow("" if value is None else value for value in row)
    return text.getvalue().encode()


def capacity(caller: Caller, seconds: float) -> tuple[float, list[Outcome]]:
    """Requests a second that are answered when each caller sends the next once it has an answer.

    Of an asynchronous endpoint, those that are answered and in the log: it takes more than that
    into its queue.

    Args:
        caller: Asks.
        seconds: How long.

    Returns:
        The rate, and all requests.
    """
    callers, start = CALLERS[caller.mode], time.time()

    def ask_on(number: int) -> list[Outcome]:
        found: list[Outcome] = []
        while time.time() < start + seconds:
            made = f"burst-{number + callers * len(found):06}"
            found.append(caller.outcome(made, time.time()))
        return found

    if caller.mode == "async":
        with ThreadPoolExecutor(callers) as pool:
            ids = [f"burst-{number:06}" for number in range(200)]
            outcomes = [*pool.map(lambda made: caller.outcome(made, time.time()), ids)]
        log = Log(caller.scene)
        until("the burst", lambda: set(ids) <= log.read().keys() or None, seconds=300)
    else:
        with ThreadPoolExecutor(callers) as pool:
            outcomes = [one for found in pool.map(ask_on, range(callers)) for one in found]
    return len(outcomes) / (time.time() - start), outcomes


class Load:
    """Requests that are due at a rate, whether those before them are answered or not."""

    def __init__(self, caller: Caller, rate: float) -> None:
        """Prepare a load; `running` starts it.

        Args:
            caller: Asks.
            rate: Requests a second.
        """
        self._caller, self.rate = caller, rate
        self.outcomes: list[Outcome] = []
        self.start = 0.0
        self._next = 0
        self._lock = threading.Lock()
        self._over = threading.Event()

    @contextmanager
    def running(self) -> Iterator[Self]:
        """Send requests during the block; those that were sent are answered after it."""
        callers = CALLERS[self._caller.mode]
        with ThreadPoolExecutor(callers) as pool:
            self.start = time.time()
            workers = [pool.submit(self._work) for _ in range(callers)]
            try:
                yield self
            finally:
                self._over.set()
        for worker in workers:
            worker.result()

    def wait(self, seconds: float) -> None:
        """Wait until so many seconds after the start, with a line about the load now and then."""
        end = self.start + seconds
        while (rest := end - time.time()) > 0:
            self._over.wait(min(rest, REPORT_SECONDS))
            print(self, flush=True)

    def __str__(self) -> str:
        done, seconds = [*self.outcomes], time.time() - self.start
        failed = [one for one in done if one.error]
        part = f"{seconds:4.0f} s  {len(done)} requests, {len(done) / seconds:.1f} a second"
        late = max((one.sent - one.due for one in done), default=0.0)
        return f"{part}, {quantiles(done)}, sent {late:.1f} s late at most, {len(failed)} failed"

    def _work(self) -> None:
        while not self._over.is_set():
            with self._lock:
                number, self._next = self._next, self._next + 1
            due = self.start + number / self.rate
            if self._over.wait(max(0.0, due - time.time())):
                return
            self.outcomes.append(self._caller.outcome(f"load-{number:06}", due))


def quantiles(outcomes: Sequence[Outcome]) -> str:
    """The median and the 99th percentile of what callers have waited, in words."""
    waited = sorted(one.seconds for one in outcomes)
    if not waited:
        return "nothing answered"
    median, late = (waited[int(part * (len(waited) - 1))] for part in (0.5, 0.99))
    return f"p50 {median * 1000:.0f} ms, p99 {late * 1000:.0f} ms"


class Log:
    """What is captured in a scene, whose files are read once each."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._read: set[str] = set()
        self._ids: Counter[str] = Counter()

    def read(self) -> Counter[str]:
        """How often each inference id is in the log now."""
        for key in {*self._scene.keys("capture/")} - self._read:
            for captured in self._scene.read(key).splitlines():
                self._ids[json.loads(captured)["eventMetadata"]["inferenceId"]] += 1
            self._read.add(key)
        return self._ids


@dataclass(frozen=True)
class Predicted:
    """A row of the table of predictions.

    Attributes:
        version: The version that predicted.
        probability: What it has predicted.
        scored_at: When, in seconds since 1970.
    """

    version: int
    probability: float
    scored_at: float


def table(scene: Scene) -> dict[str, list[Predicted]]:
    """The rows of the table of predictions, by inference id."""
    found: dict[str, list[Predicted]] = {}
    for made, version, probability, scored_at in scene.life.query(
        "SELECT inference_id, model_version, probability, scored_at FROM predictions"
    ):
        moment = datetime.fromisoformat(scored_at).replace(tzinfo=UTC).timestamp()
        row = Predicted(int(version), float(probability), moment)
        found.setdefault(made, []).append(row)
    return found


def answers(scene: Scene, outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The requests of an asynchronous endpoint, with the answers in the place of their places."""
    bucket = f"s3://{scene.bucket}/"

    def answered(one: Outcome) -> Outcome:
        return replace(one, answer=scene.read(one.answer.removeprefix(bucket)).decode())

    with ThreadPoolExecutor(8) as pool:
        return [*pool.map(answered, outcomes)]


class Versions:
    """Which versions may have answered when."""

    def __init__(self, version: int) -> None:
        self._phases: list[tuple[float, set[int]]] = [(0.0, {version})]

    def also(self, version: int) -> None:
        """From now on another version may answer, too: its deployment begins."""
        self._phases.append((time.time(), {version, *self._phases[-1][1]}))

    def only(self, version: int) -> None:
        """From now on only this version may answer: a deployment has ended."""
        self._phases.append((time.time(), {version}))

    def during(self, first: float, last: float) -> set[int]:
        """Those that may have answered a request, by the times of its sending and its answer."""
        ends = [start for start, _ in self._phases[1:]] + [float("inf")]
        overlapping = (
            versions
            for (start, versions), end in zip(self._phases, ends, strict=True)
            if start <= last and end > first
        )
        return {version for versions in overlapping for version in versions}
