"""A project that serves goes through all twelve changes of its inference mode.

One project, one local AWS: `copier update` with another answer, `poe deploy`, a version for the
mode, and what the mode before has left is deleted. Requests to what serves go on meanwhile.
"""

import json
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise, permutations
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tests import conftest, matrix, other_features, scenarios, template
from tests.belongings import listing, stacks
from tests.callers import ASYNC, BATCH, ENDPOINTS, MODES, REALTIME, SERVERLESS, Client
from tests.inside import Inside
from tests.scenarios import Combination, Scene, until

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]

# Every mode to every other one, once, back to the first.
CIRCUIT = (
    *(REALTIME, SERVERLESS, REALTIME, ASYNC, REALTIME, BATCH, SERVERLESS, ASYNC),
    *(SERVERLESS, BATCH, ASYNC, BATCH, REALTIME),
)
# What serves more than one instance, as edited in usecase.toml, is scaled.
SCALED = {
    REALTIME: ("# max_instances = 4 ", "max_instances = 4 "),
    SERVERLESS: (
        "# provisioned_concurrency = 1 ",
        "max_provisioned_concurrency = 2\nprovisioned_concurrency = 1 ",
    ),
}
DAY = "2013-06-30"
ROWS = 40
# What stacks own of what is listed; the rest is in none.
OWNED = {
    "alarms": "AWS::CloudWatch::Alarm",
    "rules": "AWS::Events::Rule",
    "schedules": "AWS::Scheduler::Schedule",
    "functions": "AWS::Lambda::Function",
    "logs": "AWS::Logs::LogGroup",
    "roles": "AWS::IAM::Role",
    "topics": "AWS::SNS::Topic",
    "subscriptions": "AWS::SNS::Subscription",
    "tables": "AWS::Glue::Table",
}
# Properties with the name that a resource has on AWS; a second one of that name cannot be made.
NAMED = {
    *("AlarmName", "LogGroupName", "Name", "QueueName", "RoleName", "TopicName"),
    *("PipelineName", "RepositoryName", "BucketName", "ModelPackageGroupName"),
}
# The predictions of the day, and those that were asked for under ids of our own.
KNOWN = (
    "SELECT inference_id, probability FROM predictions WHERE day = '2013-06-30'",
    "SELECT inference_id, probability FROM predictions WHERE inference_id LIKE 'realtime-%'",
    "SELECT inference_id, probability FROM predictions WHERE inference_id LIKE 'serverless-%'",
    "SELECT inference_id, probability FROM predictions WHERE inference_id LIKE 'async-%'",
)
# What all projects of an account share, in no stack either.
SHARED = {f"/aws/sagemaker/{kind}Jobs" for kind in ("Processing", "Training", "Transform")}


@dataclass(frozen=True)
class Answered:
    """What a client has got while it asked.

    Attributes:
        answers: How often each answer came.
        failures: Inference id and error of each request without one.
    """

    answers: Counter[str]
    failures: dict[str, str]


@contextmanager
def asking(client: Client, body: bytes) -> Iterator[Answered]:
    """Ask without a break, one request after the other, until the context ends."""
    ended, found = threading.Event(), Answered(Counter(), {})

    def ask() -> None:
        while not ended.wait(0.2):
            inference_id = str(uuid.uuid4())
            try:
                found.answers[client.ask(body, inference_id)] += 1
            except (ClientError, AssertionError) as error:
                found.failures[inference_id] = f"{datetime.now(UTC):%H:%M:%S} {error}"

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()


