"""Start, stop, crash and reset of the background process, on real ports."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_process import (
    LOCAL_AWS,
    Cli,
    children_of,
    fresh_cli,
    listening_addresses,
    processes_of,
)
from conftest import free_port, until

from local_aws.cli import process
from local_aws.cli.process import LocalAws
from local_aws.images.images import Image, Images


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    with fresh_cli(tmp_path) as fresh:
        yield fresh


def test_start_returns_once_it_answers_and_stop_keeps_all(cli: Cli) -> None:
    assert cli.status(3) == {"running": False, "data_dir": str(cli.data_dir)}
    assert not cli.data_dir.exists()
    begun = cli.run("start", "--port=0", "--region=eu-west-1")
    status = cli.status()
    url = status["endpoint_url"]
    port = int(url.removeprefix("http://127.0.0.1:"))
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/_ministack/health") as answer:
        assert answer.status == 200
    assert status == {
        "running": True,
        "pid": status["pid"],
        "endpoint_url": url,
        "region": "eu-west-1",
        "isolation": status["isolation"],
        "data_dir": str(cli.data_dir),
        "environment": {
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "eu-west-1",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
            "CDK_DOCKER": str(LOCAL_AWS.with_name("local-aws-docker")),
            "LOCAL_AWS_DATA_DIR": str(cli.data_dir),
        },
    }
    assert os.access(status["environment"]["CDK_DOCKER"], os.X_OK)
    assert url in begun.stderr
    exports = [shlex.split(line) for line in begun.stdout.splitlines()]
    wanted = [["export", f"{name}={value}"] for name, value in status["environment"].items()]
    assert exports == wanted
    assert cli.run("status").stdout == begun.stdout
    assert os.getsid(status["pid"]) == status["pid"]

    again = cli.run("start", "--port=0")
    assert "already runs" in again.stderr
    assert again.stdout == begun.stdout
    assert cli.status()["pid"] == status["pid"]

    cli.client("sagemaker").create_model_package_group(ModelPackageGroupName="group")
    cli.client("s3").create_bucket(
        Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    cli.client("s3").put_object(Bucket="bucket", Key="key", Body=b"value")
    cli.run("stop")
    assert cli.status(3)["running"] is False
    assert processes_of(cli.data_dir) == []
    assert "was not running" in cli.run("stop").stderr

    cli.start("--region=eu-west-1")
    groups = cli.client("sagemaker").list_model_package_groups()["ModelPackageGroupSummaryList"]
    assert [group["ModelPackageGroupName"] for group in groups] == ["group"]
    assert cli.client("s3").get_object(Bucket="bucket", Key="key")["Body"].read() == b"value"


def test_it_survives_kill_and_stale_records(cli: Cli) -> None:
    cli.start()
    cli.client("sagemaker").create_model_package_group(ModelPackageGroupName="group")
    cli.kill()
    assert cli.status(3)["running"] is False
    cli.start()
    groups = cli.client("sagemaker").list_model_package_groups()["ModelPackageGroupSummaryList"]
    assert [group["ModelPackageGroupName"] for group in groups] == ["group"]
    cli.kill()

    # Its number now belongs to a process that is none of ours.
    record = cli.data_dir / "local-aws.json"
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as stranger:
        try:
            written = json.loads(record.read_text())
            record.write_text(json.dumps({**written, "pid": stranger.pid}))
            cli.status(3)
            cli.run("stop")
            assert not record.exists()
            record.write_text(json.dumps({**written, "pid": stranger.pid}))
            assert cli.start()["pid"] != stranger.pid
            cli.run("reset")
            assert stranger.poll() is None
        finally:
            stranger.kill()
    cli.run("stop")
    record.write_text('{"pid": 1')
    cli.status(3)
    cli.start()


def test_nothing_listens_beyond_loopback(cli: Cli) -> None:
    status = cli.start()
    pids = children_of(status["pid"])
    until(lambda: len(listening_addresses(pids)) > 0)
    addresses = listening_addresses(pids)
    assert {address for address, _ in addresses} == {"0100007F"}  # 127.0.0.1, little-endian
    assert int(status["endpoint_url"].rpartition(":")[2]) in {port for _, port in addresses}


def test_simultaneous_starts_in_one_folder_make_one_process(cli: Cli) -> None:
    starts = [cli.popen("start", "--port=0") for _ in range(3)]
    outputs = {start.communicate(timeout=120)[0] for start in starts}
    assert [start.returncode for start in starts] == [0, 0, 0]
    assert len(outputs) == 1
    assert processes_of(cli.data_dir) == [cli.status()["pid"]]


def test_simultaneous_starts_on_one_port_do_not_meet(tmp_path: Path) -> None:
    port = free_port()
    clis = [Cli(tmp_path / name) for name in ("a", "b")]
    for cli in clis:
        cli.folder.mkdir()
    try:
        starts = [cli.popen("start", f"--port={port}") for cli in clis]
        errors = [start.communicate(timeout=120)[1] for start in starts]
        assert sorted(start.returncode for start in starts) == [0, 1]
        loser = next(i for i, start in enumerate(starts) if start.returncode)
        assert f"port {port} is taken" in errors[loser]
        clis[loser].status(3)
        assert processes_of(clis[loser].data_dir) == []

        # On its own port, what happens to one is nothing to the other.
        clis[loser].start()
        winner = clis[1 - loser].status()
        clis[loser].run("reset")
        clis[loser].run("stop")
        assert clis[1 - loser].status() == winner
    finally:
        for cli in clis:
            cli.run("stop")


def test_a_taken_port_is_named(cli: Cli) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        error = cli.run("start", f"--port={port}", status=1).stderr
    assert f"port {port} is taken" in error
    assert "--port" in error
    cli.run("start", f"--port={port}")


def test_a_killed_start_leaves_a_process_that_is_known(cli: Cli) -> None:
    start = cli.popen("start", "--port=0")
    until(lambda: len(processes_of(cli.data_dir)) > 0)
    start.kill()
    start.communicate()
    pids = processes_of(cli.data_dir)
    # The next start finds it, and waits until it answers.
    assert [cli.start()["pid"]] == pids
    cli.run("stop")
    assert processes_of(cli.data_dir) == []


def test_an_interrupted_start_leaves_no_process(cli: Cli) -> None:
    start = cli.popen("start", "--port=0")
    until(lambda: len(processes_of(cli.data_dir)) > 0)
    start.send_signal(signal.SIGINT)
    start.communicate(timeout=60)
    assert start.returncode == 130
    assert processes_of(cli.data_dir) == []


def test_a_process_that_dies_shows_the_end_of_its_log(cli: Cli) -> None:
    cli.start()
    cli.run("stop")
    (cli.data_dir / "sagemaker.sqlite").write_bytes(b"no database" * 100)
    error = cli.run("start", "--port=0", status=1).stderr
    assert "before it answered" in error
    assert "file is not a database" in error
    cli.status(3)
    cli.run("reset")
    cli.start()


def test_reset_forgets_all_but_images(cli: Cli) -> None:
    cli.run("reset")
    assert not cli.data_dir.exists()
    before = cli.start("--region=eu-west-1")
    Images(cli.data_dir).register("image:1", Image(root=cli.data_dir))
    (cli.data_dir / "images").mkdir(exist_ok=True)
    (cli.data_dir / "images" / "layer").write_text("content")
    cli.client("sagemaker").create_model_package_group(ModelPackageGroupName="group")
    cli.client("sns").create_topic(Name="topic")

    cli.run("reset")
    after = cli.status()
    assert {**after, "pid": before["pid"]} == before
    assert after["pid"] != before["pid"]
    assert cli.client("sagemaker").list_model_package_groups()["ModelPackageGroupSummaryList"] == []
    assert cli.client("sns").list_topics()["Topics"] == []
    assert Images(cli.data_dir).resolve("image:1") == Image(root=cli.data_dir)
    assert (cli.data_dir / "images" / "layer").read_text() == "content"

    cli.run("stop")
    cli.run("reset", "--images")
    cli.status(3)
    assert [entry.name for entry in cli.data_dir.iterdir()] == ["local-aws.lock"]


def test_a_process_that_does_not_end_is_killed(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    pid = cli.start()["pid"]
    os.kill(pid, signal.SIGSTOP)
    monkeypatch.setattr(process, "STOP_SECONDS", 0.5)
    monkeypatch.setattr(process, "QUIET_SECONDS", 0.1)
    told: list[str] = []
    assert LocalAws(cli.data_dir, told.append).stop()
    assert [str(pid) in line for line in told] == [True]
    cli.status(3)
    assert processes_of(cli.data_dir) == []


def test_another_port_is_chosen_when_somebody_is_quicker(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = subprocess.Popen
    with socket.socket() as taken:

        def start_and_take(arguments: list[str], **more: Any) -> subprocess.Popen[bytes]:
            started = plain(arguments, **more)
            ports = [text[7:] for text in arguments if text.startswith("--port=")]
            if ports and taken.getsockname()[1] == 0:  # once, and long before the process can
                taken.bind(("127.0.0.1", int(ports[0])))
                taken.listen()
            return started

        with monkeypatch.context() as patched:
            patched.setattr(subprocess, "Popen", start_and_take)
            record, new = LocalAws(cli.data_dir, print).start(0, "us-east-1", "auto", {})
        assert new
        assert record.port != taken.getsockname()[1] > 0
    assert cli.status()["endpoint_url"] == f"http://127.0.0.1:{record.port}"


def test_a_folder_with_other_things_is_left_alone(cli: Cli) -> None:
    cli.data_dir.mkdir()
    (cli.data_dir / "thesis.txt").write_text("years of work")
    error = cli.run("start", "--port=0", status=1).stderr
    assert "--data-dir" in error
    assert "thesis.txt" in error
    cli.run("reset")
    assert [entry.name for entry in cli.data_dir.iterdir()] == ["thesis.txt"]


def test_an_isolation_that_does_not_work_is_refused(cli: Cli) -> None:
    cli.env["PATH"] = str(cli.folder)  # neither unshare nor bwrap is there
    error = cli.run("start", "--port=0", "--isolation=bubblewrap", status=1).stderr
    assert "--isolation" in error
    assert "auto" in error
    assert cli.start()["isolation"] == "environment"
