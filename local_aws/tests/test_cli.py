"""`local-aws` as users meet it: help, errors, logs, and the README's example."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_process import (
    LOCAL_AWS,
    Cli,
    children_of,
    fresh_cli,
    is_zombie,
    listening_addresses,
)
from conftest import processing_request, until

from local_aws.images.containers import kill_orphan, start_time
from local_aws.images.images import Image, Images

COMMANDS = ("start", "stop", "status", "reset", "logs", "interrupt", "calls", "operations")


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    with fresh_cli(tmp_path) as fresh:
        yield fresh


def test_jobs_their_logs_and_what_a_crash_leaves(tmp_path: Path) -> None:
    # Settings of a user who works on AWS, behind a proxy that nothing may be sent to.
    proxy = "http://127.0.0.1:9"
    with fresh_cli(tmp_path, AWS_PROFILE="work", HTTP_PROXY=proxy, http_proxy=proxy) as cli:
        pid = cli.start("--region=eu-west-1")["pid"]
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        assert b"proxy" not in environment.lower()
        assert b"AWS_PROFILE" not in environment
        programs = tmp_path / "programs"
        programs.mkdir()
        code = "import os, time; print('it is', os.getpid(), flush=True); time.sleep(600)"
        request = processing_request(programs, "sleeper", code)
        image = Image(root=programs, path=str(Path(sys.executable).parent))
        Images(cli.data_dir).register(request["AppSpecification"]["ImageUri"], image)
        cli.client("sagemaker").create_processing_job(**request)
        log = cli.data_dir / "jobs" / "processing-sleeper" / "log.txt"
        until(lambda: log.exists() and "it is" in log.read_text())
        assert cli.run("logs", "sleeper").stdout == log.read_text()
        family = children_of(pid)
        assert len(family) > 1
        assert {address for address, _ in listening_addresses(family)} == {"0100007F"}
        until(lambda: bool(groups(cli)), seconds=30)
        assert "/aws/sagemaker/ProcessingJobs" in groups(cli)

        follower = cli.popen("logs", "sleeper", "--follow")
        assert follower.stdout is not None
        assert follower.stdout.readline().startswith("it is")
        with log.open("a") as file:
            file.write("more\n")
        assert follower.stdout.readline() == "more\n"
        follower.kill()
        follower.communicate()

        error = cli.run("logs", "sleep", status=1).stderr
        assert "sleeper" in error
        assert "Running on" in cli.run("logs").stdout

        # A namespace has its own view of files, but not of process ids.
        pid = int(re.findall(r"it is (\d+)", log.read_text())[0])
        started = start_time(pid)
        assert started is not None
        try:
            cli.kill()
            assert start_time(pid) == started
            cli.run("reset")
            until(lambda: start_time(pid) != started or is_zombie(pid))
        finally:
            kill_orphan(pid, started)


def groups(cli: Cli) -> list[str]:
    found = cli.client("logs").describe_log_groups()["logGroups"]
    return [group["logGroupName"] for group in found]


def test_logs_of_an_endpoint_are_those_of_its_latest_servers(cli: Cli) -> None:
    for age, fleet in enumerate(["old", "new"]):
        for variant in ("a", "b"):
            folder = cli.data_dir / "endpoints" / "flights" / fleet / variant
            folder.mkdir(parents=True)
            (folder / "log.txt").write_text(f"{fleet} {variant}\n")
        os.utime(folder.parent, (1e9 + age, 1e9 + age))
    shown = cli.run("logs", "flights").stdout
    assert "new a\n" in shown
    assert "new b\n" in shown
    assert "old" not in shown.replace(str(cli.data_dir), "")
    assert "flights" in cli.run("logs", "../flights", status=1).stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--port=65536"], "65536"),
        (["--port=http"], "http"),
        (["--region=Frankfurt"], "Frankfurt"),
        (["--isolation=docker"], "docker"),
    ],
)
def test_wrong_arguments_are_named(cli: Cli, arguments: list[str], told: str) -> None:
    error = cli.run("start", *arguments, status=2).stderr
    assert arguments[0].partition("=")[0] in error
    assert told in error
    assert not cli.data_dir.exists()


def test_a_wrong_region_in_the_environment_is_named(tmp_path: Path) -> None:
    error = Cli(tmp_path, AWS_REGION="nowhere").run("start", status=2).stderr
    assert "nowhere" in error


def test_help_tells_of_every_command_and_option() -> None:
    shown = subprocess.run([LOCAL_AWS, "--help"], capture_output=True, text=True, check=True).stdout
    assert re.findall(r"^    (\w+) {2,}\S", shown, re.MULTILINE) == list(COMMANDS)
    for command in COMMANDS:
        shown = subprocess.run(
            [LOCAL_AWS, command, "--help"], capture_output=True, text=True, check=True
        ).stdout
        assert ("--data-dir DIR" in shown) == (command != "operations")
        # Each option has a text beside or below it.
        for option in re.finditer(r"^  (--?\w.*?)(?: {2,}|\n {10,})(\S+)", shown, re.MULTILINE):
            assert option[2]


def test_commands_do_not_wait_for_what_only_the_process_needs() -> None:
    heavy = "{'boto3', 'botocore', 'ministack', 'duckdb', 'hypercorn', 'urllib3'}"
    code = f"import sys, local_aws.cli.commands; print({heavy} & set(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "set()\n"


def test_the_readme_trains_a_model(cli: Cli) -> None:
    readme = Path(__file__).parents[1].joinpath("README.md").read_text()
    section = readme.partition("## Train a model")[2].partition("\n## ")[0]
    files = re.findall(r"^`([\w./]+)`\n\n```\w+\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    assert [name for name, _ in files] == ["line/Dockerfile", "line/train.py", "train_line.py"]
    for name, content in files:
        file = cli.folder / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(content)
    (commands,) = re.findall(r"^```console\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    (output,) = re.findall(r"^```text\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)

    # As installed here instead of by uvx, and on a port and in a folder of this test.
    here = shlex.quote(str(LOCAL_AWS))
    commands = commands.replace("uvx --from ./local_aws local-aws", here)
    commands = commands.replace("uvx --with boto3 python", shlex.quote(sys.executable))
    folder = f"--data-dir {shlex.quote(str(cli.data_dir))}"
    commands = commands.replace(" start ", f" start --port 0 {folder} ")
    commands = commands.replace(" logs ", f" logs {folder} ")
    shown = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=cli.folder,
        env=cli.env,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert shown.returncode == 0, shown.stderr
    assert output in shown.stdout
    assert shown.stdout.endswith("slope=2.00\n")
