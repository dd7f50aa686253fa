"""What happens means the same with each orchestrator and in each mode."""

import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import conftest, life, other_features, scaling, scenarios
from tests.other_features import Records
from tests.scenarios import OUT_OF_REACH, Combination, Scene, until

pytestmark = pytest.mark.slow

COMBINATIONS = list(scenarios.combinations())
DEFAULT = Combination("sagemaker_pipelines", "realtime", "binary_classification")
QUICK = [one for one in COMBINATIONS if one.orchestrator != "airflow"]  # which takes minutes more
FARTHEST = [one for one in QUICK if one.problem_type == "regression"][-1]

# A job of each workflow that takes long enough to be stopped, with these parameters; and what its
# first job is called.
LONG_JOBS = {"training": ("training-job", {}), "batch": ("transform-job", {"Start": "2013-01-01"})}
FIRST_JOBS = {"training": "prepare", "batch": "select"}


def in_these(combinations: list[Combination]) -> pytest.MarkDecorator:
    """Play a scenario with combinations; `make test` plays two of them."""
    usual = (DEFAULT, FARTHEST)
    params = [
        pytest.param(one, id=str(one), marks=() if one in usual else pytest.mark.exhaustive)
        for one in combinations
    ]
    return pytest.mark.parametrize("scene", params, indirect=True)


everywhere = in_these(COMBINATIONS)
in_realtime = in_these([c for c in COMBINATIONS if c.inference_mode == "realtime"])
in_batch = in_these([combination for combination in COMBINATIONS if combination.batch])


