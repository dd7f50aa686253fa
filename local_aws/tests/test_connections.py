"""What connects the services of the local AWS: events, functions, schedules, state machines."""

from __future__ import annotations

import io
import json
import re
import urllib.error
import urllib.request
import uuid
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import REGION, until
from host_process import ACCOUNT, ROLE, HostProcess, function, pipeline, queue, receive


def rule(host: HostProcess, name: str, pattern: dict[str, Any]) -> str:
    """Send what matches a pattern to a new queue and return the queue's URL."""
    url, arn = queue(host, name)
    events = host.client("events")
    events.put_rule(Name=name, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=name, Targets=[{"Id": "1", "Arn": arn}])
    return url


def test_a_function_whose_code_is_an_object(host: HostProcess) -> None:
    arn = function(host, "from-s3", "handler = None")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("index.py", "def handler(event, context):\n    return event['word']\n")
    here = {"LocationConstraint": REGION}
    host.client("s3").create_bucket(Bucket="code", CreateBucketConfiguration=here)
    host.client("s3").put_object(Bucket="code", Key="index.zip", Body=buffer.getvalue())
    functions = host.client("lambda")
    functions.update_function_code(FunctionName=arn, S3Bucket="code", S3Key="index.zip")
    answer = functions.invoke(FunctionName=arn, Payload=b'{"word": "here"}')["Payload"].read()
    assert json.loads(answer) == "here"


def words(host: HostProcess, name: str) -> list[str]:
    """Return the parameter of each execution of a pipeline, as its failure reasons show it."""
    sagemaker = host.client("sagemaker")
    found = sagemaker.list_pipeline_executions(PipelineName=name)["PipelineExecutionSummaries"]
    reasons = []
    for execution in found:
        arn = execution["PipelineExecutionArn"]
        steps = sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn)
        reasons += [step.get("FailureReason", "") for step in steps["PipelineExecutionSteps"]]
    return reasons


def test_sagemaker_events_reach_rules(host: HostProcess, name: str) -> None:
    url = rule(
        host,
        name,
        {"source": ["aws.sagemaker"], "detail": {"pipelineArn": [{"suffix": f"/{name}"}]}},
    )
    arn = pipeline(host, name)
    host.client("sagemaker").start_pipeline_execution(
        PipelineName=name, ClientRequestToken=uuid.uuid4().hex
    )
    event = json.loads(receive(host, url))
    assert event["source"] == "aws.sagemaker"
    assert (event["account"], event["region"]) == (ACCOUNT, REGION)
    assert event["detail"]["pipelineArn"] == arn


def test_callers_may_not_send_events_of_aws(host: HostProcess) -> None:
    entry = {"Source": "aws.sagemaker", "DetailType": "x", "Detail": "{}"}
    answer = host.client("events").put_events(Entries=[entry])
    assert answer["Entries"][0]["ErrorCode"] == "NotAuthorizedForSourceException"


def test_an_alarm_reaches_rules_and_its_topic(host: HostProcess, name: str) -> None:
    # Amazon CloudWatch User Guide, "Alarm events and EventBridge": a single metric alarm.
    url = rule(
        host,
        name,
        {
            "source": ["aws.cloudwatch"],
            "detail-type": ["CloudWatch Alarm State Change"],
            "detail": {"alarmName": [name], "state": {"value": ["ALARM"]}},
        },
    )
    mails, mails_arn = queue(host, f"{name}-mails")
    sns = host.client("sns")
    topic = sns.create_topic(Name=name)["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=mails_arn)
    cloudwatch = host.client("cloudwatch")
    cloudwatch.put_metric_alarm(
        AlarmName=name,
        AlarmDescription="too many",
        Namespace="toy",
        MetricName="Violations",
        Dimensions=[{"Name": "Monitor", "Value": "m"}],
        Statistic="Maximum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=0,
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="notBreaching",
        AlarmActions=[topic],
    )
    cloudwatch.put_metric_data(
        Namespace="toy",
        MetricData=[
            {
                "MetricName": "Violations",
                "Value": 2,
                "Dimensions": [{"Name": "Monitor", "Value": "m"}],
            }
        ],
    )
    event = json.loads(receive(host, url))
    alarm = f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{name}"
    assert event["resources"] == [alarm]
    detail = event["detail"]
    assert detail["alarmName"] == name
    assert detail["configuration"]["description"] == "too many"
    metric = detail["configuration"]["metrics"][0]
    assert metric["returnData"] is True
    assert metric["metricStat"] == {
        "metric": {"namespace": "toy", "name": "Violations", "dimensions": {"Monitor": "m"}},
        "period": 60,
        "stat": "Maximum",
    }
    assert detail["state"]["value"] == "ALARM"
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000", detail["state"]["timestamp"]
    )
    assert detail["previousState"]["value"] in ("OK", "INSUFFICIENT_DATA")
    mail = json.loads(json.loads(receive(host, mails))["Message"])
    assert (mail["AlarmName"], mail["NewStateValue"]) == (name, "ALARM")


