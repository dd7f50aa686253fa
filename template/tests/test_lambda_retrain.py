import threading
from datetime import UTC, datetime, timedelta

import pytest
from fake_sagemaker import FakeSageMaker

from lambdas import retrain
from workflows import names

pytest_plugins = ["lambda_account"]

LOAD = {"trigger": "load", "cause": "load 0062E99A88DC407460"}
NEXT_LOAD = {"trigger": "load", "cause": "load 0062E99A88DC407461"}
ALARM = {"trigger": "alarm", "cause": "alarm 2026-01-31T12:00:00Z", "cooldown_hours": 24}
OTHER_ALARM = {**ALARM, "cause": "other alarm 2026-01-31T12:00:01Z"}


def finish(sagemaker: FakeSageMaker, hours_ago: float = 0) -> None:
    """Bring all executions to their end, and have them start some time ago."""
    for execution in sagemaker.executions.values():
        execution["PipelineExecutionStatus"] = "Succeeded"
        execution["StartTime"] = datetime.now(UTC) - timedelta(hours=hours_ago)


def test_cause_starts_the_training_and_is_on_record(sagemaker: FakeSageMaker) -> None:
    answer = retrain.handler(LOAD, None)
    (execution,) = sagemaker.executions.values()
    assert answer == {"started": execution["PipelineExecutionArn"]}
    (request,) = sagemaker.called("StartPipelineExecution")
    assert request["PipelineName"] == names.TRAINING
    assert request["PipelineParameters"] == [{"Name": "Trigger", "Value": "load"}]


def test_same_cause_again_starts_nothing(sagemaker: FakeSageMaker) -> None:
    first = retrain.handler(LOAD, None)
    assert "is running" in retrain.handler(LOAD, None)["skipped"]
    finish(sagemaker)
    assert retrain.handler(LOAD, None) == first
    assert len(sagemaker.executions) == 1


def test_another_cause_starts_another_training(sagemaker: FakeSageMaker) -> None:
    retrain.handler(LOAD, None)
    finish(sagemaker)
    assert "started" in retrain.handler(NEXT_LOAD, None)
    assert len(sagemaker.executions) == 2


@pytest.mark.usefixtures("sagemaker")
def test_running_training_is_not_doubled() -> None:
    retrain.handler(LOAD, None)
    assert "is running" in retrain.handler(NEXT_LOAD, None)["skipped"]


@pytest.mark.parametrize("events", [[LOAD] * 3, [ALARM, OTHER_ALARM, ALARM]])
def test_three_events_at_once_start_one_training(
    sagemaker: FakeSageMaker, monkeypatch: pytest.MonkeyPatch, events: list[dict[str, str]]
) -> None:
    # All three look before one of them starts.
    looked, obstacle, answers = threading.Barrier(3), retrain.obstacle, []

    def look(trigger: str, since: datetime) -> str | None:
        reason = obstacle(trigger, since)
        looked.wait()
        return reason

    monkeypatch.setattr(retrain, "obstacle", look)
    threads = [
        threading.Thread(target=lambda e=event: answers.append(retrain.handler(e, None)))
        for event in events
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (execution,) = sagemaker.executions.values()
    assert answers == [{"started": execution["PipelineExecutionArn"]}] * 3


def test_trigger_with_a_cooldown_rests(sagemaker: FakeSageMaker) -> None:
    retrain.handler(ALARM, None)
    finish(sagemaker, hours_ago=23)
    assert "cooldown" in retrain.handler(OTHER_ALARM, None)["skipped"]
    finish(sagemaker, hours_ago=25)
    sagemaker.executions = {f"past {k}": v for k, v in sagemaker.executions.items()}
    assert "started" in retrain.handler(OTHER_ALARM, None)


def test_cooldown_is_not_for_what_others_started(sagemaker: FakeSageMaker) -> None:
    retrain.handler(LOAD, None)
    finish(sagemaker)
    assert "started" in retrain.handler(ALARM, None)
