"""Batch transform jobs, with real model servers over real S3."""

from __future__ import annotations

from conftest import Aws
from transform_requests import bodies, create_model, csv_lines, transform


def test_each_file_becomes_a_file_of_predictions(aws: Aws) -> None:
    create_model(aws)
    for key, text in {"in/a.csv": "1,2\n3,4\n", "in/deep/b.csv": "5,6", "inside.csv": "x"}.items():
        aws.put(key, text)
    done = transform(aws, **csv_lines())
    assert done["TransformJobStatus"] == "Completed", done
    assert aws.keys("out/") == ["out/a.csv.out", "out/deep/b.csv.out"]
    assert aws.get("out/a.csv.out") == "3.0\n7.0\n"
    assert aws.get("out/deep/b.csv.out") == "11.0\n"
    assert done["TransformStartTime"] <= done["TransformEndTime"]
    assert bodies(aws) == ["1,2\n3,4", "5,6"]


def test_join_keeps_the_id_beside_the_prediction(aws: Aws) -> None:
    create_model(aws)
    aws.put("in/a.csv", "one,1,2\ntwo,3,4\n")
    filters = {"InputFilter": "$[1:]", "JoinSource": "Input", "OutputFilter": "$[0,-1]"}
    done = transform(aws, **csv_lines(**filters))
    assert done["TransformJobStatus"] == "Completed", done
    assert bodies(aws) == ["1,2\n3,4"]
    assert aws.get("out/a.csv.out") == "one,3.0\ntwo,7.0\n"
