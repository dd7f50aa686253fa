"""What the host adds to ministack, seen from outside through boto3."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from conftest import REGION
from host_process import DEFINITION, HostProcess, pipeline

from local_aws.host import internals

# The start-up check


def test_the_installed_ministack_is_the_one_this_was_written_for() -> None:
    internals.check()


def test_the_check_lists_all_that_has_changed() -> None:
    with pytest.raises(internals.IncompatibleMinistackError) as caught:
        internals.check(
            {
                "ministack.services.eventbridge": {"_no_such_name": None, "_put_events": "(other)"},
                "ministack.no_such_module": {"x": None},
            }
        )
    message = str(caught.value)
    assert "ministack.services.eventbridge._no_such_name is not there" in message
    assert re.search(r"_put_events\(data, allow_aws_source=False\).*\(other\)", message)
    assert "ministack.no_such_module" in message


def test_a_name_that_is_gone_stops_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("ministack.services.eventbridge._invoke_target")
    with pytest.raises(internals.IncompatibleMinistackError, match=r"eventbridge\._invoke_target"):
        internals.check()


def test_every_private_name_of_ministack_used_is_in_the_check() -> None:
    package = Path(internals.__file__).parents[1]
    used = set()
    for file in package.rglob("*.py"):
        source = file.read_text()
        assert "import ministack\n" not in source
        assert "from ministack" not in source
        # A module bound to a name, or used where it is got.
        bound = re.findall(r'(\w+) = module\("([\w.]+)"\)$', source, re.MULTILINE)
        for variable, name in bound:
            for attribute in re.findall(rf"(?<![.\w]){variable}\.(\w+)", source):
                used.add((f"ministack.{name}", attribute))
        for name, attribute in re.findall(r'\bmodule\("([\w.]+)"\)\.(\w+)', source):
            used.add((f"ministack.{name}", attribute))
    listed = {(module, name) for module, names in internals.INTERNALS.items() for name in names}
    assert used, "the pattern above no longer finds anything"
    assert used <= listed


# The process


def listening(pid: int) -> set[tuple[str, int]]:
    """Return address and port of each TCP socket on which a process listens."""
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(descriptor.readlink())
        except FileNotFoundError:
            continue
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                address, port = fields[1].split(":")
                found.add((address, int(port, 16)))
    return found


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads Linux's /proc")
def test_nothing_listens_beyond_loopback(host: HostProcess) -> None:
    assert listening(host.pid) == {("0100007F", host.port)}


def test_state_survives_a_clean_stop_and_a_kill(tmp_path: Path) -> None:
    with HostProcess(tmp_path / "aws") as host:
        host.client("ssm").put_parameter(Name="/clean", Value="1", Type="String")
        assert host.terminate() == 0
        host.start()
        assert host.client("ssm").get_parameter(Name="/clean")["Parameter"]["Value"] == "1"
        s3 = host.client("s3")
        s3.create_bucket(Bucket="kept", CreateBucketConfiguration={"LocationConstraint": REGION})
        s3.put_object(Bucket="kept", Key="k", Body=b"object")
        host.client("ssm").put_parameter(Name="/killed", Value="2", Type="String")
        pipeline(host, "kept")
        host.kill()
        host.start()
        assert host.client("ssm").get_parameter(Name="/killed")["Parameter"]["Value"] == "2"
        assert host.client("s3").get_object(Bucket="kept", Key="k")["Body"].read() == b"object"
        described = host.client("sagemaker").describe_pipeline(PipelineName="kept")
        assert json.loads(described["PipelineDefinition"]) == DEFINITION


def test_an_operation_that_is_not_there_is_refused_by_name(host: HostProcess) -> None:
    with pytest.raises(ClientError, match="ListApps") as caught:
        host.client("sagemaker").list_apps()
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501


def test_the_runtime_answers_for_an_endpoint_that_is_not_there(host: HostProcess) -> None:
    with pytest.raises(ClientError, match="absent") as caught:
        host.client("sagemaker-runtime").invoke_endpoint(EndpointName="absent", Body=b"1")
    assert caught.value.response["Error"]["Code"] == "ValidationError"


def test_many_callers_at_once_are_all_answered(host: HostProcess) -> None:
    pipeline(host, "many")
    failures: list[BaseException] = []

    def call() -> None:
        try:
            sagemaker, s3 = host.client("sagemaker"), host.client("s3")
            for _ in range(10):
                sagemaker.describe_pipeline(PipelineName="many")
                s3.list_buckets()
        except Exception as error:  # reported by the assertion below
            failures.append(error)

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
