"""A toy model server, and a service under test with its runtime behind HTTP."""

from __future__ import annotations

import io
import json
import sys
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from botocore.config import Config
from conftest import REGION, ROLE, Aws, aws_client, make_service, until

from local_aws.images.images import Image
from local_aws.sagemaker.core.service import Service
from local_aws.sagemaker.hosting import runtime
from local_aws.sagemaker.hosting.serving import PROCESS

SERVER = """
import http.server, json, os, pathlib, sys, threading, time

assert sys.argv[1:] == ["serve"]
base = os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml")
model = open(base + "/model/name").read()
print("serving", model, flush=True)
if model == "broken":
    sys.exit("the model is broken")
time.sleep(float(os.environ.get("START_SECONDS", "0")))


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        self.answer(500 if model == "sick" else 200, b"")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        asked = body.decode(errors="replace")
        if asked.startswith("sleep"):
            time.sleep(float(asked.split()[1]))
        if asked.startswith("hold "):
            folder = pathlib.Path(asked[5:])
            folder.joinpath(f"held-{threading.get_ident()}").touch()
            while not folder.joinpath("go-on").exists():
                time.sleep(0.01)
        self.requests = getattr(self, "requests", 0) + 1
        if asked == "first" and self.requests > 1:
            # As a server does that closes an idle connection at this moment: no answer.
            self.close_connection = True
            return
        if asked == "die":
            os._exit(3)
        if asked.startswith("status"):
            return self.answer(int(asked.split()[1]), b"no such thing")
        headers = {k.lower(): v for k, v in self.headers.items()}
        answer = {"model": model, "pid": os.getpid(), "bytes": len(body), "headers": headers}
        answer["connection"] = self.client_address[1]
        self.answer(200, json.dumps(answer).encode())

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("X-Amzn-SageMaker-Custom-Attributes", "from=" + model)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128


Server(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler).serve_forever()
"""
SERVER_IMAGE = f"000000000000.dkr.ecr.{REGION}.amazonaws.com/server:1"


@dataclass
class Hosted:
    """A service under test with its runtime behind HTTP."""

    aws: Aws
    runtime: Any
    port: int

    def model(self, name: str, content: str | None = None, **container: Any) -> None:
        """Creates a model whose archive holds one file with `content`, by default its name."""
        archive = io.BytesIO()
        data = (content or name).encode()
        with tarfile.open(fileobj=archive, mode="w:gz") as packed:
            member = tarfile.TarInfo("name")
            member.size = len(data)
            packed.addfile(member, io.BytesIO(data))
        key = f"{name}/model.tar.gz"
        self.aws.s3.put_object(Bucket=self.aws.bucket, Key=key, Body=archive.getvalue())
        self.aws.sagemaker.create_model(
            ModelName=name,
            ExecutionRoleArn=ROLE,
            PrimaryContainer={
                "Image": SERVER_IMAGE,
                "ModelDataUrl": f"s3://{self.aws.bucket}/{key}",
                **container,
            },
        )

    def config(self, name: str, *variants: dict[str, Any], **fields: Any) -> None:
        common = {"InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
        self.aws.sagemaker.create_endpoint_config(
            EndpointConfigName=name,
            ProductionVariants=[
                {"VariantName": "AllTraffic", **common, **variant} for variant in variants
            ],
            **fields,
        )

    def endpoint(self, name: str, **fields: Any) -> None:
        """Creates model, config and endpoint of one name, and waits until it is in service."""
        self.model(name)
        self.config(name, {"ModelName": name}, **fields)
        self.aws.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
        assert self.wait(name)["EndpointStatus"] == "InService"

    def wait(self, name: str, *statuses: str) -> dict[str, Any]:
        wanted = statuses or ("InService", "Failed")
        described: dict[str, Any] = {}

        def reached() -> bool:
            described.clear()
            described.update(self.aws.sagemaker.describe_endpoint(EndpointName=name))
            return described["EndpointStatus"] in wanted

        until(reached)
        return described

    def invoke(self, name: str, body: str | bytes = b"x", **fields: Any) -> dict[str, Any]:
        response = self.runtime.invoke_endpoint(EndpointName=name, Body=body, **fields)
        answer: dict[str, Any] = json.loads(response.pop("Body").read())
        return {**response, **answer}


@contextmanager
def next_service(hosted: Hosted) -> Iterator[Service]:
    """A service that takes up the data of one that was closed or, as far as it knows, killed."""
    former = hosted.aws.service
    settings = former.settings
    service = make_service(settings.data_dir, settings.port, settings.isolation, lambda *_: None)
    try:
        service.images.register(SERVER_IMAGE, former.images.resolve(SERVER_IMAGE))
        yield service
    finally:
        service.close()


def serves(service: Service) -> bool:
    """Whether the endpoint e1 answers."""
    call = ("POST", "/endpoints/e1/invocations", {"Content-Type": "text/csv"}, b"x")
    return runtime.invoke(service, *call)[0] == 200


@contextmanager
def host(aws: Aws, folder: Path) -> Iterator[Hosted]:
    """Serves the runtime of `aws` over HTTP, and registers the toy model server's image."""
    program = folder / "server.py"
    program.write_text(SERVER)
    python = Path(sys.executable)
    image = Image(folder, str(python.parent), {}, ["python", str(program)], [])
    aws.service.images.register(SERVER_IMAGE, image)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, headers, answer = runtime.invoke(
                aws.service, "POST", self.path, dict(self.headers.items()), body
            )
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    # Without retries: they would hide errors.
    once = Config(retries={"total_max_attempts": 1})
    client = aws_client("sagemaker-runtime", server.server_port, once)
    try:
        yield Hosted(aws, client, server.server_port)
    finally:
        server.shutdown()
        server.server_close()


def running(aws: Aws) -> list[int]:
    """The process numbers of the model servers that the service has started."""
    return [process["Pid"] for process in aws.service.store.list(PROCESS)]


class Held:
    """Requests that model servers hold until they are told to answer."""

    def __init__(self, hosted: Hosted, folder: Path, name: str, count: int = 1) -> None:
        """Sends them, and returns once the servers have them all."""
        folder.mkdir()
        self._folder = folder
        self.answers: list[dict[str, Any]] = []
        self._threads = [
            threading.Thread(
                target=lambda: self.answers.append(hosted.invoke(name, f"hold {folder}"))
            )
            for _ in range(count)
        ]
        for thread in self._threads:
            thread.start()
        until(lambda: len(list(folder.glob("held-*"))) == count)

    def let_go(self) -> None:
        """Lets the servers answer, and waits for the answers."""
        (self._folder / "go-on").touch()
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> Held:
        return self

    def __exit__(self, *_: object) -> None:
        self.let_go()


class Load:
    """Threads that call an endpoint without pause."""

    def __init__(self, hosted: Hosted, name: str, threads: int = 4) -> None:
        self.failures: list[BaseException] = []
        self.models: list[str] = []
        self._end = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(hosted, name)) for _ in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def _run(self, hosted: Hosted, name: str) -> None:
        while not self._end.is_set():
            try:
                self.models.append(hosted.invoke(name, "sleep 0.02")["model"])
            except BaseException as error:
                self.failures.append(error)

    def __enter__(self) -> Load:
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()
