"""What the tests share: a small data mart, and what the commands make of it.

The commands run as processes, in folders that stand for /opt/ml. When you have replaced the use
case, let `mart` write a small sample of your own tables.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from usecase import config
from usecase.config import UseCase
from workflows import names

# The tests are about the names of the only environment, wherever they run.
os.environ.pop(names.ENVIRONMENT, None)

ROOT = Path(__file__).parents[1]
MONTHS = range(1, 7)
EVERY = 12  # so many flights become one, which keeps the tests fast


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


@pytest.fixture(scope="session")
def use_case() -> UseCase:
    """The use case of usecase.toml."""
    return config.load(ROOT / "usecase.toml")


@pytest.fixture(scope="session")
def mart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data mart: a folder for each table, a file for each month."""
    sample_data = pytest.importorskip("local.sample_data", reason="the sample is gone with local/")
    if config.load(ROOT / "usecase.toml").data.tables != sample_data.TABLES:
        pytest.skip("the use case is not the sample's: let `mart` write a sample of your tables")
    folder = tmp_path_factory.mktemp("mart")
    for name, table in (("flights", sample_data.flights()), ("weather", sample_data.weather())):
        (folder / name).mkdir()
        for month in MONTHS:
            rows = table.filter(pl.col("month") == month)
            rows = rows.gather_every(EVERY) if name == "flights" else rows
            rows.write_parquet(folder / name / f"2013-{month:02}.parquet")
    return folder


@pytest.fixture(scope="session")
def prepared(mart: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `prepare` made: folders train, validation and test."""
    base = tmp_path_factory.mktemp("prepare")
    place(mart, base / "processing" / "input")
    succeed("prepare", base)
    return base / "processing" / "output"


@pytest.fixture(scope="session")
def trained(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that stood for /opt/ml of a training job; the model is in model/."""
    base = tmp_path_factory.mktemp("train")
    for channel in ("train", "validation"):
        place(prepared / channel, base / "input" / "data" / channel)
    (base / "log.txt").write_text(succeed("train", base))
    return base


@pytest.fixture(scope="session")
def archive(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The training job's model.tar.gz, as SageMaker packs it."""
    path = tmp_path_factory.mktemp("archive") / "model.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for file in (trained / "model").iterdir():
            tar.add(file, file.name)
    return path


@pytest.fixture(scope="session")
def evaluation(prepared: Path, archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `evaluate` made: statistics.json and constraints.json."""
    base = tmp_path_factory.mktemp("evaluate")
    place(prepared / "test", base / "processing" / "input" / "test")
    place(archive.parent, base / "processing" / "input" / "model")
    succeed("evaluate", base)
    return base / "processing" / "output" / "evaluation"


@pytest.fixture(scope="session")
def baseline(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `baseline` made: statistics.json and constraints.json."""
    base = tmp_path_factory.mktemp("baseline")
    place(prepared / "train", base / "processing" / "input" / "train")
    succeed("baseline", base)
    return base / "processing" / "output" / "baseline"


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


@pytest.fixture(scope="session")
def start_server() -> Iterator[Callable[..., Server]]:
    """Starts `serve` on a free port; ended after the tests."""
    servers = []

    def start(base: Path, **environment: str) -> Server:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        process = subprocess.Popen(
            [sys.executable, "-m", "usecase", "serve"],
            cwd=ROOT,
            env=process_environment(base, SAGEMAKER_BIND_TO_PORT=str(port), **environment),
            text=True,
            stderr=subprocess.PIPE,
        )
        server = Server(port, process)
        servers.append(server)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            try:
                assert server.request("GET", "/ping")[0] == 200
            except OSError:
                time.sleep(0.05)
            else:
                return server
        process.kill()
        raise AssertionError(f"the server does not answer: {process.communicate()[1]}")

    yield start
    for server in servers:
        server.process.terminate()
        server.process.communicate(timeout=10)


@pytest.fixture(scope="session")
def unsure_server(
    trained: Path, start_server: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory
) -> Server:
    """A server whose model answers NaN where the distance is missing, infinity where it is 0."""
    folder = tmp_path_factory.mktemp("unsure")
    (folder / "sitecustomize.py").write_text(
        "from usecase.model import Model\n"
        "predict = Model.predict\n"
        "def unsure(self, rows):\n"
        "    output = predict(self, rows).copy()\n"
        "    for row, distance in enumerate(rows['distance']):\n"
        "        if not distance:\n"
        "            output[row] = float('nan' if distance is None else 'inf')\n"
        "    return output\n"
        "Model.predict = unsure\n"
    )
    return start_server(trained, PYTHONPATH=f"{folder}:{ROOT / 'src'}")


@pytest.fixture(scope="session")
def server(trained: Path, start_server: Callable[..., Server]) -> Server:
    """A server with the trained model."""
    return start_server(trained)
