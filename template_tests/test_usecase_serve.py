"""The server, whoever asks it."""

import shutil
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from support.image import Server, fail

from usecase import serve
from usecase.config import UseCase
from usecase.errors import UseCaseError


def test_paths_and_methods(server: Server) -> None:
    assert server.request("GET", "/invocations")[0] == 405
    assert server.request("POST", "/ping")[0] == 405
    assert server.request("GET", "/")[0] == 404


def test_a_client_that_hangs_up(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(
            b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n"
            b"Content-Length: 100\r\n\r\n1,"
        )
    assert server.request("GET", "/ping")[0] == 200
    assert server.process.poll() is None


def test_length_with_thousands_of_zeros(server: Server) -> None:
    head = "POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(f"{head}Content-Length: {'0' * 5000}4\r\n\r\nrow\n".encode())
        answer = connection.recv(4096)
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 200 ")), "batches answer row by row"


def test_it_listens_to_this_machine_alone(server: Server) -> None:
    """Unless the image, where the container is alone, says otherwise."""
    listening = Path("/proc/net/tcp").read_text().splitlines()[1:]
    local = [line.split()[1] for line in listening if line.split()[3] == "0A"]
    ours = {address for address in local if address.endswith(f":{server.port:04X}")}
    assert ours == {f"0100007F:{server.port:04X}"}


def test_sigterm_ends_it(trained: Path, start_server: Callable[..., Server]) -> None:
    server = start_server(trained)
    server.process.send_signal(signal.SIGTERM)
    _, log = server.process.communicate(timeout=10)
    assert server.process.returncode in (0, -signal.SIGTERM)
    assert "Traceback" not in log


def test_a_model_that_cannot_serve(trained: Path, tmp_path: Path, use_case: UseCase) -> None:
    assert "no model could be loaded" in fail("serve", tmp_path)
    shutil.copytree(trained / "model", tmp_path / "model")
    usecase = tmp_path / "usecase.toml"
    text = Path("usecase.toml").read_text()
    usecase.write_text(text.replace(f'"{use_case.features.numeric[0]}", ', ""))
    reason = fail("serve", tmp_path, USECASE_TOML=str(usecase))
    name = use_case.features.numeric[0]
    assert f"model: the model was trained with feature {name}, which usecase.toml" in reason
    # One of before there was a schema is still tried.
    (tmp_path / "model" / "schema.json").unlink()
    reason = fail("serve", tmp_path, USECASE_TOML=str(usecase))
    assert "the model cannot predict with the features of usecase.toml" in reason


def test_a_model_of_before_there_was_a_schema_serves(
    trained: Path, tmp_path: Path, start_server: Callable[..., Server]
) -> None:
    shutil.copytree(trained / "model", tmp_path / "model")
    (tmp_path / "model" / "schema.json").unlink()
    assert start_server(tmp_path).request("GET", "/ping")[0] == 200


def test_a_port_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("http", "65536", "-1", "\u0663"):
        monkeypatch.setenv("SAGEMAKER_BIND_TO_PORT", text)
        with pytest.raises(UseCaseError, match=r"SAGEMAKER_BIND_TO_PORT: .* is not a port number"):
            serve.port()
