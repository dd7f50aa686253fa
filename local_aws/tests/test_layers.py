"""The archives of Lambda layers: a change does not write them, and they outlive a kill."""

from __future__ import annotations

import io
import json
import random
import zipfile

from conftest import until
from host_process import HostProcess, function
from test_filled import KIB, written

MIB = 1024 * KIB
HANDLER = "import word\n\ndef handler(event, context):\n    return word.WORD\n"


def archive(word: str) -> bytes:
    """A layer of a MiB and more that cannot be compressed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        made.writestr("python/word.py", f"WORD = {word!r}\n")
        made.writestr("python/ballast", random.Random(word).randbytes(MIB))  # noqa: S311 - no secret
    return buffer.getvalue()


def publish(host: HostProcess, name: str, word: str) -> str:
    arn: str = host.client("lambda").publish_layer_version(
        LayerName=name, Content={"ZipFile": archive(word)}, CompatibleRuntimes=["python3.12"]
    )["LayerVersionArn"]
    return arn


def answer(host: HostProcess, name: str) -> object:
    return json.loads(host.client("lambda").invoke(FunctionName=name)["Payload"].read())


def blobs(host: HostProcess) -> int:
    return len([*(host.data_dir / "state" / "lambda-blobs").glob("*.zip")])


def test_a_change_of_a_function_does_not_write_the_layers(host: HostProcess, name: str) -> None:
    publish(host, name, name)
    function(host, name, HANDLER)
    before = written(host)
    host.client("lambda").update_function_configuration(FunctionName=name, Timeout=31)
    assert 0 < written(host) - before < 200 * KIB


def test_a_layer_outlives_a_kill(host: HostProcess, name: str) -> None:
    layer = publish(host, name, name)
    function(host, name, HANDLER)
    host.client("lambda").update_function_configuration(FunctionName=name, Layers=[layer])
    for _ in range(2):
        assert answer(host, name) == name
        host.kill_and_start()
    # Its content is what was published, to whoever asks for it.
    described = host.client("lambda").get_layer_version(LayerName=name, VersionNumber=1)
    assert described["Content"]["CodeSize"] == len(archive(name))


def test_the_archive_of_a_deleted_layer_goes(host: HostProcess, name: str) -> None:
    there = blobs(host)
    publish(host, name, name)
    again = f"{name}-again"
    publish(host, again, name)
    until(lambda: blobs(host) == there + 1)
    functions = host.client("lambda")
    functions.delete_layer_version(LayerName=name, VersionNumber=1)
    assert blobs(host) == there + 1
    functions.delete_layer_version(LayerName=again, VersionNumber=1)
    until(lambda: blobs(host) == there)
