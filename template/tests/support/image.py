"""The commands of the image as processes, in folders that stand for /opt/ml, and their files."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def run(command: str, base: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the image in a folder that stands for /opt/ml."""
    return subprocess.run(
        [sys.executable, "-m", "usecase", command],
        cwd=ROOT,
        env=process_environment(base, **environment),
        text=True,
        capture_output=True,
        timeout=120,
        check=False,
    )


def process_environment(base: Path, **environment: str) -> dict[str, str]:
    """The environment of a command."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT / "src"),
        "SAGEMAKER_BASE_DIR": str(base),
        **environment,
    }


def succeed(command: str, base: Path, **environment: str) -> str:
    """Run a command that has to succeed; return what it printed."""
    result = run(command, base, **environment)
    assert result.returncode == 0, result.stderr
    return result.stdout


def fail(command: str, base: Path, **environment: str) -> str:
    """Run a command that has to fail for a reason of the user's; return that reason.

    It is one line, and nothing else is on stderr.
    """
    result = run(command, base, **environment)
    assert result.returncode == 1, result.stdout
    assert result.stderr.startswith(f"error: {command}: ")
    assert result.stderr.count("\n") == 1
    return result.stderr.strip()


def place(source: Path, destination: Path) -> None:
    """Copy a folder's content, as SageMaker brings an input."""
    shutil.copytree(source, destination, dirs_exist_ok=True)


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


def write_lines(path: Path, lines: Iterable[object]) -> None:
    """Write JSON Lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def label(inference_id: str, value: object) -> dict[str, Any]:
    """A label, laid out as in model-monitor-model-quality-merge.html."""
    return {
        "groundTruthData": {"data": str(value), "encoding": "CSV"},
        "eventMetadata": {"eventId": inference_id},
        "eventVersion": "0",
    }


class Server:
    """A running `serve`."""

    def __init__(self, port: int, process: subprocess.Popen[str]) -> None:
        self.port = port
        self.process = process

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] = {}
    ) -> tuple[int, str, str]:
        """Send a request; return status, content type and body."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, body, dict(headers))
            answer = connection.getresponse()
            return answer.status, answer.headers.get("content-type", ""), answer.read().decode()
        finally:
            connection.close()

    def invoke(
        self, body: bytes | str, content_type: str = "text/csv", **headers: str
    ) -> tuple[int, str, str]:
        """POST /invocations."""
        content = body if isinstance(body, bytes) else body.encode()
        return self.request(
            "POST", "/invocations", content, {"Content-Type": content_type, **headers}
        )


def plan(base: Path, *monitors: str, version: str = "1", **asked: str) -> None:
    """Let monitors be asked to judge all that the folders of the input `files` have.

    Args:
        base: The folder that stands for /opt/ml.
        monitors: Their names.
        version: The version.
        asked: What else the plan has of each; the window is half an hour at noon.
    """
    window = {"start": "2026-01-15T12:00:00+00:00", "end": "2026-01-15T12:30:00+00:00"}
    wanted = {**window, "baseline": "baseline", "served_partly": "", **asked}
    document = {
        "execution": "execution-1",
        "version": version,
        "predictions": "predictions",
        "labels": "labels",
        "monitors": dict.fromkeys(monitors, wanted),
    }
    write_lines(base / "processing" / "input" / "plan" / "plan.json", [document])


def report(base: Path, monitor: str) -> dict[str, Any]:
    """The files that a monitor has written, by name."""
    folder = base / "processing" / "output" / "report" / monitor / "execution-1"
    return {path.stem: read_json(path) for path in folder.iterdir()}
