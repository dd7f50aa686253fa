"""An endpoint under load while versions are deployed, and one of them is rolled back.

RELIABILITY_SECONDS is the length of the load, ten minutes unless it says otherwise.
"""

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests import conftest, load, other_features, scenarios
from tests.load import Caller, Load, Log, Outcome, Versions
from tests.scaling import Scaled
from tests.scenarios import Combination, Scene, until

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]

SECONDS = float(os.environ.get("RELIABILITY_SECONDS", "600"))
BURST_SECONDS = 10.0
UTILISATION = 0.7
DAY = "2013-07-10"


@pytest.fixture(params=["realtime", "serverless", "async"])
def scene(
    request: pytest.FixtureRequest, repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    """Version 1 serves; version 2, of one month more, waits for its approval."""
    combination = Combination("sagemaker_pipelines", request.param, "binary_classification")
    folder = tmp_path_factory.mktemp("reliability") / "project"
    project = conftest.make_project(repository, folder, vars(combination))
    with scenarios.staged(combination, project) as scene:
        other_features.bring(scene, "2013-07")
        scene.life.ops("train")
        yield scene


class Deployments:
    """What is deployed while there is load, and which versions may have answered when."""

    def __init__(self, scene: Scene) -> None:
        self._scene, self._endpoint = scene, Scaled(scene)
        self.versions = Versions(1)

    def deploy(self, version: int) -> None:
        """Approve a version, and wait until it alone serves."""
        before = self._begin(version)
        until(f"version {version}", lambda: self._settled_after(before), seconds=300)
        assert self._scene.serving()["version"] == version
        self.versions.only(version)

    def roll_back(self, version: int) -> None:
        """Approve a version whose requests then fail, and wait until the one before is back."""
        mode = self._scene.combination.inference_mode
        before = self._begin(version)
        # The alarms of a serverless endpoint are looked at once the version serves.
        begun = self._settled_after if mode == "serverless" else self._pending_after
        until(f"the deployment of version {version}", lambda: begun(before), seconds=300)

        def rolled_back() -> bool | None:
            self._endpoint.fail()  # again: what succeeds meanwhile makes it look well
            settled = self._endpoint.described()["EndpointStatus"] == "InService"
            return (settled and self._config() == before) or None

        until("the rollback", rolled_back, seconds=300)
        self._scene.mail(f"The deployment of version {version} was rolled back.")
        self.versions.only(self._scene.serving()["version"])

    def _begin(self, version: int) -> str:
        before = self._config()
        self.versions.also(version)
        # Not by the command, which takes seconds to end: a deployment may be over by then.
        self._scene.call("ops.models.approve", version, "under load", False)
        return before

    def _config(self) -> str:
        return str(self._endpoint.described()["EndpointConfigName"])

    def _settled_after(self, before: str) -> bool | None:
        endpoint = self._endpoint.described()
        settled = endpoint["EndpointStatus"] == "InService"
        return (settled and endpoint["EndpointConfigName"] != before) or None

    def _pending_after(self, _before: str) -> bool | None:
        return "PendingDeploymentSummary" in self._endpoint.described() or None


def test_deployments_and_a_rollback_under_load(scene: Scene) -> None:
    """Nothing fails, and each answer is in the table of predictions once, with its version."""
    caller, begin = Caller(scene, other_features.records(scene, DAY)), datetime.now(UTC)
    rate, outcomes = load.capacity(caller, BURST_SECONDS)
    print(f"\n{caller.mode}: {rate:.1f} requests a second in a burst", flush=True)
    assert [one for one in outcomes if one.error] == []
    deployments = Deployments(scene)
    with Load(caller, UTILISATION * rate).running() as running:
        running.wait(SECONDS / 5)
        deployments.deploy(2)
        print(f"{running}, version 2 is deployed", flush=True)
        running.wait(SECONDS * 2 / 5)
        deployments.deploy(1)
        print(f"{running}, version 1 is deployed", flush=True)
        running.wait(SECONDS * 3 / 5)
        deployments.roll_back(2)
        print(f"{running}, version 2 is rolled back", flush=True)
        running.wait(SECONDS)
    print(f"{caller.mode}, at the end: {running}", flush=True)
    outcomes += running.outcomes
    assert [one for one in outcomes if one.error] == []

    assert scene.serving()["version"] == 1
    (endpoint,) = scene.serving()["endpoints"]
    assert endpoint["EndpointStatus"] == "InService"

    asked = {one.inference_id for one in outcomes}
    log = Log(scene)
    until("the log", lambda: asked <= log.read().keys() or None, seconds=600)
    assert {made: times for made, times in log.read().items() if times != 1} == {}
    check_table(scene, outcomes, deployments.versions, begin)


def ended(scene: Scene, execution: str) -> dict[str, Any] | None:
    """The state of an execution, once it is at its end."""
    state = scene.describe(execution)
    return None if state["status"] == "running" else state


def check_table(scene: Scene, outcomes: list[Outcome], versions: Versions, begin: datetime) -> None:
    """Each answer is in the table once, as it was given, with the version that has given it."""
    end = datetime.now(UTC) + timedelta(seconds=1)
    window = {"start": f"{begin:%Y-%m-%dT%H:%M:%SZ}", "end": f"{end:%Y-%m-%dT%H:%M:%SZ}"}
    request = {"trigger": "manual", "time": window["end"], "idempotency_key": "under load"}
    for execution in scene.invoke("monitoring-start", request | window)["started"].values():
        state = until("the collection", partial(ended, scene, execution), seconds=1200)
        assert state["status"] == "succeeded", state
    found = load.table(scene)
    assert {made: len(rows) for made, rows in found.items() if len(rows) != 1} == {}
    assert found.keys() == {one.inference_id for one in outcomes}
    given: dict[tuple[int, int], set[float]] = {}
    odd, waited = [], []
    asynchronous = scene.combination.inference_mode == "async"
    for one in load.answers(scene, outcomes) if asynchronous else outcomes:
        (row,) = found[one.inference_id]
        answered = max(one.answered, row.scored_at) if asynchronous else one.answered
        waited.append(replace(one, answered=answered))
        probability = float(one.answer)
        assert 0 <= probability <= 1
        given.setdefault((one.row, row.version), set()).add(probability)
        if row.probability != probability or row.version not in versions.during(one.sent, answered):
            odd.append((one, row))
    assert odd == []
    # Two versions that answer alike could be taken for each other.
    assert {place: values for place, values in given.items() if len(values) != 1} == {}
    rows = {row for row, _ in given}
    differ = [row for row in rows if given.get((row, 1)) != given.get((row, 2))]
    assert len(differ) > len(rows) / 2
    by_version = {v: sum(row.version == v for (row,) in found.values()) for v in (1, 2)}
    loaded = [one for one in waited if one.inference_id.startswith("load-")]
    print(f"{len(found)} rows in the table, by version {by_version}; {load.quantiles(loaded)}")