@pytest.fixture(scope="module")
def scene(
    request: pytest.FixtureRequest, repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    combination: Combination = request.param
    if combination == DEFAULT:
        project = request.getfixturevalue("project")
    else:
        folder = tmp_path_factory.mktemp("scene") / "project"
        project = conftest.make_project(repository, folder, vars(combination))
    with scenarios.staged(combination, project) as scene:
        yield scene


@pytest.fixture(scope="module")
def plain_metrics(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[Scene], dict[str, float]]:
    """The metrics of a scene's first version without AWS; worked out once for a kind of model."""
    known: dict[tuple[str, str], dict[str, float]] = {}

    def metrics(scene: Scene) -> dict[str, float]:
        kind = scene.combination.problem_type, scene.combination.framework
        if kind not in known:
            folder = tmp_path_factory.mktemp("plain")
            known[kind] = scenarios.plain_metrics(scene.life.project, folder)
        return known[kind]

    return metrics


@everywhere
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


@in_batch
def test_nothing_is_scored_before_a_version_is_approved(scene: Scene) -> None:
    """The load that trained the first version is an event for the batch workflow too."""
    assert "new_data" not in map(scene.trigger, scene.executions("batch"))


@everywhere
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
        # The value beside the threshold.
        judged = rf"{metric} on the test data is \d\S*, (below|above) the threshold "
        assert re.search(judged + re.escape(threshold), told)


def check_failing_job(scene: Scene, workflow: str) -> None:
    before = scene.versions()
    state = scene.run_on_a_broken_file(workflow)
    assert state["status"] == "failed"
    assert scene.versions() == before
    mail = scene.mail(state["reference"])
    assert mail["subject"] == f"{scene.workflow(workflow)} failed"
    reason = f"error: {FIRST_JOBS[workflow]}: flights: 2013-10.parquet is not a Parquet file"
    for told in (state["reason"], mail["text"]):
        assert reason in told
        assert "AlgorithmError" in told
        assert "Traceback" not in told


def check_stop(scene: Scene, workflow: str) -> None:
    before, (kind, parameters) = scene.versions(), LONG_JOBS[workflow]
    execution = scene.start(workflow, **parameters)
    running = until(f"a {kind}", lambda: scene.running(kind))
    scene.call("ops.workflow.stop", execution)
    assert scene.ended(execution)["status"] == "stopped"
    # Stopping takes a moment, in which the job no longer counts as running.
    until("the job's end", lambda: scene.jobs()[running] not in {"InProgress", "Stopping"} or None)
    jobs = scene.jobs()
    assert jobs[running] == "Stopped"
    # While another execution comes to its end: no step follows, and nobody is told of a failure.
    scene.mail(scene.run_on_a_broken_file(workflow)["reference"])
    assert len(scene.jobs()) == len(jobs) + 1
    assert not any(execution in mail["text"] for mail in scene.mails())
    assert scene.versions() == before


@everywhere
def test_failing_job(scene: Scene) -> None:
    check_failing_job(scene, "training")


@in_batch
def test_failing_job_of_a_batch(scene: Scene) -> None:
    check_failing_job(scene, "batch")


@everywhere
def test_stop(scene: Scene) -> None:
    check_stop(scene, "training")


@in_batch
def test_stop_of_a_batch(scene: Scene) -> None:
    check_stop(scene, "batch")


@everywhere
@pytest.mark.parametrize(
    ("event", "key"),
    [
        ({"trigger": "new_data"}, "mart/_SUCCESS"),
        ({"trigger": "drift", "cause": "an alarm", "cooldown_hours": 24}, "mart/late.txt"),
    ],
    ids=["new_data", "drift"],
)
def test_repeated_event_trains_once(scene: Scene, event: dict[str, Any], key: str) -> None:
    """EventBridge delivers at least once: thrice at a time, and again when all is over."""
    before = scene.executions()
    with scene.written(key):  # which the last training has not seen
        answers = life.at_once(3, lambda: scene.invoke("retrain", event))
        (execution,) = set(scene.executions()) - set(before)
        assert {answer["started"] for answer in answers if "started" in answer} <= {execution}
        assert scene.describe(execution)["parameters"]["Trigger"] == event["trigger"]
        scene.call("ops.workflow.stop", execution)
        scene.ended(execution)
        scene.invoke("retrain", event)
        assert scene.executions() == [execution, *before]


@everywhere
def test_load_that_arrives_during_a_training_has_one_after_it(scene: Scene) -> None:
    before = scene.executions()
    running = scene.start("training")
    with scene.written("mart/_SUCCESS"):
        assert "is running" in scene.invoke("retrain", {"trigger": "new_data"})["skipped"]
        scene.call("ops.workflow.stop", running)
        until("the training after it", lambda: len(scene.executions()) > len(before) + 1 or None)
        after = scene.executions()[0]
        assert scene.trigger(after) == "new_data"
        scene.call("ops.workflow.stop", after)
        scene.ended(after)
        for event in ({"trigger": "new_data"}, {"trigger": "new_data", "ended": after}):
            scene.invoke("retrain", event)
        assert scene.executions() == [after, running, *before]


@everywhere
@pytest.mark.parametrize("copies", [1, 3])
def test_repeated_approval_deploys_nothing(scene: Scene, copies: int) -> None:
    before, mails = scene.serving(), scene.mails()
    event = {
        "detail-type": "SageMaker Model Package State Change",
        "source": "aws.sagemaker",
        "time": "2026-01-01T00:00:00Z",
        "detail": {
            "ModelPackageArn": scene.versions()[-1]["arn"],
            "ModelApprovalStatus": "Approved",
        },
    }
    function = "batch-deploy" if scene.combination.batch else "deploy"
    life.at_once(copies, lambda: scene.invoke(function, event))
    assert scene.serving() == before
    assert scene.mails() == mails


@everywhere
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
    again = scene.versions()
    for version in (*registered, *again):
        del version["properties"]["ApprovedAt"]
    assert again == registered


@in_batch
def test_rerun_replaces_the_day(scene: Scene) -> None:
    """With records that cannot be scored, which are reported one by one; then without them."""
    day = "2013-06-30"
    scene.score(day)
    rows = scene.scored(day)
    assert rows["rows"] == rows["records"] > 0
    assert scene.life.counted(day, day) == {"1": rows["rows"]}
    broken = scene.break_records(day)
    try:
        said = scene.score(day)
    finally:
        scene.life.client("s3").delete_object(Bucket=scene.bucket, Key=broken.key)
    assert f"{len(broken.reasons)} records rejected" in said
    for record, reason in broken.reasons:
        assert (record, reason) in scene.rejected(day)
    assert len(scene.rejected(day)) == len(broken.reasons)
    left = scene.scored(day)
    assert left["rows"] == rows["rows"] - broken.lost
    said = scene.score(day)
    assert "0 records rejected" in said
    assert scene.rejected(day) == []
    again = scene.scored(day)
    assert (again["rows"], again["records"]) == (rows["rows"], rows["records"])
    assert again["scored_at"] > left["scored_at"] > rows["scored_at"]


@in_batch
def test_repeated_load_scores_once(scene: Scene) -> None:
    before = scene.executions("batch")
    event = {"trigger": "new_data", "cause": "a load whose event comes again"}
    answers = life.at_once(3, lambda: scene.invoke("batch-start", event))
    (execution,) = {answer["started"] for answer in answers}
    assert scene.ended(execution)["status"] == "succeeded"
    scene.invoke("batch-start", event)
    assert scene.executions("batch") == [execution, *before]


def check_judged(reports: dict[str, Any], *judged: Records) -> None:
    """The monitors have seen these records, all of them, each feature in its own column."""
    names = judged[0].names
    rows = sum(len(records.ids) for records in judged)
    data = reports["data_quality"]
    assert data["dataset"]["item_count"] == rows
    features = {feature["name"]: feature for feature in data["features"]}
    assert list(features) == names
    for name, feature in features.items():
        values = [value for records in judged for value in records.column(name)]
        numbers = feature.get("numerical_statistics")
        common = (numbers or feature["string_statistics"])["common"]
        assert (common["num_present"], common["num_missing"]) == (len(values), rows - len(values))
        if numbers:
            assert numbers["mean"] == pytest.approx(sum(values) / len(values))
            assert (numbers["min"], numbers["max"]) == pytest.approx((min(values), max(values)))
        else:
            buckets = feature["string_statistics"]["distribution"]["categorical"]["buckets"]
            assert {bucket["value"]: bucket["count"] for bucket in buckets} == Counter(values)
    labelled = sum(len(records.labels) for records in judged)
    assert reports["model_quality"]["dataset"]["item_count"] == labelled


@pytest.mark.exhaustive
@in_realtime
def test_endpoint_is_scaled_and_a_deployment_rolled_back(scene: Scene) -> None:
    """Requests bring a second instance, which deployments keep, one that is rolled back too."""

    def instances(config: str, count: int) -> None:
        until(f"{count} instances", lambda: endpoint.instances(config) == count or None)

    with scaling.scaled(scene, most=2, requests=5) as endpoint:
        first = endpoint.approve()
        instances(first, 1)
        mails = scene.mails()
        endpoint.measure("InvocationsPerInstance", 20, range(1, 3))
        endpoint.ask(20)
        instances(first, 2)
        assert scene.mails() == mails

        second = endpoint.approve()
        instances(second, 2)
        policy = endpoint.described()["LastDeploymentConfig"]["BlueGreenUpdatePolicy"]
        assert policy["TrafficRoutingConfiguration"]["Type"] == "CANARY"

        endpoint.approve()
        endpoint.fail()
        mail = scene.mail("The deployment of version 1 was rolled back.")
        assert mail["subject"].endswith("version 1 was rolled back, version 1 serves")
        instances(second, 2)

        def scaled_in() -> bool | None:
            endpoint.expect(100_000)
            endpoint.measure("InvocationsPerInstance", 0, range(1, 17))
            return endpoint.instances(second) == 1 or None

        until("one instance less", scaled_in)


# The last one: it leaves versions with other features, and other definitions.
@pytest.mark.exhaustive
@everywhere
def test_each_version_is_judged_by_itself(scene: Scene, tmp_path: Path) -> None:
    """Version 2 has one feature more and another one replaced; in the end version 1 is back."""
    code = tmp_path / "code"
    shutil.copytree(scene.life.project / "src", code / "src")
    shutil.copy(scene.life.project / "usecase.toml", code)
    other_features.bring(scene, "2013-07")
    first, second, last = (other_features.records(scene, f"2013-07-{day}") for day in (10, 11, 15))
    start, _ = other_features.predict(scene, first)
    with other_features.deployed(scene):
        scene.life.ops("train")
        # Version 1 serves and is monitored meanwhile.
        _, end = other_features.predict(scene, second)
        assert scene.serving()["version"] == 1
        reports = other_features.monitored(scene, start, end)
        assert set(reports) == {"1"}
        check_judged(reports["1"], first, second)

        # Not the newest that is pending: what the monitors find may have started a training.
        said = scene.life.ops("models", "compare", "2")
        for difference in other_features.CHANGES:
            assert difference in said
        (key,) = scene.keys("comparisons/")
        (section,) = (v for k, v in json.loads(scene.read(key)).items() if k.endswith("_metrics"))
        compared = dict(scenarios.numbers(section))
        for metric, value in other_features.plain_comparison(scene, code, tmp_path).items():
            assert compared[metric] == pytest.approx(value)
            assert f"{value:.3f}" in said

        scene.life.ops("models", "approve", "2")
        third = other_features.records(scene, "2013-07-12")
        assert len(third.names) == len(first.names) + 1
        since, end = other_features.predict(scene, third)
        reports = other_features.monitored(scene, since, end)
        assert set(reports) == {"2"}
        check_judged(reports["2"], third)
        # A window that spans the deployment.
        reports = other_features.monitored(scene, start, end)
        assert set(reports) == {"1", "2"}
        check_judged(reports["1"], first, second)
        check_judged(reports["2"], third)

        scene.life.ops("models", "approve", "1")
        since, end = other_features.predict(scene, last)
        assert scene.serving()["version"] == 1
        reports = other_features.monitored(scene, since, end)
        assert set(reports) == {"1"}
        check_judged(reports["1"], last)

        # A monitor that fails takes no other along, and people hear which one and why.
        execution = scene.versions()[-1]["properties"]["Execution"]
        key = f"training/{execution}/evaluation/constraints.json"
        scene.life.client("s3").put_object(Bucket=scene.bucket, Key=key, Body=b"[]")
        reports = other_features.monitored(scene, since, end, broken="model_quality")
        assert reports["1"]["data_quality"]["dataset"]["item_count"] == len(last.ids)
        assert "model_quality: " in scene.mail("constraints.json: is not a JSON object")["text"]
