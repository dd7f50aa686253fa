"""What batch transform makes of files, with real model servers over real S3."""

from __future__ import annotations

import gzip
import json
import re

import pytest
from conftest import Aws
from transform_requests import (
    bodies,
    create_model,
    csv_lines,
    data_log,
    heard,
    json_lines,
    transform,
)


def test_each_file_becomes_a_file_of_predictions(aws: Aws) -> None:
    create_model(aws)
    for key, text in {"in/a.csv": "1,2\n3,4\n", "in/deep/b.csv": "5,6", "inside.csv": "x"}.items():
        aws.put(key, text)
    instances = {"InstanceType": "ml.m5.large", "InstanceCount": 2}
    done = transform(aws, **csv_lines(), TransformResources=instances)
    assert done["TransformJobStatus"] == "Completed", done
    assert aws.keys("out/") == ["out/a.csv.out", "out/deep/b.csv.out"]
    assert aws.get("out/a.csv.out") == "3.0\n7.0\n"
    assert aws.get("out/deep/b.csv.out") == "11.0\n"
    assert done["CreationTime"] <= done["TransformStartTime"] <= done["TransformEndTime"]
    assert bodies(aws) == ["1,2\n3,4", "5,6"]
    assert [path.name for path in (aws.folder / "jobs" / "transform-job").iterdir()] == [
        "log.txt",
        "data-log.txt",
    ]


@pytest.mark.parametrize(
    ("output_filter", "lines"),
    [
        ("$", "one,1,2,3.0\ntwo,3,4,7.0\n"),
        ("$[0,-1]", "one,3.0\ntwo,7.0\n"),
        ("$[-1]", "3.0\n7.0\n"),
    ],
)
def test_csv_is_filtered_and_joined(aws: Aws, output_filter: str, lines: str) -> None:
    create_model(aws)
    aws.put("in/a.csv", "one,1,2\ntwo,3,4\n")
    filters = {"InputFilter": "$[1:]", "JoinSource": "Input", "OutputFilter": output_filter}
    done = transform(aws, **csv_lines(**filters))
    assert done["TransformJobStatus"] == "Completed", done
    assert bodies(aws) == ["1,2\n3,4"]
    assert aws.get("out/a.csv.out") == lines


def test_json_lines_are_filtered_and_joined(aws: Aws) -> None:
    create_model(aws)
    aws.put("in/a.jsonl", '{"id": "ä", "features": [1, 2]}\n{"id": "b", "features": [3]}\n')
    filters = {"InputFilter": "$.features", "JoinSource": "Input"}
    done = transform(
        aws, **json_lines(**filters, OutputFilter="$['id','SageMakerOutput']"), MaxPayloadInMB=1
    )
    assert done["TransformJobStatus"] == "Completed", done
    assert bodies(aws) == ["[1,2]\n[3]"]
    assert aws.get("out/a.jsonl.out") == (
        '{"id":"ä","SageMakerOutput":{"sum":3}}\n{"id":"b","SageMakerOutput":{"sum":3}}\n'
    )


def test_a_json_file_is_one_record(aws: Aws) -> None:
    create_model(aws)
    aws.put("in/a.json", "[1, 2]")
    kind = "application/json"
    done = transform(
        aws,
        TransformInput={"ContentType": kind},
        TransformOutput={"Accept": kind},
        DataProcessing={"JoinSource": "Input"},
    )
    assert done["TransformJobStatus"] == "Completed", done
    assert json.loads(aws.get("out/a.json.out")) == {
        "SageMakerInput": [1, 2],
        "SageMakerOutput": {"sum": 3},
    }


def test_without_splitting_a_file_is_sent_as_it_is(aws: Aws) -> None:
    create_model(aws)
    aws.put("in/a.txt", "a\nb\n")
    aws.put("in/empty.txt", "")
    done = transform(aws)
    assert done["TransformJobStatus"] == "Completed", done
    assert aws.get("out/a.txt.out") == "A\nB\n"
    assert aws.get("out/empty.txt.out") == ""
    assert bodies(aws) == ["a\nb\n"]


def test_gzip_is_unpacked(aws: Aws) -> None:
    create_model(aws)
    aws.s3.put_object(Bucket=aws.bucket, Key="in/a.csv.gz", Body=gzip.compress(b"1,2\n3,4\n"))
    request = csv_lines()
    request["TransformInput"]["CompressionType"] = "Gzip"
    done = transform(aws, **request)
    assert done["TransformJobStatus"] == "Completed", done
    assert aws.get("out/a.csv.gz.out") == "3.0\n7.0\n"
    aws.put("in/b.csv.gz", "1,2\n")
    done = transform(aws, "again", **request)
    assert done["TransformJobStatus"] == "Failed"
    assert "in/b.csv.gz: The file could not be decompressed" in done["FailureReason"]


def test_a_manifest_names_what_is_transformed(aws: Aws) -> None:
    create_model(aws)
    for key in ("in/a.csv", "in/deep/b.csv", "in/c.csv"):
        aws.put(key, "1\n")
    manifest = [{"prefix": f"s3://{aws.bucket}/in/"}, "a.csv", "deep/b.csv"]
    uri = aws.put("manifest.json", json.dumps(manifest))
    request = csv_lines()
    source = {"S3DataType": "ManifestFile", "S3Uri": uri}
    request["TransformInput"]["DataSource"] = {"S3DataSource": source}
    assert transform(aws, **request)["TransformJobStatus"] == "Completed"
    assert aws.keys("out/") == ["out/a.csv.out", "out/deep/b.csv.out"]