def test_an_alarm_invokes_its_function(host: HostProcess, name: str) -> None:
    # Amazon CloudWatch User Guide, "Invoke a Lambda function from an alarm".
    arn = function(host, name, "def handler(event, context):\n    raise ValueError('seen')\n")
    dead, dead_arn = queue(host, f"{name}-dead")
    functions = host.client("lambda")
    functions.update_function_configuration(
        FunctionName=name, DeadLetterConfig={"TargetArn": dead_arn}
    )
    functions.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0)
    cloudwatch = host.client("cloudwatch")
    cloudwatch.put_metric_alarm(
        AlarmName=name,
        Namespace="toy",
        MetricName=name,
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=0,
        ComparisonOperator="GreaterThanThreshold",
        AlarmActions=[arn],
    )
    cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="by hand")
    event = json.loads(receive(host, dead))
    assert event["source"] == "aws.cloudwatch"
    assert event["accountId"] == ACCOUNT
    assert event["alarmArn"].endswith(f":alarm:{name}")
    assert event["alarmData"]["state"]["value"] == "ALARM"
    assert event["alarmData"]["state"]["reason"] == "by hand"


# Lambda


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("def handler(event, context):\n    raise ValueError('no')\n", "ValueError"),
        (
            "class Busy(Exception):\n    pass\ndef handler(event, context):\n    raise Busy('x')\n",
            "Busy",
        ),
        (
            "def handler(event, context):\n    print('Warning: none')\n    return {}['k']\n",
            "KeyError",
        ),
    ],
)
def test_an_exception_is_named_by_its_class(
    host: HostProcess, name: str, code: str, expected: str
) -> None:
    function(host, name, code)
    answer = host.client("lambda").invoke(FunctionName=name)
    assert answer["FunctionError"] == "Unhandled"
    assert json.loads(answer["Payload"].read())["errorType"] == expected


def test_a_failing_function_of_a_rule_ends_in_its_dead_letter_queue(
    host: HostProcess, name: str
) -> None:
    arn = function(host, name, "def handler(event, context):\n    raise ValueError('no')\n")
    dead, dead_arn = queue(host, f"{name}-dead")
    functions = host.client("lambda")
    functions.update_function_configuration(
        FunctionName=name, DeadLetterConfig={"TargetArn": dead_arn}
    )
    functions.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0)
    events = host.client("events")
    events.put_rule(Name=name, EventPattern=json.dumps({"source": [name]}))
    target = {
        "Id": "1",
        "Arn": arn,
        "InputTransformer": {
            "InputPathsMap": {"key": "$.detail.key"},
            "InputTemplate": '{"found": "<key>"}',
        },
    }
    events.put_targets(Rule=name, Targets=[target])
    events.put_events(
        Entries=[{"Source": name, "DetailType": "x", "Detail": json.dumps({"key": "k1"})}]
    )
    assert json.loads(receive(host, dead)) == {"found": "k1"}


def test_a_slow_function_of_a_rule_does_not_hold_up_other_requests(
    host: HostProcess, name: str, tmp_path: Path
) -> None:
    go, done = tmp_path / "go", tmp_path / "done"
    code = (
        "import pathlib, time\ndef handler(event, context):\n"
        f"    while not pathlib.Path({str(go)!r}).exists():\n        time.sleep(0.01)\n"
        f"    pathlib.Path({str(done)!r}).touch()\n"
    )
    arn = function(host, name, code)
    events = host.client("events")
    events.put_rule(Name=name, EventPattern=json.dumps({"source": [name]}))
    events.put_targets(Rule=name, Targets=[{"Id": "1", "Arn": arn}])
    try:
        events.put_events(Entries=[{"Source": name, "DetailType": "x", "Detail": "{}"}])
        host.client("ssm").describe_parameters()
        assert not done.exists()
    finally:
        go.touch()
    until(done.exists)


