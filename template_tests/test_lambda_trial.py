"""A version is tried before it serves, and brought back when it does no good."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto.sns.models import sns_backends
from support.fake_sagemaker import ACCOUNT, BUCKET, RefusalError
from support.inference_endpoint import Endless, SageMaker, approve, serve

from lambdas import deploy, trial
from workflows import names

NAMES = names.Names()

pytest_plugins = ["support.lambda_account"]

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploy, "POLL_SECONDS", 0)


def approved(fake: SageMaker, version: int, time: datetime) -> str:
    """A version that `ops models approve` has approved."""
    return fake.add_package(version, ApprovedAt=time.isoformat())


@pytest.fixture
def first(sagemaker: SageMaker) -> str:
    """A version that serves since noon."""
    package = approved(sagemaker, 1, NOON)
    serve(sagemaker, package, NOON)
    return package


def mails(session: boto3.Session) -> list[tuple[str, str]]:
    """Subject and text of what was published."""
    (topic,) = sns_backends[ACCOUNT][session.region_name].topics.values()
    return [(str(mail[2]), mail[1]) for mail in topic.sent_notifications]


def alarm() -> dict[str, Any]:
    """An alarm that rolls back has gone off."""
    detail = {"alarmName": NAMES.rollback_alarms[0], "state": {"value": "ALARM"}}
    return {"detail-type": "CloudWatch Alarm State Change", "detail": detail}


def nothing_is_left(sagemaker: SageMaker) -> None:
    """Of a trial."""
    for known in (sagemaker.endpoints, sagemaker.configs, sagemaker.models):
        assert not [name for name in known if name.endswith("-trial")]


def test_version_answers_a_row_of_its_schema_before_it_serves(sagemaker: SageMaker) -> None:
    assert approve(approved(sagemaker, 1, NOON), NOON) == "created the endpoint"
    row = {"hour": 1, "carrier": "UA", "route": None}
    assert sagemaker.asked == [{"instances": [row]}]
    nothing_is_left(sagemaker)
    # It was asked at an endpoint that nobody else asks, before there was another one.
    created = [request for name, request in sagemaker.calls if name == "CreateEndpoint"]
    assert [request["EndpointName"] for request in created] == [NAMES.trial, NAMES.endpoint]
    configs = [request for name, request in sagemaker.calls if name == "CreateEndpointConfig"]
    assert configs[0]["ProductionVariants"][0]["ServerlessConfig"] == {
        "MemorySizeInMB": 2048,
        "MaxConcurrency": 1,
    }
    models = [request for name, request in sagemaker.calls if name == "CreateModel"]
    assert "Environment" not in models[0]["PrimaryContainer"], "nothing of it is logged"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((424, "ModelError"), "ModelError"),
        ((200, {"predictions": []}), "which is no prediction"),
        ((200, {"predictions": [{"other": 1}]}), "it answers with other instead of score"),
        ((200, [1]), "which is no prediction"),
    ],
)
def test_version_that_cannot_predict_does_not_serve(
    session: boto3.Session, sagemaker: SageMaker, first: str, answer: tuple[int, Any], reason: str
) -> None:
    sagemaker.answer = answer
    second = approved(sagemaker, 2, NOON + HOUR)
    outcome = approve(second, NOON + HOUR)
    assert outcome.startswith("not deployed, ")
    assert reason in outcome
    assert sagemaker.serving() == first
    assert sagemaker.endpoints[NAMES.endpoint]["EndpointStatus"] == "InService"
    assert not sagemaker.called("UpdateEndpoint")
    nothing_is_left(sagemaker)
    ((subject, text),) = mails(session)
    assert subject == f"{NAMES.endpoint}: version 2 has failed its trial"
    for part in (reason, "ops models reject 2", second):
        assert part in text
    # The event comes again.
    asked = len(sagemaker.asked)
    assert approve(second, NOON + HOUR).startswith("ignored, this approval was tried and refused")
    assert len(sagemaker.asked) == asked
    # Whoever approves it again means it.
    sagemaker.answer = (200, {"predictions": [{"score": 0.5}]})
    assert approve(approved(sagemaker, 2, NOON + 2 * HOUR), NOON + 2 * HOUR) == (
        "updated the endpoint"
    )


@pytest.mark.usefixtures("first")
def test_container_that_does_not_start_does_not_serve(sagemaker: SageMaker) -> None:
    sagemaker.tried = "Failed"
    outcome = approve(approved(sagemaker, 2, NOON + HOUR), NOON + HOUR)
    assert outcome == "not deployed, no answer to ping"
    nothing_is_left(sagemaker)


@pytest.mark.usefixtures("first")
def test_version_whose_image_is_gone_does_not_serve(sagemaker: SageMaker) -> None:
    def refuse(_: object) -> dict[str, Any]:
        raise RefusalError("Requested image was not found.")

    sagemaker.operations["CreateModel"] = refuse
    outcome = approve(approved(sagemaker, 2, NOON + HOUR), NOON + HOUR)
    assert outcome == "not deployed, Requested image was not found."
    nothing_is_left(sagemaker)


@pytest.mark.usefixtures("first")
def test_version_of_before_that_does_not_log_does_not_serve(sagemaker: SageMaker) -> None:
    package = approved(sagemaker, 2, NOON + HOUR)
    del sagemaker.packages[package]["CustomerMetadataProperties"]["InferenceLog"]
    assert "does not log what it predicts" in approve(package, NOON + HOUR)
    nothing_is_left(sagemaker)


def test_trial_is_taken_up_again_after_a_crash(
    sagemaker: SageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = approved(sagemaker, 1, NOON)
    with monkeypatch.context() as crash:
        crash.setattr(trial, "ask", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            approve(package, NOON)
    assert NAMES.trial in sagemaker.endpoints
    assert approve(package, NOON) == "created the endpoint"
    nothing_is_left(sagemaker)


def test_trial_that_a_crash_has_left_is_in_nobodys_way(
    sagemaker: SageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as crash:
        crash.setattr(trial, "ask", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            approve(approved(sagemaker, 1, NOON), NOON)
    second = approved(sagemaker, 2, NOON + HOUR)
    assert approve(second, NOON + HOUR) == "created the endpoint"
    sagemaker.finish()
    assert sagemaker.serving() == second
    nothing_is_left(sagemaker)


def test_trial_of_a_newer_approval_goes_first(
    sagemaker: SageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = approved(sagemaker, 2, NOON + HOUR)
    with monkeypatch.context() as crash:
        crash.setattr(trial, "ask", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            approve(newer, NOON + HOUR)

    def finish(_: float) -> None:
        """The newer one takes its trial up again, and passes it, while the older one waits."""
        if NAMES.endpoint not in sagemaker.endpoints:
            approve(newer, NOON + HOUR)

    monkeypatch.setattr("lambdas.deploy.time.sleep", finish)
    assert approve(approved(sagemaker, 1, NOON), NOON) == f"ignored, {newer} was approved later"


def test_endpoint_that_is_not_ready_is_asked_again(
    sagemaker: SageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    sagemaker.answer = (429, "ModelNotReadyException")

    def ready(_: float) -> None:
        if sagemaker.asked:
            sagemaker.answer = (200, {"predictions": [{"score": 0.5}]})

    monkeypatch.setattr("lambdas.deploy.time.sleep", ready)
    assert approve(approved(sagemaker, 1, NOON), NOON) == "created the endpoint"
    assert len(sagemaker.asked) == 2


def test_answer_that_is_refused_for_another_reason_is_an_error(sagemaker: SageMaker) -> None:
    sagemaker.answer = (403, "AccessDeniedException")
    with pytest.raises(ClientError, match="AccessDeniedException"):
        approve(approved(sagemaker, 1, NOON), NOON)


def test_alarm_brings_the_version_before_back(sagemaker: SageMaker, first: str) -> None:
    second = approved(sagemaker, 2, NOON + HOUR)
    serve(sagemaker, second, NOON + HOUR)
    assert sagemaker.serving() == second
    answer = deploy.handler(alarm(), Endless())
    assert answer["outcome"] == f"brought {names.PROJECT}-1-20260131120000000 back"
    assert deploy.handler(alarm(), Endless())["outcome"].startswith("ignored")
    sagemaker.finish()
    assert sagemaker.serving() == first
    assert approve(second, NOON + HOUR) == "ignored, this approval was deployed and rolled back"
    record = trial.recorded(f"{names.PROJECT}-2-20260131130000000")
    assert record["reason"] == f"the alarm {NAMES.rollback_alarms[0]} has gone off"
    # The version before is that of no deployment that an alarm could roll back.
    assert deploy.handler(alarm(), Endless())["outcome"] == "ignored, no version has served before"
    assert sagemaker.serving() == first


@pytest.mark.usefixtures("first")
def test_alarm_changes_nothing_once_a_version_has_served_for_some_time(
    sagemaker: SageMaker, session: boto3.Session
) -> None:
    second = approved(sagemaker, 2, NOON + HOUR)
    serve(sagemaker, second, NOON + HOUR)
    name = f"{names.PROJECT}-2-20260131130000000"
    known = trial.recorded(name)
    old = json.dumps({**known, "since": known["since"] - 901}).encode()
    session.client("s3").put_object(Bucket=BUCKET, Key=f"deployments/{name}.json", Body=old)
    outcome = deploy.handler(alarm(), Endless())["outcome"]
    assert outcome == "ignored, the version has served for some time"
    assert sagemaker.serving() == second


def test_alarm_on_the_first_version_changes_nothing(sagemaker: SageMaker, first: str) -> None:
    assert deploy.handler(alarm(), Endless())["outcome"] == "ignored, no version has served before"
    assert sagemaker.serving() == first


def test_alarm_without_an_endpoint_changes_nothing(sagemaker: SageMaker) -> None:
    outcome = deploy.handler(alarm(), Endless())["outcome"]
    assert outcome == "ignored, the endpoint is not in service"
    assert not sagemaker.endpoints
