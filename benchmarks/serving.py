"""The container's server beside others with the same model and rows, and beside no server at all.

Each peer has an environment of its own; what it runs is in peers.py. The load is wrk's, a program
of Debian's: its single thread on this machine takes time from the servers, from each the same.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from statistics import median

from benchmarks import bare
from tests import scenarios, template

ROUNDS = 3
SECONDS = 3  # of load, for each number of connections
CONNECTIONS = (1, 16, 64)
WEB = ("uvicorn", "uvloop", "httptools")

#: A row of the sample, in the order of the features.
ROW: list[float | str] = [12, 3, 1080, 0.0, 10.0, 5.0, "UA", "EWR", "LAX"]
BODIES: dict[str, tuple[str, str]] = {
    "csv": ("text/csv", ",".join(map(str, ROW)) + "\n"),
    "rows": ("application/json", json.dumps({"rows": [ROW]})),
    "inputs": ("application/json", json.dumps({"inputs": [ROW]})),
}

#: What wrk is to send, and to tell.
SCRIPT = """
wrk.method = "POST"
wrk.body = %s
wrk.headers["Content-Type"] = "%s"
done = function(summary, latency)
  local e = summary.errors
  io.write(string.format("RESULT %%f %%f %%f %%d %%d\\n", latency:percentile(50),
    latency:percentile(99), summary.requests / summary.duration * 1e6, summary.requests,
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""

IN_PROCESS = """
import time
from usecase import config, container
from usecase.evaluate import load_model
model, row = load_model(container.model()), __import__("json").loads(__import__("sys").argv[1])
rows = {name: [value] for name, value in zip(config.load().features.names, row, strict=True)}
times = []
for _ in range(3000):
    start = time.perf_counter()
    model.predict(rows)
    times.append(time.perf_counter() - start)
print(sorted(times)[len(times) // 2])
"""


@dataclass(frozen=True)
class Contender:
    """A server.

    Attributes:
        name: Its name.
        packages: What its environment has besides the model's; none, a generated project's.
        body: Which of BODIES it takes.
        workers: For a project's server, how many processes answer; 0 for a peer.
        environment: What its processes are told besides.
    """

    name: str
    packages: tuple[str, ...] = ()
    body: str = "csv"
    workers: int = 0
    environment: Mapping[str, str] = field(default_factory=dict)


CONTENDERS = (
    Contender("one process", workers=1),
    Contender("one for each CPU", workers=os.cpu_count() or 1),
    Contender("starlette", ("starlette", *WEB)),
    Contender("fastapi", ("fastapi", *WEB)),
    Contender("flask", ("flask", "gunicorn", "gevent", "packaging")),
    Contender("litserve", ("litserve",), "rows"),
    Contender("bentoml", ("bentoml",), "rows"),
    Contender("mlflow", ("mlflow",), "inputs"),
)


@dataclass(frozen=True)
class Load:
    """What a server makes of a number of connections.

    Attributes:
        p50: Median seconds of a request.
        p99: Of the slowest hundredth, the least.
        rate: Requests a second.
        cpu: Seconds of CPU that the server's processes take for a request, whatever else the
            machine is busy with.
    """

    p50: float
    p99: float
    rate: float
    cpu: float


@dataclass(frozen=True)
class Served:
    """A server, as measured: medians of rounds.

    Attributes:
        name: Its name.
        start: Seconds until it answers for the first time.
        memory: Bytes of its processes, as `ps` counts them.
        own: The same with what several processes share counted once.
        loads: By number of connections.
    """

    name: str
    start: float
    memory: float
    own: float
    loads: Mapping[int, Load]


@dataclass(frozen=True)
class Running:
    """A server that answers.

    Attributes:
        port: Where it listens.
        pid: Its process.
        start: Seconds until it answered.
    """

    port: int
    pid: int
    start: float


@dataclass(frozen=True)
class Serving:
    """What was measured.

    Attributes:
        predict: Seconds of `Model.predict` for a row, in process.
        servers: The servers, the project's first.
    """

    predict: float
    servers: Sequence[Served]


def measure(project: Path, folder: Path) -> Serving:
    """Measure with a model that a project trains.

    Args:
        project: A project with default answers.
        folder: An empty folder.

    Raises:
        RuntimeError: When wrk is not installed, or a server does not answer.
    """
    if shutil.which("wrk") is None:
        raise RuntimeError("wrk makes the load: apt-get install wrk")
    template.run(["uv", "run", "poe", "sample-data"], project)
    base = folder / "trained"
    base.mkdir()
    scenarios.plain_metrics(project, base)
    pythons = {each: python(each, project, folder) for each in CONTENDERS}
    rounds: dict[str, list[Served]] = {each.name: [] for each in CONTENDERS}
    for number in range(ROUNDS):
        for each in CONTENDERS:
            print(f"{each.name}, round {number + 1} of {ROUNDS}", flush=True)
            rounds[each.name].append(one_round(each, pythons[each], project, base))
    command: list[str | Path] = [bare.python(project), "-c", IN_PROCESS, json.dumps(ROW)]
    predicting = float(template.run(command, project, in_project(project, base)))
    return Serving(predicting, [middle(found) for found in rounds.values()])


def python(contender: Contender, project: Path, folder: Path) -> Path:
    """The interpreter of a server's environment, which is made if need be."""
    if contender.workers:
        return bare.python(project)
    found = folder / contender.name / "bin" / "python"
    template.run(["uv", "venv", "--quiet", folder / contender.name], folder)
    install: list[str | Path] = ["uv", "pip", "install", "--quiet", "--python", found]
    template.run([*install, "numpy", "xgboost-cpu", *contender.packages], folder)
    return found


def in_project(project: Path, base: Path) -> dict[str, str]:
    """What a process of a project's image needs to find, with `base` for /opt/ml."""
    return {"PYTHONPATH": str(project / "src"), "SAGEMAKER_BASE_DIR": str(base)}


def one_round(contender: Contender, interpreter: Path, project: Path, base: Path) -> Served:
    """Start a server, ask it, and end it."""
    with running(contender, interpreter, project, base) as server:
        script = base / "ask.lua"
        content_type, body = BODIES[contender.body]
        script.write_text(SCRIPT % (json.dumps(body), content_type))
        ask(server, script, 4, 1)  # which does not count
        loads = {many: ask(server, script, many, SECONDS) for many in CONNECTIONS}
        memory = [sum(sizes) for sizes in zip(*map(memory_of, family(server.pid)), strict=True)]
    return Served(contender.name, server.start, memory[0], memory[1], loads)


@contextmanager
def running(
    contender: Contender, interpreter: Path, project: Path, base: Path
) -> Iterator[Running]:
    """Start a server, and end it after the context."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = int(unused.getsockname()[1])
    if contender.workers:
        command: list[str | Path] = [interpreter, "-m", "usecase", "serve"]
        workers, listen = f"{contender.workers}", f"{port}"
        own: dict[str, str] = {"WEB_CONCURRENCY": workers, "SAGEMAKER_BIND_TO_PORT": listen}
        own |= in_project(project, base)
    else:
        command = [interpreter, Path(__file__).with_name("peers.py"), contender.name, f"{port}"]
        own = {"MODEL": str(base / "model")}
    begin = time.perf_counter()
    with (base / f"{contender.name}.log").open("w") as log:
        process = subprocess.Popen(
            command,
            cwd=project,
            env=template.environment({**own, **contender.environment}),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        try:
            wait_until_it_predicts(process, port, contender)
        except RuntimeError as error:
            said = (base / f"{contender.name}.log").read_text()[-2000:]
            raise RuntimeError(f"{error}; it has said: {said}") from None
        yield Running(port, process.pid, time.perf_counter() - begin)
    finally:
        end(process)


def end(process: "subprocess.Popen[bytes]") -> None:
    """End a server, and what it has started."""
    with suppress(ProcessLookupError):  # it has ended by itself
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_until_it_predicts(
    process: "subprocess.Popen[bytes]", port: int, contender: Contender
) -> None:
    """Wait for the first prediction.

    Raises:
        RuntimeError: When the process ends, or does not answer within two minutes.
    """
    content_type, body = BODIES[contender.body]
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        connection = HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("POST", "/invocations", body, {"Content-Type": content_type})
            answer = connection.getresponse()
            if answer.status == 200 and answer.read():
                return
        except OSError:
            time.sleep(0.02)
        finally:
            connection.close()
    raise RuntimeError(f"{contender.name} does not answer on port {port}")


def ask(server: Running, script: Path, connections: int, seconds: int) -> Load:
    """Let wrk ask for some time.

    Raises:
        RuntimeError: When an answer is an error.
    """
    command: list[str | Path] = [
        "wrk",
        "-t1",
        "--timeout",
        "60s",
        f"-c{connections}",
        f"-d{seconds}s",
        "-s",
        script,
        f"http://127.0.0.1:{server.port}/invocations",
    ]
    before = cpu(server.pid)
    result = re.search(r"^RESULT (.*)$", template.run(command, script.parent), re.MULTILINE)
    taken = cpu(server.pid) - before
    if result is None:
        raise RuntimeError("wrk has not told what it measured")
    p50, p99, rate, requests, errors = map(float, result[1].split())
    if errors:
        raise RuntimeError(f"{errors:.0f} of the answers are errors")
    return Load(p50 / 1e6, p99 / 1e6, rate, taken / requests)


def cpu(pid: int) -> float:
    """Seconds of CPU that a process and all that it has started have taken."""
    stats = [Path(f"/proc/{found}/stat").read_text() for found in family(pid)]
    ticks = [stat.rpartition(")")[2].split()[11:13] for stat in stats]  # utime and stime of proc(5)
    return sum(int(user) + int(system) for user, system in ticks) / os.sysconf("SC_CLK_TCK")


def family(pid: int) -> list[int]:
    """A process, and all that it has started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(found for child in children for found in family(int(child)))]


def memory_of(pid: int) -> tuple[int, int]:
    """Resident bytes of a process, and with what it shares divided among those that do."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    rss, pss = (re.search(rf"^{name}: +(\d+) kB$", text, re.MULTILINE) for name in ("Rss", "Pss"))
    if rss is None or pss is None:
        raise RuntimeError(f"/proc/{pid}/smaps_rollup has no Rss or Pss")
    return int(rss[1]) * 1024, int(pss[1]) * 1024


def middle(rounds: Sequence[Served]) -> Served:
    """The medians of a server's rounds."""
    loads = {
        many: Load(
            median(found.loads[many].p50 for found in rounds),
            median(found.loads[many].p99 for found in rounds),
            median(found.loads[many].rate for found in rounds),
            median(found.loads[many].cpu for found in rounds),
        )
        for many in CONNECTIONS
    }
    return Served(
        rounds[0].name,
        median(found.start for found in rounds),
        median(found.memory for found in rounds),
        median(found.own for found in rounds),
        loads,
    )
