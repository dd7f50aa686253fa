import json
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from fake_sagemaker import ACCOUNT, ARN, BUCKET, Endless, FakeSageMaker
from moto.sns.models import sns_backends

from lambdas import deploy, notify
from workflows import names

pytest_plugins = ["lambda_account"]

EVALUATION = {
    "version": 0.0,
    names.QUALITY_METRICS: {
        "score": {"value": 0.7012345, "standard_deviation": 0.01},
        "matrix": {"0": {"0": 10, "1": 2}},
        "undefined": {"value": "NaN"},
        "score_best_constant_classifier": {"value": 1.0},
    },
}


def mails(session: boto3.Session) -> list[tuple[str, str]]:
    """Subject and text of what was published."""
    topics = sns_backends[ACCOUNT][session.region_name].topics
    (topic,) = topics.values()
    return [(str(mail[2]), mail[1]) for mail in topic.sent_notifications]


def pending(arn: str) -> dict[str, Any]:
    return {
        "detail-type": "SageMaker Model Package State Change",
        "detail": {
            "ModelPackageArn": arn,
            "ModelPackageGroupName": names.MODEL_PACKAGE_GROUP,
            "ModelPackageVersion": 3,
        },
    }


@pytest.fixture
def version(session: boto3.Session, sagemaker: FakeSageMaker) -> str:
    session.client("s3").put_object(
        Bucket=BUCKET,
        Key="training/execution3/evaluation/statistics.json",
        Body=json.dumps(EVALUATION).encode(),
    )
    return sagemaker.add_package(3, "PendingManualApproval", Trigger="manual")


def test_pending_version_comes_with_its_metrics_and_the_commands(
    session: boto3.Session, version: str
) -> None:
    notify.handler(pending(version), None)
    ((subject, text),) = mails(session)
    assert subject == f"{names.MODEL_PACKAGE_GROUP}: version 3 awaits approval"
    for part in ("started by manual", "0.7012", "ops models compare 3", "ops models approve 3"):
        assert part in text
    for part in ("matrix", "NaN", "constant_classifier"):
        assert part not in text


def test_same_thing_is_told_once(session: boto3.Session, version: str) -> None:
    outcomes = [notify.handler(pending(version), None)["outcome"] for _ in range(3)]
    assert outcomes == ["sent", "was sent before", "was sent before"]
    assert len(mails(session)) == 1


def test_mail_that_could_not_be_sent_is_sent_by_the_retry(
    session: boto3.Session, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = session.client("sns").list_topics()["Topics"][0]["TopicArn"]
    monkeypatch.setenv("TOPIC", topic + "-gone")
    with pytest.raises(session.client("sns").exceptions.NotFoundException):
        notify.handler(pending(version), None)
    monkeypatch.setenv("TOPIC", topic)
    assert notify.handler(pending(version), None)["outcome"] == "sent"


def test_failed_workflow_comes_with_the_reason_of_its_steps(
    session: boto3.Session, sagemaker: FakeSageMaker
) -> None:
    execution = f"{ARN}:pipeline/{names.TRAINING}/execution/abc123"
    sagemaker.steps[execution] = [
        {"StepName": "Train", "StepStatus": "Succeeded"},
        {"StepName": "Gate", "StepStatus": "Failed", "FailureReason": "score is below 0.6"},
    ]
    event = {
        "detail-type": "SageMaker Model Building Pipeline Execution Status Change",
        "detail": {
            "pipelineExecutionArn": execution,
            "pipelineArn": f"{ARN}:pipeline/{names.TRAINING}",
        },
    }
    notify.handler(event, None)
    ((subject, text),) = mails(session)
    assert subject == f"{names.TRAINING} failed"
    assert "Gate: score is below 0.6" in text
    assert "Train:" not in text


@pytest.mark.parametrize(
    ("status", "subject"),
    [("IN_SERVICE", "version 3 serves"), ("FAILED", "deployment failed")],
)
def test_end_of_a_deployment_names_the_version(
    session: boto3.Session, sagemaker: FakeSageMaker, status: str, subject: str
) -> None:
    deploy.run(sagemaker.add_package(3), datetime(2026, 1, 1, tzinfo=UTC), Endless())
    sagemaker.endpoints[names.ENDPOINT]["FailureReason"] = "no answer to ping"
    event = {
        "detail-type": "SageMaker Endpoint State Change",
        "detail": {
            "EndpointName": names.ENDPOINT,
            "EndpointArn": f"{ARN}:endpoint/{names.ENDPOINT}",
            "EndpointConfigName": sagemaker.endpoints[names.ENDPOINT]["EndpointConfigName"],
            "EndpointStatus": status,
            "LastModifiedTime": 1592411994287.0,
        },
    }
    notify.handler(event, None)
    ((found, text),) = mails(session)
    assert found == f"{names.ENDPOINT}: {subject}"
    assert "version 3" in text
    assert ("no answer to ping" in text) == (status == "FAILED")


def test_alarm_says_what_to_do_and_is_told_each_time_it_goes_off(session: boto3.Session) -> None:
    name = names.ENDPOINT_ALARM
    for timestamp in ("2026-01-31T12:00:00.000+0000", "2026-02-01T12:00:00.000+0000"):
        event = {
            "detail-type": "CloudWatch Alarm State Change",
            "detail": {
                "alarmName": name,
                "state": {"value": "ALARM", "reason": "Threshold Crossed", "timestamp": timestamp},
                "configuration": {"description": "Look at the endpoint's log."},
            },
        }
        notify.handler(event, None)
        notify.handler(event, None)
    subjects, texts = zip(*mails(session), strict=True)
    assert subjects == (f"Alarm {name}", f"Alarm {name}")
    assert all("Look at the endpoint's log." in text for text in texts)


@pytest.mark.usefixtures("session")
def test_event_of_another_type_is_refused() -> None:
    with pytest.raises(ValueError, match="no mail for events of type 'Object Created'"):
        notify.handler({"detail-type": "Object Created", "detail": {}}, None)
