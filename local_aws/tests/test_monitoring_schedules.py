"""Monitoring schedules and job definitions: what they take, when they are due, their lists."""

from __future__ import annotations

import time

import pytest
from conftest import Aws, until
from job_requests import refused
from monitor_requests import (
    ANALYZER,
    CLARIFY,
    define,
    definition_request,
    listed,
    schedule_request,
    wait_execution,
)

from local_aws.images.images import Image
from local_aws.sagemaker.core.protocol import ApiError
from local_aws.sagemaker.monitoring import schedules, timing

HOURLY = "cron(0 * ? * * *)"


def test_an_hourly_schedule_starts_one_execution_an_hour(aws: Aws) -> None:
    client = aws.sagemaker
    define(aws, "DataQuality")
    client.create_monitoring_schedule(**schedule_request("DataQuality", HOURLY))
    hour = (time.time() // 3600 + 1) * 3600
    for moment in (hour - 1, hour + 1, hour + 6, hour + 7, hour + 3500):
        schedules.tick(aws.service, moment)
        until(lambda: True)
    found = wait_execution(aws)
    assert found["ScheduledTime"].timestamp() == hour
    assert "endpoint" in found["FailureReason"]  # there is none
    schedules.tick(aws.service, hour + 3606)
    assert wait_execution(aws, count=2)["ScheduledTime"].timestamp() == hour + 3600

    client.stop_monitoring_schedule(MonitoringScheduleName="hourly")
    described = client.describe_monitoring_schedule(MonitoringScheduleName="hourly")
    assert described["MonitoringScheduleStatus"] == "Stopped"
    schedules.tick(aws.service, hour + 9000)
    assert len(listed(aws)) == 2
    changed = schedule_request("DataQuality", "cron(0 0 ? * * *)")
    client.update_monitoring_schedule(**changed)
    described = client.describe_monitoring_schedule(MonitoringScheduleName="hourly")
    assert described["MonitoringScheduleConfig"] == changed["MonitoringScheduleConfig"]
    client.delete_monitoring_schedule(MonitoringScheduleName="hourly")
    assert len(listed(aws)) == 2  # the history stays
    code, _ = refused(client.describe_monitoring_schedule, {"MonitoringScheduleName": "hourly"})
    assert code == "ResourceNotFound"


def test_lists_and_filters(aws: Aws) -> None:
    client = aws.sagemaker
    define(aws, "DataQuality", "one")
    define(aws, "ModelQuality", "two")
    (summary,) = client.list_data_quality_job_definitions()["JobDefinitionSummaries"]
    assert summary["MonitoringJobDefinitionName"] == "one"
    assert summary["EndpointName"] == "watched"
    none = client.list_model_quality_job_definitions(EndpointName="other")
    assert none["JobDefinitionSummaries"] == []
    client.create_monitoring_schedule(**schedule_request("DataQuality", HOURLY, "a", "one"))
    client.create_monitoring_schedule(**schedule_request("ModelQuality", HOURLY, "b", "two"))
    for asked, names in (
        ({}, {"a", "b"}),
        ({"MonitoringTypeEquals": "ModelQuality"}, {"b"}),
        ({"MonitoringJobDefinitionName": "one"}, {"a"}),
        ({"EndpointName": "other"}, set()),
        ({"StatusEquals": "Stopped"}, set()),
    ):
        found = client.list_monitoring_schedules(**asked)["MonitoringScheduleSummaries"]
        assert {schedule["MonitoringScheduleName"] for schedule in found} == names
    client.delete_data_quality_job_definition(JobDefinitionName="one")
    code, _ = refused(client.describe_data_quality_job_definition, {"JobDefinitionName": "one"})
    assert code == "ResourceNotFound"


def test_what_cannot_be_monitored_is_refused(aws: Aws) -> None:
    client = aws.sagemaker
    request = definition_request(aws.bucket, "DataQuality")
    request["DataQualityAppSpecification"] = {"ImageUri": "nobody/pushed:this"}
    _, text = refused(client.create_data_quality_job_definition, request)
    assert "nobody/pushed:this" in text
    request = definition_request(aws.bucket, "DataQuality", DataQualityJobInput={})
    _, text = refused(client.create_data_quality_job_definition, request)
    assert "one of EndpointInput and BatchTransformInput" in text
    bias = definition_request(aws.bucket, "ModelBias")
    _, text = refused(client.create_model_bias_job_definition, bias)
    assert text.startswith("ModelBias: the local AWS has no stand-in for SageMaker Clarify.")
    aws.service.images.register(CLARIFY, Image(aws.folder))  # but an own one will do
    client.create_model_bias_job_definition(**bias)

    define(aws, "DataQuality")
    for changes, part in (
        ({"ScheduleExpression": "cron(0/5 * ? * * *)"}, "is not valid"),
        ({"ScheduleExpression": "NOW"}, "DataAnalysisStartTime"),
        (
            {
                "ScheduleExpression": "NOW",
                "DataAnalysisStartTime": "-PT25H",
                "DataAnalysisEndTime": "-PT0H",
            },
            "at most 24 hours",
        ),
    ):
        asked = schedule_request("DataQuality", HOURLY)
        asked["MonitoringScheduleConfig"]["ScheduleConfig"] = changes
        _, text = refused(client.create_monitoring_schedule, asked)
        assert part in text
    code, _ = refused(
        client.create_monitoring_schedule, schedule_request("DataQuality", definition="other")
    )
    assert code == "ResourceNotFound"
    slow = {"MaxRuntimeInSeconds": 3600}
    define(aws, "ModelQuality", StoppingCondition=slow)
    _, text = refused(client.create_monitoring_schedule, schedule_request("ModelQuality", HOURLY))
    assert "up to 1800 seconds" in text


@pytest.mark.parametrize(
    ("expression", "hours"),
    [
        (HOURLY, set(range(24))),
        ("cron(0 12 ? * * *)", {12}),
        ("cron(0 17/12 ? * * *)", {5, 17}),
        ("cron(0 0/2 ? * * *)", set(range(0, 24, 2))),
        ("cron(0 03/24 ? * * *)", {3}),
        ("NOW", set()),
    ],
)
def test_schedule_expressions(expression: str, hours: set[int]) -> None:
    assert timing.hours_of(expression) == hours


@pytest.mark.parametrize("text", ["", "PT", "P", "-P1M", "1H", "P1DT"])
def test_durations_that_are_none(text: str) -> None:
    with pytest.raises(ApiError, match="ISO 8601"):
        timing.offset("StartTimeOffset", text)


@pytest.mark.parametrize("text", ["-P53W", "P367D", "P999999999W", f"-PT{'9' * 5000}H"])
def test_durations_that_are_too_long(text: str) -> None:
    with pytest.raises(ApiError, match=r"ISO 8601|more than a year"):
        timing.offset("DataAnalysisStartTime", text)


def test_the_analyzer_is_no_image_of_other_names(aws: Aws) -> None:
    for uri in (f"{ANALYZER}-2", "x/sagemaker-model-monitor", "model-monitor-analyzer"):
        request = definition_request(aws.bucket, "DataQuality")
        request["DataQualityAppSpecification"]["ImageUri"] = uri
        assert uri in refused(aws.sagemaker.create_data_quality_job_definition, request)[1]
