"""Real Airflow behind Amazon MWAA: its life in a stack, under roles that are enforced."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3
from conftest import until
from host_process import ACCOUNT, PROGRAM, HostProcess, function
from mwaa_environment import Environment, megabytes, processes
from mwaa_requests import bucket, request, role, settled

pytestmark = pytest.mark.exhaustive

ENFORCED = PROGRAM.replace('isolation="environment"', 'isolation="environment", iam="enforce"')

DAG = """
from __future__ import annotations

import boto3
from airflow.sdk import dag, task
from botocore.exceptions import ClientError
from helper import WORD


@dag(schedule=None, params={"seconds": 0})
def say():
    @task
    def first(params):
        import time
        print("first:", WORD, boto3.client("sts").get_caller_identity()["Arn"], flush=True)
        time.sleep(params["seconds"])
        try:
            boto3.client("s3").put_object(Bucket="BUCKET", Key="written", Body=b"1")
        except ClientError as error:
            return error.response["Error"]["Code"]

    @task
    def second(code):
        print("second:", code)

    second(first())


say()
"""

OPTIONS = {"core.dags_are_paused_at_creation": "False"}


@pytest.fixture
def aws(tmp_path: Path) -> Iterator[HostProcess]:
    with HostProcess(tmp_path, ENFORCED) as process:
        yield process
    assert processes(tmp_path) == []


def put_dags(host: HostProcess, name: str, word: str) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("say.py", DAG.replace("BUCKET", name))
        archive.writestr("helper.py", f"WORD = {word!r}\n")
    body = buffer.getvalue()
    host.client("s3").put_object(Bucket=f"{name}-assets", Key=f"{word}.zip", Body=body)


def deployer(host: HostProcess, name: str) -> str:
    """A function as CDK's, with a role that may fill the bucket."""
    iam = host.client("iam")
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "lambda.amazonaws.com"},
                "Action": "sts:AssumeRole",
            }
        ],
    }
    arn = iam.create_role(RoleName=f"{name}-d", AssumeRolePolicyDocument=json.dumps(trust))
    policy = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}],
    }
    iam.put_role_policy(RoleName=f"{name}-d", PolicyName="all", PolicyDocument=json.dumps(policy))
    code = "def handler(event, context): return 1"
    return function(host, f"{name}-d", code, arn["Role"]["Arn"])


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    """An environment of a stack, which is deleted at the end."""
    folder, name = tmp_path_factory.mktemp("airflow"), "life"
    with HostProcess(folder, ENFORCED) as host:
        arn = bucket(host, name)
        bucket(host, f"{name}-assets")
        put_dags(host, name, "one")
        put_dags(host, name, "two")
        logs = {"SchedulerLogs": {"Enabled": True, "LogLevel": "INFO"}}
        properties = request(name, arn, role(host, name, arn), Tags={"team": "a"})
        properties |= {"AirflowConfigurationOptions": OPTIONS, "LoggingConfiguration": logs}
        made = Environment(host, name, properties, deployer(host, name))
        began = time.monotonic()
        assert made.deploy("one") == "CREATE_COMPLETE"
        print(f"created in {time.monotonic() - began:.1f} s")
        made.wait_for_dag("say")
        yield made
        host.client("cloudformation").delete_stack(StackName=name)
        until(lambda: not host.client("mwaa").list_environments()["Environments"], 120)
        assert processes(folder) == []
        assert not (folder / "mwaa" / name).exists()


def test_a_stack_has_an_environment_with_its_attributes(environment: Environment) -> None:
    found = environment.get()
    assert (found["Status"], found["Tags"]["team"]) == ("AVAILABLE", "a")
    outputs = environment.outputs()
    group = found["LoggingConfiguration"]["TaskLogs"]["CloudWatchLogGroupArn"]
    assert outputs["Arn"] == found["Arn"]
    assert outputs["WebserverUrl"] == found["WebserverUrl"]
    assert outputs["LoggingConfigurationTaskLogsCloudWatchLogGroupArn"] == group


def test_tasks_run_with_the_role_of_the_environment(environment: Environment, name: str) -> None:
    began = time.monotonic()
    environment.run(name)
    environment.wait(name)
    print(f"ran in {time.monotonic() - began:.1f} s")
    who = f"arn:aws:sts::{ACCOUNT}:assumed-role/{environment.name}/AmazonMWAA-airflow"
    assert f" {who}" in environment.log(name, "first")
    # The role may read the bucket, and not write to it.
    assert "second: AccessDenied" in environment.log(name, "second")
    logs = environment.host.client("logs")
    groups = logs.describe_log_groups(logGroupNamePrefix="airflow-life-")["logGroups"]
    assert [group["logGroupName"] for group in groups] == [
        "airflow-life-Scheduler",
        "airflow-life-Task",
    ]


