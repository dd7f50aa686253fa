"""Hyperparameter tuning jobs, whose training jobs are real processes."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from conftest import IMAGE, ROLE, Aws, make_service, until
from job_requests import refused

from local_aws.sagemaker.core.service import Service

# Prints how far x is from 3; the image runs it with "train".
PROGRAM = (
    "import json, os, sys, time\n"
    "ml = os.environ.get('SAGEMAKER_BASE_DIR', '/opt/ml')\n"
    "given = json.load(open(ml + '/input/config/hyperparameters.json'))\n"
    "if given.get('mode') == 'fail':\n"
    "    sys.exit('told to')\n"
    "x = float(given['x'])\n"
    "for epoch in range(int(given.get('epochs', '1'))):\n"
    "    print(f'distance={abs(x - 3)}', flush=True)\n"
    "    time.sleep(float(given.get('pause', '0')))\n"
)


@pytest.fixture(autouse=True)
def _program(aws: Aws) -> None:
    (aws.folder / "program.py").write_text(PROGRAM)


def definition(aws: Aws, **more: Any) -> dict[str, Any]:
    return {
        "AlgorithmSpecification": {
            "TrainingImage": IMAGE,
            "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": "distance", "Regex": "distance=(.*)"}],
        },
        "RoleArn": ROLE,
        "OutputDataConfig": {"S3OutputPath": f"s3://{aws.bucket}/models"},
        "ResourceConfig": {
            "InstanceType": "ml.m5.large",
            "InstanceCount": 1,
            "VolumeSizeInGB": 1,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        **more,
    }


def grid(*values: str) -> dict[str, Any]:
    return {"CategoricalParameterRanges": [{"Name": "x", "Values": list(values)}]}


OBJECTIVE = {"Type": "Minimize", "MetricName": "distance"}


def tuning(
    aws: Aws, name: str, ranges: dict[str, Any], strategy: str = "Grid", **config: Any
) -> dict[str, Any]:
    limits = config.pop("ResourceLimits", {"MaxParallelTrainingJobs": 3})
    return {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobConfig": {
            "Strategy": strategy,
            "HyperParameterTuningJobObjective": OBJECTIVE,
            "ResourceLimits": limits,
            "ParameterRanges": ranges,
            **config,
        },
        "TrainingJobDefinition": definition(aws),
    }


def static(request: dict[str, Any], **values: str) -> dict[str, Any]:
    changed = {**request["TrainingJobDefinition"], "StaticHyperParameters": values}
    return {**request, "TrainingJobDefinition": changed}


def wait(aws: Aws, name: str, *statuses: str) -> dict[str, Any]:
    def describe() -> dict[str, Any]:
        found: dict[str, Any] = aws.sagemaker.describe_hyper_parameter_tuning_job(
            HyperParameterTuningJobName=name
        )
        return found

    wanted = statuses or ("Completed", "Failed", "Stopped")
    until(lambda: describe()["HyperParameterTuningJobStatus"] in wanted, 60)
    return describe()


def training_jobs(aws: Aws, name: str, **request: Any) -> list[dict[str, Any]]:
    found = aws.sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=name, **request
    )
    summaries: list[dict[str, Any]] = found["TrainingJobSummaries"]
    return summaries


def test_a_grid_is_searched_and_the_best_training_job_found(aws: Aws) -> None:
    request = static(tuning(aws, "grid", grid("1", "2.5", "7", "9")), pause="0.1")
    request["Tags"] = [{"Key": "team", "Value": "a"}]
    aws.sagemaker.create_hyper_parameter_tuning_job(**request)
    done = wait(aws, "grid")
    assert done["HyperParameterTuningJobStatus"] == "Completed", done
    assert done["TrainingJobStatusCounters"] == {
        "Completed": 4,
        "InProgress": 0,
        "RetryableError": 0,
        "NonRetryableError": 0,
        "Stopped": 0,
    }
    assert done["ObjectiveStatusCounters"] == {"Succeeded": 4, "Pending": 0, "Failed": 0}
    best = done["BestTrainingJob"]
    assert best["TunedHyperParameters"] == {"x": "2.5"}
    assert best["FinalHyperParameterTuningJobObjectiveMetric"] == {**OBJECTIVE, "Value": 0.5}
    assert best["ObjectiveStatus"] == "Succeeded"
    assert done["HyperParameterTuningEndTime"] >= done["CreationTime"]
    assert done["ConsumedResources"]["RuntimeInSeconds"] >= 1

    job = aws.sagemaker.describe_training_job(TrainingJobName=best["TrainingJobName"])
    assert job["HyperParameters"] == {
        "x": "2.5",
        "pause": "0.1",
        "_tuning_objective_metric": "distance",
    }
    assert job["TuningJobArn"] == done["HyperParameterTuningJobArn"]
    tags = aws.sagemaker.list_tags(ResourceArn=job["TrainingJobArn"])["Tags"]
    assert tags == request["Tags"]

    by_value = training_jobs(aws, "grid", SortBy="FinalObjectiveMetricValue", MaxResults=2)
    assert [job["TunedHyperParameters"]["x"] for job in by_value] == ["2.5", "1"]
    names = [job["TrainingJobName"] for job in training_jobs(aws, "grid")]
    assert names == sorted(names)
    assert [name[:9] for name in names] == [f"grid-00{n}-" for n in (1, 2, 3, 4)]
    (summary,) = aws.sagemaker.list_hyper_parameter_tuning_jobs()[
        "HyperParameterTuningJobSummaries"
    ]
    assert summary["TrainingJobStatusCounters"] == done["TrainingJobStatusCounters"]
    assert summary["Strategy"] == "Grid"
    told = [
        detail["HyperParameterTuningJobStatus"]
        for kind, detail, _ in aws.wait_events(10)
        if "Tuning" in kind
    ]
    assert told == ["InProgress", "Completed"]


def test_no_more_run_at_once_than_are_allowed(aws: Aws) -> None:
    ranges = {"ContinuousParameterRanges": [{"Name": "x", "MinValue": "0", "MaxValue": "6"}]}
    limits = {"MaxNumberOfTrainingJobs": 5, "MaxParallelTrainingJobs": 2}
    request = static(tuning(aws, "job", ranges, "Random", ResourceLimits=limits), pause="0.3")
    aws.sagemaker.create_hyper_parameter_tuning_job(**request)
    until(lambda: len(training_jobs(aws, "job", StatusEquals="InProgress")) == 2)
    done = wait(aws, "job")
    found = training_jobs(aws, "job", SortBy="CreationTime")
    assert done["TrainingJobStatusCounters"]["Completed"] == len(found) == 5
    for job in found:
        others = [
            other
            for other in found
            if other["CreationTime"] <= job["CreationTime"] < other["TrainingEndTime"]
        ]
        assert len(others) <= 2
    values = [job["TunedHyperParameters"]["x"] for job in found]
    assert len(set(values)) == 5
    assert all(0 <= float(value) <= 6 for value in values)


def test_failed_training_jobs_do_not_end_it_unless_there_are_too_many(aws: Aws) -> None:
    modes = {"Name": "mode", "Values": ["fail", "work"]}
    ranges = grid("1", "2")
    ranges["CategoricalParameterRanges"].append(modes)
    aws.sagemaker.create_hyper_parameter_tuning_job(**tuning(aws, "some", ranges))
    done = wait(aws, "some")
    assert done["HyperParameterTuningJobStatus"] == "Completed"
    assert done["TrainingJobStatusCounters"]["NonRetryableError"] == 2
    assert done["ObjectiveStatusCounters"] == {"Succeeded": 2, "Pending": 0, "Failed": 2}
    failed = training_jobs(aws, "some", StatusEquals="Failed")
    assert all("told to" in job["FailureReason"] for job in failed)

    request = static(tuning(aws, "few", grid("1", "2")), mode="fail")
    aws.sagemaker.create_hyper_parameter_tuning_job(**request)
    more = "Please take a look at the training job failures to get more details."
    assert wait(aws, "few")["FailureReason"] == f"All training jobs failed. {more}"

    request = static(tuning(aws, "all", grid(*"123456789")), mode="fail")
    aws.sagemaker.create_hyper_parameter_tuning_job(**request)
    done = wait(aws, "all")
    assert done["HyperParameterTuningJobStatus"] == "Failed"
    assert done["FailureReason"] == f"No training job succeeded after 5 attempts. {more}"
    assert len(training_jobs(aws, "all")) < 9


def test_it_ends_at_the_target(aws: Aws) -> None:
    criteria = {"TargetObjectiveMetricValue": 0.75}
    limits = {"MaxParallelTrainingJobs": 1}
    request = tuning(
        aws,
        "job",
        grid("9", "8", "3.5", "3"),
        ResourceLimits=limits,
        TuningJobCompletionCriteria=criteria,
    )
    aws.sagemaker.create_hyper_parameter_tuning_job(**request)
    done = wait(aws, "job")
    assert done["HyperParameterTuningJobStatus"] == "Completed"
    assert done["BestTrainingJob"]["TunedHyperParameters"] == {"x": "3.5"}
    assert len(training_jobs(aws, "job")) == 3


def test_it_is_stopped_with_its_training_jobs(aws: Aws) -> None:
    request = static(tuning(aws, "job", grid("1", "2", "4", "5")), pause="600")
    aws.sagemaker.create_hyper_parameter_tuning_job(**request)
    until(lambda: len(training_jobs(aws, "job", StatusEquals="InProgress")) == 3)
    assert refused(aws.sagemaker.create_hyper_parameter_tuning_job, request) == (
        "ResourceInUse",
        "A hyperparameter tuning job with the name, job, already exists. Choose a different name.",
    )
    delete = aws.sagemaker.delete_hyper_parameter_tuning_job
    assert refused(delete, {"HyperParameterTuningJobName": "job"})[0] == "ResourceInUse"
    aws.sagemaker.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName="job")
    done = wait(aws, "job")
    assert done["HyperParameterTuningJobStatus"] == "Stopped"
    assert done["TrainingJobStatusCounters"]["Stopped"] == 3
    assert len(training_jobs(aws, "job")) == 3
    delete(HyperParameterTuningJobName="job")
    describe = aws.sagemaker.describe_hyper_parameter_tuning_job
    assert refused(describe, {"HyperParameterTuningJobName": "job"}) == (
        "ResourceNotFound",
        "Amazon SageMaker can't find a tuning job called job. Type another name.",
    )


def test_bad_training_jobs_are_stopped_early(aws: Aws) -> None:
    request = tuning(
        aws,
        "job",
        grid("3", "9"),
        TrainingJobEarlyStoppingType="Auto",
        ResourceLimits={"MaxParallelTrainingJobs": 1},
    )
    aws.sagemaker.create_hyper_parameter_tuning_job(**static(request, epochs="3", pause="0.7"))
    done = wait(aws, "job")
    assert done["HyperParameterTuningJobStatus"] == "Completed"
    good, bad = training_jobs(aws, "job")
    assert (good["TrainingJobStatus"], bad["TrainingJobStatus"]) == ("Completed", "Stopped")
    assert bad["ObjectiveStatus"] == "Succeeded"


def test_hyperband_stops_what_is_not_in_the_best_third(aws: Aws) -> None:
    ranges = {"IntegerParameterRanges": [{"Name": "x", "MinValue": "3", "MaxValue": "300"}]}
    request = tuning(
        aws,
        "job",
        ranges,
        "Hyperband",
        RandomSeed=1,
        ResourceLimits={"MaxNumberOfTrainingJobs": 4, "MaxParallelTrainingJobs": 4},
        StrategyConfig={"HyperbandStrategyConfig": {"MinResource": 1, "MaxResource": 4}},
    )
    aws.sagemaker.create_hyper_parameter_tuning_job(**static(request, epochs="40", pause="0.5"))
    done = wait(aws, "job")
    assert done["HyperParameterTuningJobStatus"] == "Completed"
    assert done["TrainingJobStatusCounters"]["Stopped"] == 4  # even the best, at MaxResource
    best = min(int(job["TunedHyperParameters"]["x"]) for job in training_jobs(aws, "job"))
    assert done["BestTrainingJob"]["TunedHyperParameters"] == {"x": str(best)}


def test_several_definitions_take_turns(aws: Aws) -> None:
    request = tuning(aws, "job", {}, "Grid")
    del request["TrainingJobDefinition"]
    config = request["HyperParameterTuningJobConfig"]
    del config["ParameterRanges"], config["HyperParameterTuningJobObjective"]
    request["TrainingJobDefinitions"] = [
        definition(
            aws, DefinitionName=name, TuningObjective=OBJECTIVE, HyperParameterRanges=grid(*values)
        )
        for name, values in (("near", ["3"]), ("far", ["8", "9"]))
    ]
    aws.sagemaker.create_hyper_parameter_tuning_job(**request)
    done = wait(aws, "job")
    assert done["HyperParameterTuningJobStatus"] == "Completed", done
    found = training_jobs(aws, "job")
    assert [job["TrainingJobDefinitionName"] for job in found] == ["near", "far", "far"]
    assert done["BestTrainingJob"]["TrainingJobDefinitionName"] == "near"


def test_it_goes_on_with_the_next_local_aws(aws: Aws) -> None:
    settings = aws.service.settings
    folder = aws.folder / "other"
    folder.mkdir()
    (folder / "program.py").write_text(PROGRAM)
    first = make_service(folder, settings.port, settings.isolation, lambda *_: None)
    limits = {"MaxParallelTrainingJobs": 1}
    request = static(tuning(aws, "job", grid("1", "2", "3"), ResourceLimits=limits), pause="0.5")
    first.call("CreateHyperParameterTuningJob", request)
    until(lambda: _counters(first)["Completed"] == 1 and _counters(first)["InProgress"] == 1)
    first.close()
    second = make_service(folder, settings.port, settings.isolation, lambda *_: None)
    try:
        until(lambda: _describe(second)["HyperParameterTuningJobStatus"] == "Completed")
        assert _counters(second)["Completed"] == 3
        assert _counters(second)["RetryableError"] == 1  # tried again
        assert _describe(second)["BestTrainingJob"]["TunedHyperParameters"] == {"x": "3"}
    finally:
        second.close()


def _describe(service: Service) -> dict[str, Any]:
    return service.call("DescribeHyperParameterTuningJob", {"HyperParameterTuningJobName": "job"})


def _counters(service: Service) -> dict[str, int]:
    counters: dict[str, int] = _describe(service)["TrainingJobStatusCounters"]
    return counters


def test_requests_that_cannot_be_done_are_refused(aws: Aws) -> None:
    base = tuning(aws, "job", grid("1", "2"))
    limits = {"MaxParallelTrainingJobs": 1}
    counted = {"MaxNumberOfTrainingJobs": 3, "MaxParallelTrainingJobs": 1}

    def config(strategy: str = "Grid", **change: Any) -> dict[str, Any]:
        return tuning(aws, "job", change.pop("ranges", grid("1", "2")), strategy, **change)

    def number(low: str, high: str, scale: str, kind: str = "Continuous") -> dict[str, Any]:
        item = {"Name": "x", "MinValue": low, "MaxValue": high, "ScalingType": scale}
        return {"ranges": {f"{kind}ParameterRanges": [item]}, "ResourceLimits": counted}

    no_metric = definition(aws)
    no_metric["AlgorithmSpecification"] = {
        **no_metric["AlgorithmSpecification"],
        "MetricDefinitions": [],
    }
    parents = [{"HyperParameterTuningJobName": "parent"}]
    warm = {
        "ParentHyperParameterTuningJobs": parents,
        "WarmStartType": "TransferLearning",
    }
    converge = {"ConvergenceDetected": {"CompleteOnConvergence": "Enabled"}}
    cases: list[tuple[dict[str, Any], str]] = [
        (config("Bayesian", ResourceLimits=counted), "use Random, Hyperband or Grid"),
        ({**base, "WarmStartConfig": warm}, "WarmStartConfig"),
        ({**base, "Autotune": {"Mode": "Enabled"}}, "Autotune"),
        (config(TuningJobCompletionCriteria=converge), "ConvergenceDetected"),
        (config(ResourceLimits=counted), "number of combinations, 2"),
        (config("Random", ResourceLimits=limits), "MaxNumberOfTrainingJobs"),
        (config(ranges={}), "at least one"),
        (config(**number("0", "1", "Linear")), "CategoricalParameterRanges only"),
        (config("Random", **number("0", "1", "Logarithmic")), "greater than 0"),
        (config("Random", **number("0", "1", "ReverseLogarithmic")), "within 0 <= x < 1.0"),
        (config("Random", **number("2", "1", "Linear")), "must not be greater than MaxValue"),
        (config("Random", **number("a", "1", "Linear")), "must be numbers"),
        (config("Random", **number("1.5", "2", "Linear", "Integer")), "must be numbers"),
        (config("Hyperband", ResourceLimits=counted), "MaxResource"),
        (config(StrategyConfig={}), "Hyperband only"),
        (static(base, x="1"), "static and in a range: ['x']"),
        (
            {**base, "TrainingJobDefinition": no_metric},
            "Provide a metric in the metric definitions",
        ),
        ({**base, "TrainingJobDefinitions": [definition(aws)]}, "either TrainingJobDefinition"),
    ]
    for request, named in cases:
        code, message = refused(aws.sagemaker.create_hyper_parameter_tuning_job, request)
        assert code == "ValidationException"
        assert named in message
    found = aws.sagemaker.list_hyper_parameter_tuning_jobs()
    assert found["HyperParameterTuningJobSummaries"] == []


def test_pages_of_tuning_jobs(aws: Aws) -> None:
    request = static(tuning(aws, "x", grid("1")), mode="fail")
    for name in ("b", "a", "c"):
        request["HyperParameterTuningJobName"] = name
        aws.sagemaker.create_hyper_parameter_tuning_job(**request)
    pages = aws.sagemaker.get_paginator("list_hyper_parameter_tuning_jobs").paginate(
        PaginationConfig={"PageSize": 1}
    )
    names = [
        job["HyperParameterTuningJobName"]
        for page in pages
        for job in page["HyperParameterTuningJobSummaries"]
    ]
    assert all(first < second for first, second in pairwise(names))
    assert len(names) == 3
    for name in names:
        wait(aws, name)