class Journey:
    """The project on its way, and what it is to keep.

    Args:
        scene: The project, in real-time mode, whose first version serves.
    """

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.mode = REALTIME
        self.versions = {REALTIME: 1}
        self.records = other_features.records(scene, DAY)
        self.logged: set[str] = set()
        self.expected: list[float | None] = []
        self.findings: list[str] = []
        self._started = time.monotonic()

    def say(self, what: str) -> None:
        """Tell how far it has come."""
        print(f"{time.monotonic() - self._started:6.0f} s  {what}", flush=True)

    def change(self, mode: str) -> None:
        """Change the answer, as docs/update.md tells."""
        before, project, scene = self.mode, self.scene.life.project, self.scene
        with self.requests() as answered:
            command = ["update", "--defaults", "--quiet", "--vcs-ref=:current:"]
            copier = Path(sys.executable).with_name("copier")
            template.run([copier, *command, f"--data=inference_mode={mode}"], project)
            template.install(project)
            template.commit(project, f"Predict in another way: {mode}")
            self.mode = mode
            scene.combination = replace(scene.combination, inference_mode=mode)
            scene.call.close()
            scene.call = Inside(project, scene.life.environment)
            said = self.deploy()
            self.say(f"{before} to {mode}: deployed")
            self.refuse()
            self.approve()
            self.say(f"{before} to {mode}: serves")
        if before in ENDPOINTS:
            self.expect("requests fail", not answered.failures, answered.failures)
            self.expect("answers change", len(answered.answers) == 1, answered.answers)
            named = f"endpoint {scene.life.slug}{ENDPOINTS[before]} (costs money"
            self.expect("poe deploy does not name the endpoint", named in said, said[-2000:])

    def expect(self, what: str, holds: bool, found: object) -> None:
        """Note what does not hold: the way goes on, and tells all of it at its end."""
        if not holds:
            self.findings.append(f"{self.mode}: {what}: {found}")
            self.say(f"! {self.findings[-1]}")

    @contextmanager
    def requests(self) -> Iterator[Answered]:
        """Requests to the endpoint, if there is one, until the context ends."""
        if self.mode == BATCH:
            yield Answered(Counter(), {})
            return
        with asking(Client(self.scene, self.mode), self.body(0)) as answered:
            yield answered

    def body(self, record: int) -> bytes:
        """A request for a record."""
        row = dict(zip(self.records.names, self.records.rows[record], strict=True))
        return json.dumps({"instances": [row]}).encode()

    def deploy(self) -> str:
        """Deploy the stacks, with an endpoint that is scaled; what is said."""
        path = self.scene.life.project / "usecase.toml"
        before = path.read_text()
        if change := SCALED.get(self.mode):
            if before.count(change[0]) != 1:
                raise AssertionError(f"{path} has no {change[0]!r}")
            path.write_text(before.replace(*change))
        try:
            command = ["uv", "run", "poe", "deploy", "--require-approval", "never"]
            return template.run(command, self.scene.life.project, self.scene.life.environment)
        finally:
            path.write_text(before)

    def refuse(self) -> None:
        """A version of another mode is refused: it cannot serve in this one."""
        other = next(n for mode, n in self.versions.items() if mode != self.mode)
        with pytest.raises(AssertionError, match="was trained for another inference mode"):
            self.scene.life.ops("models", "approve", str(other))

    def approve(self) -> None:
        """Let a version of this mode serve, which is trained unless there is one."""
        if self.mode not in self.versions:
            self.scene.life.ops("train")
            self.versions[self.mode] = self.scene.versions()[0]["number"]
        version = self.versions[self.mode]
        self.scene.life.ops("models", "approve", str(version))
        assert self.scene.serving()["version"] == version

    def clean(self, before: str) -> None:
        """Delete what the mode before has left: all of it is named, and then nothing is left."""
        left, scene = self.outside(), self.scene
        named = {f"{scene.life.slug}{ENDPOINTS[before]}"} if before in ENDPOINTS else set()
        self.expect("the endpoint of before is gone", named <= left["endpoints"], left)
        for said in (scene.life.ops("leftovers"), scene.life.ops("doctor")):
            for kind, names in left.items():
                # What scales an endpoint goes with it.
                unseen = {
                    name
                    for name in names
                    if name not in said
                    and kind != "scaling"
                    and not name.startswith("TargetTracking-endpoint/")
                }
                self.expect(f"{kind} that are not named", not unseen, unseen)
        scene.life.ops("leftovers", "--remove", "--data", "--yes")
        for command, words in (("leftovers", "Left over"), ("doctor", "left over")):
            said = scene.life.ops(command)
            self.expect(f"{command} still names something", words not in said, said)
        for kind, names in self.outside().items():
            self.expect(f"{kind} that are left", not names, names)
        self.say(f"nothing of {before} is left")

    def outside(self) -> dict[str, set[str]]:
        """All on AWS that belongs neither to a stack nor to what serves now, by kind."""
        scene, owned, there = self.scene, stacks(self.scene), listing(self.scene)
        ours = self.serving() | SHARED
        if self.mode in ENDPOINTS:
            # Application Auto Scaling's own, which come and go with what is scaled.
            scaling = f"TargetTracking-endpoint/{scene.life.slug}{ENDPOINTS[self.mode]}/"
            ours |= {name for name in there["alarms"] if name.startswith(scaling)}
        return {
            kind: names - ours - owned.get(OWNED.get(kind, ""), set())
            for kind, names in there.items()
        }

    def serving(self) -> set[str]:
        """The names of what serves now, and of what belongs to it."""
        scene = self.scene
        found = prefixes(scene.life.project) | {"permissions", f"requests-{self.mode}"}
        if self.mode == BATCH:
            return found | {scene.serving()["models"][-1]}
        name = f"{scene.life.slug}{ENDPOINTS[self.mode]}"
        endpoint = scene.life.client("sagemaker").describe_endpoint(EndpointName=name)
        found |= {f"endpoint/{name}/variant/AllTraffic", f"/aws/sagemaker/Endpoints/{name}"}
        if self.mode == SERVERLESS:
            found.add(f"/aws/sagemaker/Endpoints/{scene.life.slug}-trial")
        if self.mode == ASYNC:
            found.add(f"{scene.life.slug}-backlog-without-capacity")
        return found | {name, endpoint["EndpointConfigName"]}

    def predict(self) -> None:
        """The same numbers for the same records; they come into the one table, and are judged."""
        rows = self.records.rows[:ROWS]
        if self.mode == BATCH:
            self.scene.score(DAY)
            start, end = f"{DAY}T00:00:00Z", "2013-07-01T00:00:00Z"
            ids = self.records.ids
            seen = self.scene.scored(DAY)["rows"]
        else:
            client, since = Client(self.scene, self.mode), datetime.now(UTC)
            ids = [f"{self.mode}-{uuid.uuid4()}" for _ in rows]
            seen = len(ids)
            for record, inference_id in enumerate(ids):
                client.ask(self.body(record), inference_id)
            until("the log", lambda: set(ids) <= other_features.captured(self.scene) or None)
            until_ = datetime.now(UTC) + timedelta(seconds=1)
            start, end = (f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment in (since, until_))
        version = str(self.versions[self.mode])
        reports = other_features.monitored(self.scene, start, end)
        count = reports[version]["data_quality"]["dataset"]["item_count"]
        self.expect("the monitor sees others", count == seen, (count, seen))
        known = self.predictions()
        self.logged |= set(ids)
        lost = self.logged - known.keys()
        self.expect("predictions are lost", not lost, sorted(lost)[:5])
        numbers = [known.get(one) for one in ids[:ROWS]]
        self.expected = self.expected or numbers
        same = numbers == pytest.approx(self.expected, rel=1e-6)
        self.expect("the numbers are others", same, [*zip(numbers, self.expected, strict=True)])
        self.say(f"{self.mode}: {len(self.logged)} predictions known")

    def predictions(self) -> dict[str, float]:
        """The table of predictions: the number by inference id.

        Without those of `requests`, as Athena answers with a thousand rows at a time.
        """
        found = (self.scene.life.query(sql) for sql in KNOWN)
        return {record: float(value) for rows in found for record, value in rows}