def test_the_rest_api_answers_and_refuses_as_airflow_does(
    environment: Environment, name: str
) -> None:
    environment.run(name)
    environment.wait(name)
    body = {"dag_run_id": name, "logical_date": None}
    again = environment.refused("POST", "/dags/say/dagRuns", Body=body)
    assert again["Error"]["Code"] == "RestApiClientException"
    assert again["RestApiStatusCode"] == 409
    absent = environment.refused("GET", "/dags/absent")
    assert (absent["RestApiStatusCode"], absent["ResponseMetadata"]["HTTPStatusCode"]) == (404, 400)
    assert "absent" in absent["RestApiResponse"]["detail"]
    query = {"order_by": "-run_after", "limit": 1, "state": ["success", "failed"]}
    runs = environment.call("GET", "/dags/say/dagRuns", QueryParameters=query)["dag_runs"]
    assert [run["dag_run_id"] for run in runs] == [name]
    mwaa = environment.host.client("mwaa")
    told = mwaa.create_web_login_token(Name=environment.name)
    url = f"http://{told['WebServerHostname']}/api/v2/dags"
    answer = urllib3.request("GET", url, headers={"Authorization": f"Bearer {told['WebToken']}"})
    assert answer.json()["total_entries"] == 1
    assert mwaa.create_cli_token(Name=environment.name)["CliToken"]


def test_alarms_can_watch_the_heartbeat(environment: Environment) -> None:
    cloudwatch = environment.host.client("cloudwatch")

    def found() -> list[dict[str, Any]]:
        metrics: list[dict[str, Any]] = cloudwatch.list_metrics(Namespace="AmazonMWAA")["Metrics"]
        return metrics

    until(lambda: found() != [])
    (metric,) = found()
    assert metric["MetricName"] == "SchedulerHeartbeat"
    assert {each["Name"]: each["Value"] for each in metric["Dimensions"]} == {
        "Environment": environment.name,
        "Function": "Scheduler",
    }


def test_airflow_is_small_at_rest(environment: Environment) -> None:
    found = megabytes(processes(environment.host.data_dir))
    print(f"memory at rest {found:.0f} MB")
    assert found <= 500


def test_other_dags_leave_airflow_running(environment: Environment, name: str) -> None:
    before = set(processes(environment.host.data_dir))
    assert environment.deploy("two") == "UPDATE_COMPLETE"
    until(lambda: (environment.folder / "dags/helper.py").read_text() == "WORD = 'two'\n")
    environment.run(name)
    environment.wait(name)
    assert "first: two" in environment.log(name, "first")
    assert before <= set(processes(environment.host.data_dir))


def test_a_killed_local_aws_takes_up_what_ran(environment: Environment, name: str) -> None:
    environment.run(f"{name}-before")
    environment.wait(f"{name}-before")
    environment.run(name, 20)
    assert "first: " in environment.log(name, "first")
    url = environment.get()["WebserverUrl"]
    began = time.monotonic()
    environment.host.kill_and_start()
    assert environment.get()["Status"] == "MAINTENANCE"
    assert settled(environment.host, environment.name)["WebserverUrl"] == url
    print(f"started again in {time.monotonic() - began:.1f} s")
    assert environment.state(f"{name}-before") == "success"
    environment.wait(name)


def test_an_update_that_fails_is_rolled_back(environment: Environment, name: str) -> None:
    environment.run(name)
    environment.wait(name)
    host, mwaa = environment.host, environment.host.client("mwaa")
    body = b"no-such-package-of-this-name-there-is==1\n"
    host.client("s3").put_object(Bucket=environment.name, Key="requirements.txt", Body=body)
    changed = {**OPTIONS, "core.max_active_tasks_per_dag": "3"}
    mwaa.update_environment(
        Name=environment.name,
        RequirementsS3Path="requirements.txt",
        AirflowConfigurationOptions=changed,
    )
    failed = settled(host, environment.name)
    assert (failed["Status"], failed["LastUpdate"]["Status"]) == ("UPDATE_FAILED", "FAILED")
    assert "no-such-package" in failed["LastUpdate"]["Error"]["ErrorMessage"]
    assert failed["AirflowConfigurationOptions"] == OPTIONS
    assert environment.state(name) == "success"

    mwaa.update_environment(Name=environment.name, AirflowConfigurationOptions=changed)
    assert settled(host, environment.name)["Status"] == "AVAILABLE"
    until(lambda: environment.call("GET", "/dags/say/details")["max_active_tasks"] == 3, 120)
    assert environment.state(name) == "success"


@pytest.mark.parametrize("version", ["3.0.6", "3.3.1"])
def test_the_other_versions_run_too(aws: HostProcess, name: str, version: str) -> None:
    arn = bucket(aws, name)
    s3 = aws.client("s3")
    s3.put_object(Bucket=name, Key="dags/say.py", Body=DAG.replace("BUCKET", name).encode())
    # Plugins are importable, and requirements name files as on MWAA.
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("helper.py", "from humanize import intcomma\nWORD = intcomma(1000)\n")
    s3.put_object(Bucket=name, Key="plugins.zip", Body=buffer.getvalue())
    s3.put_object(Bucket=name, Key="dags/pins.txt", Body=b"humanize==4.9.0\n")
    requirements = b"--constraint /usr/local/airflow/dags/pins.txt\nhumanize\n"
    s3.put_object(Bucket=name, Key="requirements.txt", Body=requirements)
    asked = request(name, arn, role(aws, name, arn), AirflowVersion=version)
    aws.client("mwaa").create_environment(
        **asked,
        AirflowConfigurationOptions=OPTIONS,
        PluginsS3Path="plugins.zip",
        RequirementsS3Path="requirements.txt",
    )
    found = settled(aws, name)
    assert (found["Status"], found["AirflowVersion"]) == ("AVAILABLE", version), found
    environment = Environment(aws, name)
    environment.wait_for_dag("say")
    environment.run("r1")
    environment.wait("r1")
    assert "first: 1,000" in environment.log("r1", "first")
