"""What the tests share: a small data mart, and what the commands make of it.

`support/mart.py` tells what is in it: list the columns that your `features.build` reads in
`tests/mart.toml`, where they are others than those that usecase.toml names.
"""

import os
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from math import ceil
from pathlib import Path

import pytest
from support.image import ROOT, Server, place, process_environment, run, succeed
from support.mart import tables

from usecase import config
from usecase.config import UseCase
from workflows import names

# The tests are about the names of the only environment, wherever they run.
os.environ.pop(names.ENVIRONMENT, None)

FILES = 6  # of each table


@pytest.fixture(scope="session")
def use_case() -> UseCase:
    """The use case of usecase.toml."""
    return config.load(ROOT / "usecase.toml")


@pytest.fixture(scope="session")
def mart(use_case: UseCase, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data mart: a folder for each table, with several files."""
    folder = tmp_path_factory.mktemp("mart")
    for name, table in tables(use_case).items():
        (folder / name).mkdir()
        for number, rows in enumerate(table.iter_slices(ceil(table.height / FILES))):
            rows.write_parquet(folder / name / f"part-{number}.parquet")
    return folder


@pytest.fixture(scope="session")
def prepared(mart: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `prepare` made: folders train, validation and test."""
    base = tmp_path_factory.mktemp("prepare")
    place(mart, base / "processing" / "input")
    result = run("prepare", base)
    hint = "Does tests/mart.toml list the columns that features.py reads?"
    assert result.returncode == 0, f"{result.stderr}{hint}"
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
def server(trained: Path, start_server: Callable[..., Server]) -> Server:
    """A server with the trained model."""
    return start_server(trained)
