"""What is killed comes back: a life at any stage, an endpoint under load."""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import conftest, kills, life, other_features, scenarios
from tests.load import Caller, Load, Log, Outcome
from tests.scenarios import Combination, Scene, until

STAGES = ["start", "deploy", "data", "train", "approve", "2013-07", "2013-09", "retrain"]


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[Path]:
    project = conftest.make_project(repository, tmp_path_factory.mktemp("killed") / "project")
    try:
        yield project
    finally:
        life.end(project)


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("stage_before", STAGES)
def test_killed_after(killed: Path, stage_before: str) -> None:
    life.kill_in(killed, stage_before, seconds=1.5)
    result = life.live(killed).result
    assert [version["version"] for version in result["model_versions"]] == [1, 2]
    assert result["serving_version"] == 2
    assert result["retraining"]["started_by"] == "drift"
    assert result["failed_predictions"] == 0


def test_what_is_killed_is_as_strict_as_what_is_lived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    says = "import os, time; print('said', os.environ.get('LOCAL_AWS_IAM')); time.sleep(60)"
    monkeypatch.setattr(life, "COMMAND", (sys.executable, "-u", "-c", says))
    life.kill_in(tmp_path, "said", seconds=0)
    assert (tmp_path / ".local/killed.log").read_text() == "said enforce\n"


#: Requests a second, which an endpoint answers while it starts on a busy machine, too.
RATES = {"realtime": 20.0, "serverless": 10.0, "async": 1.0}

#: Seconds after which an endpoint answers again: a container is started a second after its end, and
#: has to load its libraries and the model. The local AWS starts in a few, and ends orphans first.
BACK_SECONDS = 90.0

#: Seconds before a kill whose answers may be missing in the log: an event waits for two at the most
#: and is written then, which takes a busy machine a while.
LOST_SECONDS = 10.0


@pytest.fixture(params=RATES)
def scene(
    request: pytest.FixtureRequest, repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    combination = Combination("sagemaker_pipelines", request.param, "binary_classification")
    folder = tmp_path_factory.mktemp("kills") / "project"
    project = conftest.make_project(repository, folder, vars(combination))
    with scenarios.staged(combination, project) as scene:
        yield scene


def outage(running: Load, kill: Callable[[], float]) -> tuple[float, float]:
    """Kill something, and wait until a request that was sent after that has an answer.

    Args:
        running: The requests.
        kill: Kills it, and tells when it has.

    Returns:
        When it was killed, and when the first answer after that was there, in seconds since 1970.
    """
    start = kill()

    def back() -> float | None:
        answered = (one for one in [*running.outcomes] if one.sent > start and not one.error)
        return min((one.answered for one in answered), default=None)

    found = until("an answer", back, seconds=BACK_SECONDS)
    print(f"{running}, back after {found - start:.1f} s", flush=True)
    return start, found


@pytest.mark.slow
@pytest.mark.exhaustive
def test_kills_under_load(scene: Scene) -> None:
    """A container is killed, then the local AWS: the endpoint answers again, the log is whole."""
    mode = scene.combination.inference_mode
    caller = Caller(scene, other_features.records(scene, "2013-07-10"))
    with Load(caller, RATES[mode]).running() as running:
        running.wait(15)
        container = outage(running, lambda: kills.kill_containers(scene))
        running.wait(time.time() - running.start + 15)
        local_aws = outage(running, lambda: kills.restart_local_aws(scene))
        running.wait(time.time() - running.start + 15)
    outcomes = running.outcomes
    for one in outcomes:
        begun, over = local_aws if one.answered > local_aws[0] else container
        outside = one.answered < begun or one.sent > over
        assert not (one.error and outside), one
        # The local AWS itself can say nothing while it is away.
        if one.error and one.answered < local_aws[0]:
            assert "(ModelError)" in one.error, one
            assert "server error" in one.error, one
    answered = [one for one in outcomes if not one.error]
    if mode == "async":
        check_answered_once(scene, answered, container[0])
    else:
        check_logged_once(scene, answered, [container[0], local_aws[0]])


def check_logged_once(scene: Scene, answered: list[Outcome], kills: list[float]) -> None:
    """Nothing is twice in the log; of what was answered, only the last seconds may be missing.

    The platform captures what the real-time endpoint answers: it loses nothing with a container.
    """
    losing = kills if scene.combination.inference_mode == "serverless" else kills[1:]

    def may_be_lost(one: Outcome) -> bool:
        return any(kill - LOST_SECONDS < one.answered < kill + 1 for kill in losing)

    kept = {one.inference_id for one in answered if not may_be_lost(one)}
    log = Log(scene)
    until("the log", lambda: kept <= log.read().keys() or None, seconds=120)
    assert {made: times for made, times in log.read().items() if times != 1} == {}
    lost = {one.inference_id for one in answered} - log.read().keys()
    print(f"{len(answered)} answered, {len(lost)} of them are not in the log")


def check_answered_once(scene: Scene, queued: list[Outcome], kill: float) -> None:
    """What was in the queue is answered and logged once; what the container had, failed."""
    places = {one.answer.partition(f"{scene.bucket}/")[2]: one.inference_id for one in queued}
    failures = "async/failures/"

    def ended() -> tuple[set[str], set[str]] | None:
        answers = {places[key] for key in scene.keys("async/answers/") if key in places}
        failed = {made for key, made in places.items() if failure_of(key) in scene.keys(failures)}
        return (answers, failed) if len(answers | failed) == len(places) else None

    answers, failed = until("the answers", ended, seconds=300)
    assert not answers & failed
    under_way = {one.inference_id for one in queued if one.sent < kill}
    assert failed <= under_way
    assert len(failed) <= 4, "as many as an instance has at the same time"
    log = Log(scene)
    until("the log", lambda: answers <= log.read().keys() or None, seconds=120)
    assert log.read() == dict.fromkeys(answers, 1)
    print(f"{len(places)} queued, {len(answers)} answered and in the log, {len(failed)} failed")


def failure_of(answer: str) -> str:
    """The key of a failure, by that of the answer that would be there in its place."""
    stem = answer.replace("async/answers/", "async/failures/").removesuffix(".out")
    return f"{stem}-error.out"
