"""What happens means the same with each orchestrator and in each mode."""

from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tests import conftest, life, scenarios
from tests.scenarios import OUT_OF_REACH, Combination, Scene, until

pytestmark = pytest.mark.slow

ORCHESTRATORS = ("sagemaker_pipelines", "step_functions")
MODES = ("realtime",)
DEFAULT = Combination("sagemaker_pipelines", "realtime", "binary_classification")
FARTHEST = Combination(ORCHESTRATORS[-1], MODES[-1], "regression")
COMBINATIONS = [
    *(
        Combination(*answers)
        for answers in product(ORCHESTRATORS, MODES, ("binary_classification", "regression"))
    ),
    Combination(ORCHESTRATORS[-1], MODES[0], "multiclass_classification"),
]


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(
            combination,
            id=str(combination),
            marks=() if combination in (DEFAULT, FARTHEST) else pytest.mark.exhaustive,
        )
        for combination in COMBINATIONS
    ],
)
def scene(
    request: pytest.FixtureRequest, repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    combination: Combination = request.param
    if combination == DEFAULT:
        project = request.getfixturevalue("project")
    else:
        folder = tmp_path_factory.mktemp("scene") / "project"
        project = conftest.make_project(repository, folder, vars(combination))
    try:
        scene = Scene(combination, project)
        yield scene
        scene.call.close()
    finally:
        life.end(project)


@pytest.fixture(scope="module")
def plain_metrics(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[Scene], dict[str, float]]:
    """The metrics of a scene's first version without AWS; worked out once for a problem type."""
    known: dict[str, dict[str, float]] = {}

    def metrics(scene: Scene) -> dict[str, float]:
        problem = scene.combination.problem_type
        if problem not in known:
            folder = tmp_path_factory.mktemp("plain")
            known[problem] = scenarios.plain_metrics(scene.life.project, folder)
        return known[problem]

    return metrics


def test_first_version(scene: Scene, plain_metrics: Callable[[Scene], dict[str, float]]) -> None:
    """New data trains it, to the last digit as without AWS; a person approves it; it predicts."""
    version = scene.versions()[-1]
    assert (version["number"], version["approval"]) == (1, "Approved")
    assert version["trigger"] == "new_data"
    assert version["metrics"] == plain_metrics(scene)
    assert scene.serving()["version"] == 1
    (execution,) = (arn for arn in scene.executions() if scene.trigger(arn) == "new_data")
    assert scene.describe(execution)["status"] == "succeeded"
    waits = scene.mail("models approve 1")
    assert waits["subject"] == f"{scene.life.slug}: version 1 awaits approval"


def test_below_the_threshold(scene: Scene) -> None:
    before = scene.versions()
    metric, threshold = OUT_OF_REACH[scene.combination.problem_type]
    with pytest.raises(AssertionError, match="failed") as error:
        scene.life.ops("train", "--threshold", threshold)
    execution = scene.executions()[0]
    state = scene.describe(execution)
    assert state["status"] == "failed"
    assert execution in str(error.value)
    assert scene.versions() == before
    mail = scene.mail(execution)
    assert mail["subject"] == f"{scene.life.slug}-training failed"
    for told in (str(error.value), state["reason"], mail["text"]):
        assert metric in told
        assert threshold in told


def test_failing_job(scene: Scene) -> None:
    before = scene.versions()
    state = scene.train_on_a_broken_file()
    assert state["status"] == "failed"
    assert scene.versions() == before
    for told in (state["reason"], scene.mail(state["arn"])["text"]):
        assert "error: prepare: flights: 2013-10.parquet is no Parquet file" in told
        assert "AlgorithmError" in told
        assert "Traceback" not in told


def test_stop(scene: Scene) -> None:
    before = scene.versions()
    execution = scene.start(Trigger="manual")
    training = until("a training job", lambda: scene.running("training-job"))
    scene.call("ops.workflow.stop", execution)
    assert scene.ended(execution)["status"] == "stopped"
    until("the job's end", lambda: not scene.running("training-job") or None)
    jobs = scene.jobs()
    assert jobs[training] == "Stopped"
    # While another execution comes to its end: no step follows, and nobody is told of a failure.
    scene.mail(scene.train_on_a_broken_file()["arn"])
    assert len(scene.jobs()) == len(jobs) + 1
    assert not any(execution in mail["text"] for mail in scene.mails())
    assert scene.versions() == before


@pytest.mark.parametrize(
    "event",
    [
        {"trigger": "new_data", "cause": "a load whose event comes again"},
        {"trigger": "drift", "cause": "an alarm", "cooldown_hours": 24},
    ],
    ids=lambda event: str(event["trigger"]),
)
def test_repeated_event_trains_once(scene: Scene, event: dict[str, Any]) -> None:
    """EventBridge delivers at least once: thrice at a time, and again when all is over."""
    before = scene.executions()
    answers = life.at_once(3, lambda: scene.invoke("retrain", event))
    (execution,) = {answer["started"] for answer in answers if "started" in answer}
    assert scene.describe(execution)["parameters"]["Trigger"] == event["trigger"]
    scene.call("ops.workflow.stop", execution)
    scene.ended(execution)
    scene.invoke("retrain", event)
    assert scene.executions() == [execution, *before]


@pytest.mark.parametrize("copies", [1, 3])
def test_repeated_approval_deploys_nothing(scene: Scene, copies: int) -> None:
    before = scene.serving()
    event = {
        "detail-type": "SageMaker Model Package State Change",
        "source": "aws.sagemaker",
        "time": "2026-01-01T00:00:00Z",
        "detail": {
            "ModelPackageArn": scene.versions()[-1]["arn"],
            "ModelApprovalStatus": "Approved",
        },
    }
    answers = life.at_once(copies, lambda: scene.invoke("deploy", event))
    assert {answer["outcome"] for answer in answers} == {"ignored, this approval is deployed"}
    assert scene.serving() == before


def test_approving_again(scene: Scene) -> None:
    """The same version once more is a deployment of its own, which changes nothing but that."""
    before, registered = scene.serving(), scene.versions()
    scene.life.ops("models", "approve", "1")

    def deployed() -> dict[str, Any] | None:
        now = scene.serving()
        busy = any(endpoint["EndpointStatus"] != "InService" for endpoint in now["endpoints"])
        return None if busy or now["models"] == before["models"] else now

    after = until("the deployment", deployed)
    assert after["version"] == 1
    assert len(after["models"]) == len(before["models"]) + 1
    assert scene.versions() == registered
