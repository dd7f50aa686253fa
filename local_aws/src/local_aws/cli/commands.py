"""`local-aws`: start, look at, reset and stop the local AWS of a data folder."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from local_aws.cli import background
from local_aws.cli.background import HOST, Record
from local_aws.cli.process import LOG, LocalAws, ProcessError
from local_aws.settings import NEIGHBOURS, Settings

NOT_RUNNING = 3
"""Exit status of `status` when no process runs, as LSB's init scripts have it."""

_INTERRUPT_SECONDS, _INTERRUPT_ATTEMPTS = 0.1, 30
_ISOLATIONS = ("auto", "namespace", "bubblewrap", "environment")
_URL = re.compile(r"https?://[^/?#\s]+/?")
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")
_COMMAND = "COMMAND [OPTION ...]"
_EPILOG = """exit status: 0 done, 1 failed, 2 wrong arguments, 3 not running (status only)

  eval "$(local-aws start)"     start it and point this shell at it
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: The command line without the program's name; the process's own by default.

    Returns:
        The exit status.
    """
    parser = _parser()
    given = parser.parse_args(arguments)
    if getattr(given, "endpoint", []) and "s3" not in dict(given.endpoint):
        parser.error("argument --endpoint: SageMaker needs an S3, add --endpoint s3=URL")
    run: Callable[[argparse.Namespace], int] = given.run
    try:
        return run(given)
    except (ProcessError, OSError) as error:
        print(f"local-aws: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def environment(record: Record, data_dir: Path) -> dict[str, str]:
    """Return what a client needs in its environment to use a local AWS, and nothing else."""
    url = _endpoint_url(record)
    endpoints = {"": url}
    if record.endpoints:
        ours = ("SAGEMAKER", "SAGEMAKER_RUNTIME", "APPLICATION_AUTO_SCALING")
        endpoints = {f"_{name}": url for name in ours}
        endpoints |= {f"_{NEIGHBOURS[name]}": url for name, url in record.endpoints.items()}
    # Any credentials do for us; others may ask for the user's own.
    own = record.endpoints and "AWS_ACCESS_KEY_ID" in os.environ
    names = () if own else ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    return {
        **{f"AWS_ENDPOINT_URL{name}": url for name, url in endpoints.items()},
        **dict.fromkeys(names, "test"),
        "AWS_REGION": record.region,
        "AWS_DEFAULT_REGION": record.region,
        "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",  # see `Settings.client_environment`
        "CDK_DOCKER": str(Path(sys.executable).absolute().with_name("local-aws-docker")),
        "LOCAL_AWS_DATA_DIR": str(data_dir),
    }


def _start(given: argparse.Namespace) -> int:
    local_aws = _local_aws(given)
    record, new = local_aws.start(given.port, given.region, given.isolation, dict(given.endpoint))
    if not new:
        _tell(f"it already runs (to change its settings, stop it): {_summary(record)}")
    else:
        _tell(_summary(record))
    _print_exports(record, local_aws.data_dir)
    return 0


def _stop(given: argparse.Namespace) -> int:
    _tell("stopped" if _local_aws(given).stop() else "it was not running")
    return 0


def _status(given: argparse.Namespace) -> int:
    local_aws = _local_aws(given)
    record = local_aws.process()
    running = record is not None and record.listening
    if given.json:
        shown: dict[str, object] = {"running": running, "data_dir": str(local_aws.data_dir)}
        if record and running:
            shown |= {
                "pid": record.pid,
                "endpoint_url": _endpoint_url(record),
                "region": record.region,
                "isolation": record.isolation,
                "environment": environment(record, local_aws.data_dir),
            }
        print(json.dumps(shown, indent=2))
    elif record and running:
        _tell(_summary(record))
        _print_exports(record, local_aws.data_dir)
    else:
        _tell(f"{'starting' if record else 'not running'} in {local_aws.data_dir}")
    return 0 if running else NOT_RUNNING


def _reset(given: argparse.Namespace) -> int:
    record = _local_aws(given).reset(images=given.images)
    _tell(f"everything is forgotten{'; ' + _summary(record) if record else ''}")
    return 0


def _interrupt(given: argparse.Namespace) -> int:
    """Ask a spot training job to start over; it takes the file away when it does."""
    folder = _local_aws(given).data_dir / "jobs" / f"training-{given.name}"
    asked = folder / "interrupt"
    if folder.is_dir():
        asked.touch()
        for _ in range(_INTERRUPT_ATTEMPTS):
            if not asked.exists():
                _tell(f"{given.name} is interrupted")
                return 0
            time.sleep(_INTERRUPT_SECONDS)
        asked.unlink(missing_ok=True)
    raise ProcessError(
        f"no container of a training job {given.name} with EnableManagedSpotTraining runs"
    )


def _logs(given: argparse.Namespace) -> int:
    data_dir = _local_aws(given).data_dir
    logs = [data_dir / LOG] if given.name is None else _logs_of(given.name, data_dir)
    found = [str(log) for log in logs if log.exists()]
    if not found:
        what = given.name or "the local AWS"
        raise ProcessError(f"there is no log of {what} in {data_dir}{_known(given.name, data_dir)}")
    follow = ["-F"] if given.follow else []
    # In place of this process: tail deals with Ctrl-C and closed pipes as users expect.
    os.execvp("tail", ["tail", "-n", "+1", *follow, *found])  # noqa: S606 - no shell is wanted


def _calls(given: argparse.Namespace) -> int:
    # Imported here only: the other commands are not to wait for botocore.
    log = importlib.import_module("local_aws.host.iam.calls")
    data_dir = _local_aws(given).data_dir
    if given.json:
        for call in log.read(data_dir):
            print(json.dumps(call))
        return 0
    rows = [row for row in log.table(data_dir) if row[3] != "yes" or not given.denied]
    header = ("role", "action", "resource", "allowed", "calls")
    shown = [header, *((*row[:4], str(row[4])) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    for line in shown:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print("  ".join(cells).rstrip())
    return 0


def _operations(given: argparse.Namespace) -> int:
    # Imported here only: the other commands are not to wait for botocore.
    catalogue = importlib.import_module("local_aws.cli.catalogue")
    print(catalogue.markdown() if given.markdown else catalogue.text(), end="")
    return 0


def _serve(given: argparse.Namespace) -> int:
    settings = Settings(
        data_dir=given.data_dir,
        port=given.port,
        region=given.region,
        isolation=given.isolation,
        endpoints=dict(given.endpoint),
    )
    background.serve(settings, given.lock)
    return 0


def _logs_of(name: str, data_dir: Path) -> list[Path]:
    """Return the logs of the jobs with this name, and of an endpoint's latest servers."""
    # The folders are <kind>-<job's name>, and no kind has a hyphen. Each host has a log.
    jobs = [
        log
        for folder in sorted(data_dir.glob("jobs/*"))
        if folder.name.partition("-")[2] == name
        for log in sorted(folder.glob("log*.txt"))
    ]
    fleets = [
        fleet
        for endpoint in data_dir.glob("endpoints/*")
        if endpoint.name == name
        for fleet in endpoint.iterdir()
        if fleet.is_dir()
    ]
    if fleets:
        latest = max(fleets, key=lambda fleet: fleet.stat().st_mtime)
        jobs += sorted(latest.glob("*/log.txt"))
    return jobs


def _known(name: str | None, data_dir: Path) -> str:
    if name is None:
        return ""
    jobs = {folder.name.partition("-")[2] for folder in data_dir.glob("jobs/*")}
    names = sorted(jobs | {folder.name for folder in data_dir.glob("endpoints/*")})
    return f"; there are: {', '.join(names)}" if names else "; no job or endpoint has run"


def _local_aws(given: argparse.Namespace) -> LocalAws:
    return LocalAws(given.data_dir, _tell)


def _tell(line: str) -> None:
    # Standard output is for what programs read, or a shell evaluates.
    print(f"local-aws: {line}", file=sys.stderr, flush=True)


def _summary(record: Record) -> str:
    alone = (
        f" for SageMaker alone, beside {', '.join(record.endpoints)}," if record.endpoints else ""
    )
    return (
        f"{_endpoint_url(record)} answers{alone} for {record.region} "
        f"(process {record.pid}, isolation {record.isolation})"
    )


def _print_exports(record: Record, data_dir: Path) -> None:
    for name, value in environment(record, data_dir).items():
        print(f"export {name}={shlex.quote(value)}")


def _endpoint_url(record: Record) -> str:
    return f"http://{HOST}:{record.port}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="local-aws",
        usage=f"local-aws [-h] {_COMMAND}",
        description="A local AWS in which SageMaker jobs, pipelines and endpoints really run.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    # As long as this, it makes room for the longest command before the texts.
    commands = parser.add_subparsers(prog="local-aws", metavar=_COMMAND, required=True)

    start = _command(commands, "start", _start, "start it, and return once it answers")
    _add_settings(start)

    _command(commands, "stop", _stop, "stop it; what it holds stays in the data folder")

    status = _command(commands, "status", _status, "tell whether and where it runs")
    status.add_argument("--json", action="store_true", help="for programs")

    reset = _command(commands, "reset", _reset, "forget everything; restart it if it runs")
    reset.add_argument("--images", action="store_true", help="forget pushed images too")

    logs = _command(commands, "logs", _logs, "show its own log, or one of a job or an endpoint")
    logs.add_argument("name", nargs="?", metavar="NAME", help="name of a job or an endpoint")
    logs.add_argument("--follow", action="store_true", help="go on with what is written from now")

    interrupt = _command(
        commands, "interrupt", _interrupt, "take the instances of a spot training job away"
    )
    interrupt.add_argument("name", metavar="NAME", help="name of a training job that runs")
    calls = _command(commands, "calls", _calls, "list what each role has called, and what it may")
    calls.add_argument("--denied", action="store_true", help="only what is not allowed for sure")
    calls.add_argument("--json", action="store_true", help="each call, one JSON object a line")
    told = "list SageMaker's operations, and what of each is not as on AWS"
    operations = commands.add_parser("operations", help=told, description=f"L{told[1:]}.")
    operations.set_defaults(run=_operations)
    operations.add_argument("--markdown", action="store_true", help="as the table in the README")

    # What `start` runs in the background. Without a help text it is not listed.
    serve = _command(commands, "serve", _serve, None)
    _add_settings(serve)
    serve.add_argument("--lock", type=int, required=True)
    return parser


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    run: Callable[[argparse.Namespace], int],
    text: str | None,
) -> argparse.ArgumentParser:
    if text is None:
        parser = commands.add_parser(name)
    else:
        parser = commands.add_parser(name, help=text, description=f"{text.capitalize()}.")
    parser.set_defaults(run=run)
    parser.add_argument(
        "--data-dir",
        type=Path,
        default=Path(".local-aws"),
        metavar="DIR",
        help="folder of all that is kept (default: .local-aws)",
    )
    return parser


def _add_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--port",
        type=_port,
        default=4566,
        metavar="N",
        help="TCP port on 127.0.0.1, 0 for any that is free (default: 4566)",
    )
    parser.add_argument(
        "--region",
        type=_region,
        # A string goes through _region too: a wrong variable is told of as a wrong option is.
        default=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1",
        metavar="R",
        help="AWS region (default: AWS_REGION, AWS_DEFAULT_REGION or us-east-1)",
    )
    parser.add_argument(
        "--isolation",
        choices=_ISOLATIONS,
        default="auto",
        help="how containers get their /opt/ml (default: auto, the strongest this host allows)",
    )
    parser.add_argument(
        "--endpoint",
        action="append",
        type=_endpoint,
        default=[],
        metavar="SERVICE=URL",
        help="run SageMaker alone, with another's service at this URL: s3, which it needs, and any "
        f"of {', '.join(sorted(NEIGHBOURS.keys() - {'s3'}))}; may be repeated",
    )


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: give 0 to 65535")
    return int(text)


def _region(text: str) -> str:
    if not _REGION.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not an AWS region such as eu-west-1")
    return text


def _endpoint(text: str) -> tuple[str, str]:
    name, _, url = text.partition("=")
    if name not in NEIGHBOURS:
        names = ", ".join(NEIGHBOURS)
        raise argparse.ArgumentTypeError(f"{name!r} is none of the services it uses: {names}")
    if not _URL.fullmatch(url):
        raise argparse.ArgumentTypeError(f"{url!r} is not a URL such as http://127.0.0.1:9000")
    return name, url.rstrip("/")
