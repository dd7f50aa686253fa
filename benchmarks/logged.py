"""What the log of a serverless endpoint's server costs: all requests logged, against none."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from threading import Thread

from benchmarks import bare, serving
from benchmarks.serving import BODIES, SCRIPT, Contender
from tests import scenarios, template

ROUNDS = 5
SECONDS = 5  # of wrk's requests
#: Seconds of requests that do not count: the first events are written after two, which loads boto3.
WARM_UP = 4
CONNECTIONS = 16
EVENT = b'"eventVersion"'  # once in each event


@dataclass(frozen=True)
class Logged:
    """Medians of rounds in turn.

    Attributes:
        rate: Requests a second without the log.
        cpu: Seconds of CPU that the server takes for one.
        logged_rate: The same with the log.
        logged_cpu: The same with the log.
        events: So many were logged in all rounds.
    """

    rate: float
    cpu: float
    logged_rate: float
    logged_cpu: float
    events: int


class Sink:
    """Stands for S3: takes each object, and counts the events in it.

    Attributes:
        url: Where it listens.
        events: So many came.
    """

    def __init__(self) -> None:
        self.events = 0
        sink = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_PUT(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                sink.events += body.count(EVENT)
                self.send_response(200)
                self.send_header("ETag", '"0"')
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Without a line for each."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen as long as the context lasts."""
        thread = Thread(target=self.server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            self.server.shutdown()
            thread.join()
            self.server.server_close()


def measure(project: Path, base: Path) -> Logged:
    """Train a model, then ask its server in turn without and with the log.

    Args:
        project: A project whose inference mode is serverless.
        base: An empty folder, which stands for /opt/ml.

    Raises:
        RuntimeError: When fewer requests were logged than answered.
    """
    template.run(["uv", "run", "poe", "sample-data"], project)
    scenarios.plain_metrics(project, base)
    content_type, body = BODIES["csv"]
    script = base / "ask.lua"
    script.write_text(SCRIPT % (json.dumps(body), content_type))
    sink = Sink()
    environments: dict[str, Mapping[str, str]] = {
        "without the log": {},
        "with the log": {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": sink.url,
            "AWS_SECRET_ACCESS_KEY": "test",
            "INFERENCE_LOG": "s3://log/capture",
            "METRIC_NAMESPACE": "benchmark",
        },
    }
    loads: dict[str, list[serving.Load]] = {name: [] for name in environments}
    with sink.listening():
        for number in range(ROUNDS):
            for name, environment in environments.items():
                print(f"{name}, round {number + 1} of {ROUNDS}", flush=True)
                contender = Contender(name, workers=1, environment=environment)
                python = bare.python(project)
                with serving.running(contender, python, project, base) as server:
                    serving.ask(server, script, CONNECTIONS, WARM_UP)
                    loads[name].append(serving.ask(server, script, CONNECTIONS, SECONDS))
        # The server has written what was left before it ended.
    answered = round(sum(load.rate * SECONDS for load in loads["with the log"]))
    if sink.events < answered:
        raise RuntimeError(f"{answered} requests were answered, {sink.events} are logged")
    plain, logged = loads.values()
    return Logged(
        median(load.rate for load in plain),
        median(load.cpu for load in plain),
        median(load.rate for load in logged),
        median(load.cpu for load in logged),
        sink.events,
    )
