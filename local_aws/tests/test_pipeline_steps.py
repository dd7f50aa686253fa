"""Steps of the types that tune and deploy."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import Aws
from model_server import host, running
from test_tuning import PROGRAM, grid, tuning
from toy_pipelines import create, fail, run, start, steps_of, wait


def test_a_tuning_step_tells_its_best_jobs(aws: Aws, isolation: str) -> None:
    if isolation == "environment":
        pytest.skip("the program names /opt/ml in its code")
    (aws.folder / "program.py").write_text(PROGRAM)
    arguments = tuning(aws, "unused", grid("1", "7", "4"))
    arguments.pop("HyperParameterTuningJobName")
    best = {"Get": "Steps.Tune.BestTrainingJob.TrainingJobName"}
    second = {"Get": "Steps.Tune.TrainingJobSummaries[1].TrainingJobName"}
    message = {"Std:Join": {"On": " ", "Values": [best, second]}}
    ended, steps = run(
        aws,
        {
            "Name": "Tune",
            "Type": "Tuning",
            "Arguments": arguments,
            "CacheConfig": {"Enabled": True, "ExpireAfter": "PT1H"},
        },
        fail("Tell", message),
    )
    assert steps["Tune"]["StepStatus"] == "Succeeded", ended
    name = steps["Tune"]["Metadata"]["TuningJob"]["Arn"].rpartition("/")[2]
    assert len(name) <= 32
    found = steps["Tell"]["FailureReason"].split()
    values = []
    for job in found:
        described = aws.sagemaker.describe_training_job(TrainingJobName=job)
        assert described["TuningJobArn"] == steps["Tune"]["Metadata"]["TuningJob"]["Arn"]
        values.append(described["HyperParameters"]["x"])
    assert values == ["4", "1"]


def deployment(model: str, config: str) -> list[Any]:
    variant = {
        "VariantName": "AllTraffic",
        "ModelName": model,
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 1,
    }
    return [
        {
            "Name": "Configure",
            "Type": "EndpointConfig",
            "Arguments": {"EndpointConfigName": config, "ProductionVariants": [variant]},
        },
        {
            "Name": "Deploy",
            "Type": "Endpoint",
            "Arguments": {
                "EndpointName": "deployed",
                "EndpointConfigName": {"Get": "Steps.Configure.EndpointConfigName"},
                "Tags": [{"Key": "k", "Value": "v"}],
            },
        },
    ]


def test_an_endpoint_is_made_and_updated_by_steps(aws: Aws) -> None:
    with host(aws, aws.folder) as hosted:
        for name in ("one", "two", "broken"):
            hosted.model(name)
        for name in ("one", "two"):
            ended, steps = run(aws, *deployment(name, f"config-{name}"))
            assert ended["PipelineExecutionStatus"] == "Succeeded", ended
            arn = steps["Deploy"]["Metadata"]["Endpoint"]["Arn"]
            assert arn == aws.sagemaker.describe_endpoint(EndpointName="deployed")["EndpointArn"]
            made = steps["Configure"]["Metadata"]["EndpointConfig"]["Arn"]
            assert made.endswith(f"endpoint-config/config-{name}")
            assert hosted.invoke("deployed")["model"] == name
        ended, steps = run(aws, *deployment("broken", "config-broken"))
        assert steps["Deploy"]["StepStatus"] == "Failed"
        assert "Step 'Deploy': ClientError: " in ended["FailureReason"]
        assert hosted.invoke("deployed")["model"] == "two"
        aws.sagemaker.delete_endpoint(EndpointName="deployed")


def test_a_stop_does_not_wait_for_an_endpoint(aws: Aws) -> None:
    with host(aws, aws.folder) as hosted:
        hosted.model("slow", Environment={"START_SECONDS": "600"})
        create(aws, "slow", *deployment("slow", "config-slow"))
        execution = start(aws, "slow")
        while "Metadata" not in steps_of(aws, execution).get("Deploy", {}):
            assert wait(aws, execution, "Executing")
        aws.sagemaker.stop_pipeline_execution(PipelineExecutionArn=execution)
        assert wait(aws, execution)["PipelineExecutionStatus"] == "Stopped"
        assert steps_of(aws, execution)["Deploy"]["StepStatus"] == "Stopped"
        assert running(aws)
