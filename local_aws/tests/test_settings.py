"""What the environment says of how a local AWS plays: late captures, events that come twice."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from cli_process import Cli, fresh_cli
from host_process import HostProcess, function, queue, receive

from local_aws.sagemaker.core.events import copies
from local_aws.settings import SettingError, Settings


def test_the_environment_sets_what_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Settings(Path(), 1, "eu-west-1")
    assert plain.longest_bake_seconds == math.inf
    assert (plain.capture_minutes, plain.duplicate_events) == (0.0, 0.0)

    monkeypatch.setenv("LOCAL_AWS_LONGEST_BAKE", "2")
    monkeypatch.setenv("LOCAL_AWS_CAPTURE_MINUTES", "0.1")
    monkeypatch.setenv("LOCAL_AWS_DUPLICATE_EVENTS", "1")
    told = Settings(Path(), 1, "eu-west-1")
    assert told.longest_bake_seconds == 2.0
    assert (told.capture_minutes, told.duplicate_events) == (0.1, 1.0)


@pytest.mark.parametrize(
    ("name", "value", "fix"),
    [
        ("LOCAL_AWS_LONGEST_BAKE", "two", "a number of 0 or more"),
        ("LOCAL_AWS_CAPTURE_MINUTES", "-1", "a number of 0 or more"),
        ("LOCAL_AWS_CAPTURE_MINUTES", "nan", "a number of 0 or more"),
        ("LOCAL_AWS_DUPLICATE_EVENTS", "2", "a number from 0 to 1"),
        ("LOCAL_AWS_IAM", "strict", "log or enforce"),
    ],
)
def test_a_wrong_setting_is_named_with_the_fix(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, fix: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingError, match=f"{name}={value}: set it to {fix}"):
        Settings(Path(), 1, "eu-west-1")


def test_nothing_starts_with_a_wrong_setting(tmp_path: Path) -> None:
    cli = Cli(tmp_path, LOCAL_AWS_DUPLICATE_EVENTS="often")
    assert "LOCAL_AWS_DUPLICATE_EVENTS=often" in cli.run("start", status=1).stderr
    assert not cli.status(status=3)["running"]


def test_sagemaker_alone_cannot_enforce_permissions(tmp_path: Path) -> None:
    cli = Cli(tmp_path, LOCAL_AWS_IAM="enforce")
    error = cli.run("start", "--endpoint=s3=http://127.0.0.1:9", status=1).stderr
    assert "LOCAL_AWS_IAM=enforce: SageMaker alone has no IAM" in error
    assert not cli.status(status=3)["running"]


def test_a_fraction_of_the_events_is_sent_twice() -> None:
    assert {copies(0.0) for _ in range(1000)} == {1}
    assert {copies(1.0) for _ in range(1000)} == {2}
    assert 2400 < sum(copies(0.3) for _ in range(2000)) < 2800


def test_events_come_twice_where_that_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_AWS_DUPLICATE_EVENTS", "1")
    with HostProcess(tmp_path / "host") as host:
        url, arn = queue(host, "heard")
        events: Any = host.client("events")
        events.put_rule(Name="all", EventPattern=json.dumps({"source": ["aws.sagemaker"]}))
        events.put_targets(Rule="all", Targets=[{"Id": "q", "Arn": arn}])
        sagemaker = host.client("sagemaker")
        sagemaker.create_model_package_group(ModelPackageGroupName="g")
        sagemaker.create_model_package(
            ModelPackageGroupName="g", InferenceSpecification={"Containers": [{"Image": "i:1"}]}
        )

        first, second = (json.loads(receive(host, url)) for _ in range(2))
    assert first["detail-type"] == "SageMaker Model Package State Change"
    assert first["detail"] == second["detail"]
    assert first["id"] != second["id"]


def test_functions_reach_mwaa_and_do_not_see_how_packages_are_installed(tmp_path: Path) -> None:
    code = "import os\ndef handler(event, context): return dict(os.environ)"
    with fresh_cli(tmp_path, UV_INDEX_URL="http://index.example", PIP_CERT="/cert.pem") as cli:
        cli.start()
        function(cli, "seen", code)
        answer = cli.client("lambda").invoke(FunctionName="seen")
        seen = json.load(answer["Payload"])
    assert seen["AWS_DISABLE_HOST_PREFIX_INJECTION"] == "true"
    assert not {"UV_INDEX_URL", "PIP_CERT"} & seen.keys()
