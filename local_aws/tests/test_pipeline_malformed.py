"""Definitions that are nearly right: they are read or refused, and nothing else."""

from __future__ import annotations

import json
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
from toy_pipelines import THRESHOLD, definition, lifecycle

from local_aws.sagemaker.pipelines.definition import parse
from local_aws.sagemaker.pipelines.expressions import DefinitionError


def whole() -> Any:
    """A definition with all that one can hold."""
    steps = lifecycle(SimpleNamespace(bucket="bucket"), "arn:aws:lambda:x:1:function:f")  # type: ignore[arg-type]  # only the name of its bucket is used
    steps[0]["CacheConfig"] = {"Enabled": True, "ExpireAfter": "PT1H"}
    steps[0]["RetryPolicies"] = [
        {
            "ExceptionType": ["Step.THROTTLING"],
            "IntervalSeconds": 1,
            "BackoffRate": 2.0,
            "MaxAttempts": 3,
        }
    ]
    outputs = [{"OutputName": "score", "OutputType": "Float"}]
    ask = {"Name": "Ask", "Type": "Callback", "SqsQueueUrl": "https://queue", "Arguments": {"a": 1}}
    return json.loads(
        definition(*steps, {**ask, "OutputParameters": outputs}, Parameters=THRESHOLD)
    )


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    return [path, *(place for key, item in items for place in places(item, (*path, key)))]


PLACES = [place for place in places(whole()) if place]
JUNK = [None, -1, float("nan"), "x", ["x"], {"a": 1}, {"Get": "Steps.Train.X"}]


def test_the_definition_itself_is_read() -> None:
    assert {"Ask", "Train", "Notify"} <= parse(json.dumps(whole())).steps.keys()


@pytest.mark.parametrize("junk", JUNK, ids=str)
def test_another_value_at_any_place_is_read_or_refused(junk: Any) -> None:
    text = json.dumps(whole())
    for place in PLACES:
        where = changed = json.loads(text)
        for key in place[:-1]:
            where = where[key]
        where[place[-1]] = junk
        with suppress(DefinitionError):  # any other exception would be an answer of 500
            parse(json.dumps(changed))