def test_single_records_go_one_by_one_and_stay_in_order(aws: Aws) -> None:
    create_model(aws, TOY_SECONDS="0.01")
    aws.put("in/a.csv", "".join(f"{number}\n" for number in range(20)))
    request = {**csv_lines(), "BatchStrategy": "SingleRecord", "MaxConcurrentTransforms": 4}
    assert transform(aws, **request)["TransformJobStatus"] == "Completed"
    assert sorted(bodies(aws), key=int) == [str(number) for number in range(20)]
    assert aws.get("out/a.csv.out") == "".join(f"{number}.0\n" for number in range(20))


def test_requests_are_as_concurrent_as_asked_for_and_no_more(aws: Aws) -> None:
    create_model(aws, TOY_SECONDS="0.1")
    for number in range(9):
        aws.put(f"in/{number}", "most")
    transform(aws, MaxConcurrentTransforms=3)
    counts = {aws.get(key) for key in aws.keys("out/")}
    assert "3" in counts
    assert counts <= {"1", "2", "3"}
    transform(aws, "alone", TransformOutput={"S3OutputPath": f"s3://{aws.bucket}/alone/"})
    assert {aws.get(key) for key in aws.keys("alone/")} == {"1"}


def test_mini_batches_are_as_large_as_the_payload_allows(aws: Aws) -> None:
    create_model(aws)
    row = "1," * 5_000 + "1\n"  # 10,002 bytes
    aws.put("in/a.csv", row * 300)
    done = transform(aws, **csv_lines(), MaxPayloadInMB=1)
    assert done["TransformJobStatus"] == "Completed", done
    sizes = [request["size"] for request in heard(aws)[1:]]
    assert sizes == [104 * len(row) - 1, 104 * len(row) - 1, 92 * len(row) - 1]
    assert aws.get("out/a.csv.out") == "5001.0\n" * 300


def test_what_the_container_gets(aws: Aws) -> None:
    create_model(aws, TOY_MODEL="model's", TOY_BOTH="model's")
    aws.put("in/a.csv", "1\n")
    transform(aws, **csv_lines(), Environment={"TOY_BOTH": "job's"}, MaxPayloadInMB=2)
    first, request = heard(aws)
    for ours in ("SAGEMAKER_BIND_TO_HOST", "SAGEMAKER_BIND_TO_PORT", "SAGEMAKER_BASE_DIR"):
        first["environment"].pop(ours, None)
    assert first == {
        "environment": {
            "SAGEMAKER_BATCH": "true",
            "SAGEMAKER_BATCH_STRATEGY": "MULTI_RECORD",
            "SAGEMAKER_MAX_PAYLOAD_IN_MB": "2",
            "TOY_MODEL": "model's",
            "TOY_BOTH": "job's",
        },
        "model": ["weights"],
    }
    assert request["headers"]["Content-Type"] == request["headers"]["Accept"] == "text/csv"


def test_the_container_may_choose_what_the_caller_leaves_open(aws: Aws) -> None:
    told = {"MaxConcurrentTransforms": 2, "BatchStrategy": "SINGLE_RECORD", "MaxPayloadInMB": 3}
    create_model(aws, TOY_PARAMETERS=json.dumps(told), TOY_SECONDS="0.05")
    aws.put("in/a.csv", "1\n2\n3\n4\n")
    request = csv_lines()
    del request["BatchStrategy"]
    transform(aws, **request)
    assert sorted(bodies(aws)) == ["1", "2", "3", "4"]
    environment = heard(aws)[0]["environment"]
    assert {"SAGEMAKER_BATCH_STRATEGY", "SAGEMAKER_MAX_PAYLOAD_IN_MB"}.isdisjoint(environment)
    assert "MaxConcurrentTransforms=2, MaxPayloadInMB=3, BatchStrategy=SINGLE_RECORD" in data_log(
        aws, "job"
    )
    transform(aws, "asked", **csv_lines())
    assert bodies(aws, "asked") == ["1\n2\n3\n4"]


@pytest.mark.parametrize("told", ["{", "[]", '{"MaxPayloadInMB": "6"}', '{"BatchStrategy": "x"}'])
def test_execution_parameters_without_meaning_fail_the_job(aws: Aws, told: str) -> None:
    create_model(aws, TOY_PARAMETERS=told)
    aws.put("in/a.csv", "1\n")
    done = transform(aws, **csv_lines())
    assert done["FailureReason"].startswith("AlgorithmError: The container answers GET /execution")


def test_captured_data_are_manifests(aws: Aws) -> None:
    create_model(aws)
    aws.put("in/a.csv", "1,2\n3,4\n")
    aws.put("in/deep/b.csv", "5\n")
    capture = {"DestinationS3Uri": f"s3://{aws.bucket}/captured/", "GenerateInferenceId": True}
    done = transform(aws, **csv_lines(), DataCaptureConfig=capture)
    assert done["TransformJobStatus"] == "Completed", done
    hour = done["TransformStartTime"].strftime("%Y/%m/%d/%H")
    inputs, outputs = aws.keys("captured/")
    assert inputs.startswith(f"captured/input/{hour}/")
    assert outputs.startswith(f"captured/output/{hour}/")
    assert json.loads(aws.get(inputs)) == [
        {"prefix": f"s3://{aws.bucket}/in/"},
        "a.csv",
        "deep/b.csv",
    ]
    assert json.loads(aws.get(outputs)) == [
        {"prefix": f"s3://{aws.bucket}/out/"},
        "a.csv.out",
        "deep/b.csv.out",
    ]
    started = done["TransformStartTime"].strftime("%Y-%m-%dT%H:%M:%SZ")
    uuid = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    assert re.fullmatch(f"3.0,{uuid},{started}\n7.0,{uuid},{started}\n", aws.get("out/a.csv.out"))