# Pipelines as targets


def test_a_rule_starts_a_pipeline_with_parameters(host: HostProcess, name: str) -> None:
    arn = pipeline(host, name)
    events = host.client("events")
    events.put_rule(Name=name, EventPattern=json.dumps({"source": [name]}))
    parameters = {"PipelineParameterList": [{"Name": "Word", "Value": "from-rule"}]}
    target = {"Id": "1", "Arn": arn, "RoleArn": ROLE, "SageMakerPipelineParameters": parameters}
    events.put_targets(Rule=name, Targets=[target])
    events.put_events(Entries=[{"Source": name, "DetailType": "x", "Detail": "{}"}])
    until(lambda: any("from-rule" in word for word in words(host, name)))


def test_schedules_start_pipelines_both_ways(host: HostProcess, name: str) -> None:
    arn = pipeline(host, name)
    due = datetime.now(UTC) - timedelta(seconds=1)
    when = f"at({due:%Y-%m-%dT%H:%M:%S})"
    scheduler = host.client("scheduler")
    parameters = {"PipelineParameterList": [{"Name": "Word", "Value": "templated"}]}
    scheduler.create_schedule(
        Name=f"{name}-templated",
        ScheduleExpression=when,
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={"Arn": arn, "RoleArn": ROLE, "SageMakerPipelineParameters": parameters},
    )
    word = "<aws.scheduler.scheduled-time>|<aws.scheduler.execution-id>"
    request = {
        "PipelineName": name,
        "PipelineParameters": [{"Name": "Word", "Value": word}],
        "ClientRequestToken": "<aws.scheduler.execution-id>",
    }
    scheduler.create_schedule(
        Name=f"{name}-universal",
        ScheduleExpression=when,
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={
            "Arn": "arn:aws:scheduler:::aws-sdk:sagemaker:startPipelineExecution",
            "RoleArn": ROLE,
            "Input": json.dumps(request),
        },
    )
    until(lambda: len(words(host, name)) == 2 and all(words(host, name)), 30)
    found = sorted(words(host, name))
    assert any("templated" in entry for entry in found)
    scheduled = due.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert any(re.search(rf"{scheduled}\|[0-9a-f-]{{32,36}}", entry) for entry in found), found


# Step Functions


def test_the_output_of_a_succeed_state_in_jsonata_is_the_executions(
    host: HostProcess, name: str
) -> None:
    # AWS Step Functions Developer Guide, "Transforming data with JSONata": Output of Succeed.
    machine = {
        "QueryLanguage": "JSONata",
        "StartAt": "Done",
        "States": {"Done": {"Type": "Succeed", "Output": {"sum": "{% $states.input.a + 1 %}"}}},
    }
    states = host.client("stepfunctions")
    arn = states.create_state_machine(name=name, definition=json.dumps(machine), roleArn=ROLE)
    started = states.start_execution(
        stateMachineArn=arn["stateMachineArn"], input=json.dumps({"a": 1})
    )["executionArn"]
    until(lambda: states.describe_execution(executionArn=started)["status"] != "RUNNING")
    described = states.describe_execution(executionArn=started)
    assert described["status"] == "SUCCEEDED"
    assert json.loads(described["output"]) == {"sum": 2}


# What would let everybody in


def test_a_load_balancer_that_should_ask_cognito_lets_nobody_in(
    host: HostProcess, name: str
) -> None:
    balancing = host.client("elbv2")
    balancer = balancing.create_load_balancer(Name=name[:30], Subnets=["subnet-1", "subnet-2"])
    arn = balancer["LoadBalancers"][0]["LoadBalancerArn"]
    pool = f"arn:aws:cognito-idp:{REGION}:{ACCOUNT}:userpool/{REGION}_x"
    ask = {"UserPoolArn": pool, "UserPoolClientId": "c", "UserPoolDomain": "d"}
    hello = {"StatusCode": "200", "MessageBody": "hello"}
    balancing.create_listener(
        LoadBalancerArn=arn,
        Protocol="HTTP",
        Port=80,
        DefaultActions=[
            {"Type": "authenticate-cognito", "Order": 1, "AuthenticateCognitoConfig": ask},
            {"Type": "fixed-response", "Order": 2, "FixedResponseConfig": hello},
        ],
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"http://127.0.0.1:{host.port}/_alb/{name[:30]}/")
    assert caught.value.code == 501
    assert b"authenticate-cognito" in caught.value.read()