def prefixes(project: Path) -> set[str]:
    """What the keys of the data bucket may begin with, in today's mode."""
    code = (
        "import json; from workflows import keys; "
        "print(json.dumps([v for v in vars(keys).values() if isinstance(v, str)]))"
    )
    printed = template.run(["uv", "run", "python", "-c", code], project)
    return {f"{text.partition('/')[0]}/" for text in json.loads(printed) if "/" in text}


def test_circuit_has_every_change_once() -> None:
    assert sorted(pairwise(CIRCUIT)) == sorted(permutations(MODES, 2))
    assert set(MODES) == set(matrix.choices()["inference_mode"])


def test_no_name_is_that_of_another_resource_in_another_mode(
    project: Path, rendered: conftest.Render, tmp_path: Path
) -> None:
    """CloudFormation makes what is new before it deletes, by name, what is not there any more."""
    python = project / ".venv" / "bin" / "python"
    known: dict[tuple[str, str], dict[str, str]] = {}
    for mode in MODES:
        folder = rendered({"inference_mode": mode})
        template.lock(folder)
        environment = {"CDK_OUTDIR": str(tmp_path / mode), "PYTHONPATH": "src:."}
        template.run([python, "-m", "infra.app"], folder, environment)
        for file in sorted((tmp_path / mode).glob("*.template.json")):
            for logical, resource in json.loads(file.read_text())["Resources"].items():
                named = {k: v for k, v in resource["Properties"].items() if k in NAMED}
                for name in named.values():
                    places = known.setdefault((resource["Type"], json.dumps(name)), {})
                    places[mode] = f"{file.name} {logical}"
    assert known
    moved = {key: places for key, places in known.items() if len({*places.values()}) > 1}
    assert not moved


def test_every_change_of_the_mode(repository: Path, tmp_path: Path) -> None:
    answers = {"monitors": ["data_quality"], "triggers": ["new_data"], "inference_mode": REALTIME}
    project = conftest.make_project(repository, tmp_path / "project", answers)
    combination = Combination("sagemaker_pipelines", REALTIME, "binary_classification")
    with scenarios.staged(combination, project) as scene:
        journey = Journey(scene)
        journey.say("the first version serves")
        journey.predict()
        for before, mode in pairwise(CIRCUIT):
            journey.change(mode)
            journey.clean(before)
            journey.predict()
        assert not journey.findings
