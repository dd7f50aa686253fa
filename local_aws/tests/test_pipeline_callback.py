"""Callback steps, with a queue and with those who answer."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.exceptions import ClientError
from conftest import Aws, aws_client, make_service, until
from toy_pipelines import condition, create, fail, processing, start, steps_of, wait


@dataclass
class Queue:
    """A queue, and the messages that were in it."""

    url: str
    client: Any

    def take(self) -> dict[str, Any]:
        found: list[Any] = []

        def arrived() -> bool:
            answer = self.client.receive_message(QueueUrl=self.url, WaitTimeSeconds=0)
            found.extend(answer.get("Messages", []))
            return bool(found)

        until(arrived)
        self.client.delete_message(QueueUrl=self.url, ReceiptHandle=found[0]["ReceiptHandle"])
        message: dict[str, Any] = json.loads(found[0]["Body"])
        return message


@pytest.fixture
def queue(emulator_port: int) -> Iterator[Queue]:
    client = aws_client("sqs", emulator_port)
    url = client.create_queue(QueueName=f"q-{uuid.uuid4().hex[:8]}")["QueueUrl"]
    yield Queue(url, client)
    client.delete_queue(QueueUrl=url)


def callback(queue: Queue, **arguments: Any) -> Any:
    return {
        "Name": "Ask",
        "Type": "Callback",
        "Arguments": arguments,
        "SqsQueueUrl": queue.url,
        "OutputParameters": [
            {"OutputName": "score", "OutputType": "Float"},
            {"OutputName": "by", "OutputType": "String"},
        ],
    }


def test_an_answer_ends_the_step_and_is_read_by_others(aws: Aws, queue: Queue) -> None:
    score = {"Get": "Steps.Ask.OutputParameters['score']"}
    message = {
        "Std:Join": {"On": " ", "Values": ["by", {"Get": "Steps.Ask.OutputParameters['by']"}]}
    }
    gate = condition("Gate", score, 0.5, [fail("Enough", message)], [fail("TooLow")])
    create(aws, "asking", callback(queue, model={"Get": "Execution.PipelineName"}, n=3), gate)
    execution = start(aws, "asking")
    asked = queue.take()
    assert asked == {
        "token": asked["token"],
        "pipelineExecutionArn": execution,
        "arguments": {"model": "asking", "n": 3},
        "status": "Executing",
    }
    step = steps_of(aws, execution)["Ask"]
    assert step["StepStatus"] == "Executing"
    assert step["Metadata"]["Callback"] == {
        "CallbackToken": asked["token"],
        "SqsQueueUrl": queue.url,
    }
    outputs = [{"Name": "score", "Value": "0.75"}, {"Name": "by", "Value": "me"}]
    request = {
        "CallbackToken": asked["token"],
        "OutputParameters": outputs,
        "ClientRequestToken": uuid.uuid4().hex,
    }
    for _ in range(2):  # the same answer may come again
        answer = aws.sagemaker.send_pipeline_execution_step_success(**request)
        assert answer["PipelineExecutionArn"] == execution
    assert wait(aws, execution)["FailureReason"].endswith("Step 'Enough': by me")
    ended = steps_of(aws, execution)["Ask"]
    assert ended["StepStatus"] == "Succeeded"
    assert ended["Metadata"]["Callback"]["OutputParameters"] == outputs
    with pytest.raises(ClientError, match="was answered already") as caught:
        aws.sagemaker.send_pipeline_execution_step_failure(CallbackToken=asked["token"])
    assert caught.value.response["Error"]["Code"] == "ConflictException"


def test_a_failure_is_told(aws: Aws, queue: Queue) -> None:
    create(aws, "refusing", callback(queue))
    execution = start(aws, "refusing")
    aws.sagemaker.send_pipeline_execution_step_failure(
        CallbackToken=queue.take()["token"], FailureReason="nobody wants it"
    )
    assert wait(aws, execution)["FailureReason"].endswith("Step 'Ask': nobody wants it")


def test_outputs_that_are_missing_fail_the_step(aws: Aws, queue: Queue) -> None:
    create(aws, "missing", callback(queue))
    execution = start(aws, "missing")
    aws.sagemaker.send_pipeline_execution_step_success(CallbackToken=queue.take()["token"])
    assert "no output parameter 'score'" in wait(aws, execution)["FailureReason"]


def test_a_stop_waits_for_the_answer(aws: Aws, queue: Queue) -> None:
    create(aws, "stopping", callback(queue), processing("After", "print(1)", DependsOn=["Ask"]))
    execution = start(aws, "stopping")
    token = queue.take()["token"]
    aws.sagemaker.stop_pipeline_execution(PipelineExecutionArn=execution)
    told = queue.take()
    assert (told["token"], told["Status"]) == (token, "Stopping")
    assert steps_of(aws, execution)["Ask"]["StepStatus"] == "Stopping"
    assert wait(aws, execution, "Stopping")
    aws.sagemaker.send_pipeline_execution_step_success(CallbackToken=token)
    assert wait(aws, execution)["PipelineExecutionStatus"] == "Stopped"
    assert set(steps_of(aws, execution)) == {"Ask"}


def test_what_cannot_be_sent_or_is_unknown(aws: Aws, queue: Queue) -> None:
    with pytest.raises(ClientError, match="No callback step waits for") as caught:
        aws.sagemaker.send_pipeline_execution_step_success(CallbackToken="a" * 10)
    assert caught.value.response["Error"]["Code"] == "ResourceNotFound"
    step = callback(queue)
    with pytest.raises(ClientError, match="A Callback step needs SqsQueueUrl"):
        create(aws, "nowhere", {**step, "SqsQueueUrl": ""})
    create(aws, "nowhere", {**step, "SqsQueueUrl": queue.url + "-gone"})
    ended = wait(aws, start(aws, "nowhere"))
    assert "-gone: " in ended["FailureReason"]


def test_a_token_of_a_former_process_is_worthless(
    aws: Aws, queue: Queue, isolation: str, emulator_port: int
) -> None:
    create(aws, "left", callback(queue))
    execution = start(aws, "left")
    token = queue.take()["token"]
    aws.service.close()
    service = make_service(aws.folder, emulator_port, isolation, lambda *_: None)
    try:
        found = service.call("DescribePipelineExecution", {"PipelineExecutionArn": execution})
        assert found["PipelineExecutionStatus"] == "Failed"
        status, body = service.handle(
            "SageMaker.SendPipelineExecutionStepSuccess",
            json.dumps({"CallbackToken": token}).encode(),
        )
        assert (status, json.loads(body)["__type"]) == (400, "ResourceNotFound")
        # Retried, it asks again.
        retry = {"PipelineExecutionArn": execution, "ClientRequestToken": "x" * 32}
        service.call("RetryPipelineExecution", retry)
        again = queue.take()["token"]
        assert again != token
        service.call(
            "SendPipelineExecutionStepFailure", {"CallbackToken": again, "FailureReason": "enough"}
        )

        def told() -> bool:
            body = service.call("DescribePipelineExecution", {"PipelineExecutionArn": execution})
            return str(body.get("FailureReason", "")).endswith("enough")

        until(told)
    finally:
        service.close()
