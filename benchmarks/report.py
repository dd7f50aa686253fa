"""What was measured, as Markdown."""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from benchmarks import logged
from benchmarks.adopting import POCS, Adopted
from benchmarks.batch import Batch
from benchmarks.filled import EVENTS, ITEMS, JOBS, KEYS, Filled
from benchmarks.generation import Generation
from benchmarks.invoke import Invoke
from benchmarks.lifecycle import Stage, Step
from benchmarks.local_aws import EXECUTIONS, JOBS_AT_ONCE, LocalAws
from benchmarks.logged import Logged
from benchmarks.orchestrators import Orchestrator
from benchmarks.requests import TIMES, Requests
from benchmarks.serving import CONNECTIONS, ROUNDS, SECONDS, Serving


@dataclass(frozen=True)
class Results:
    """What has been measured, the stages and steps in so many lives."""

    lives: int
    generation: Generation
    stages: Sequence[Stage]
    steps: Sequence[Step]
    invoke: Invoke
    orchestrators: Sequence[Orchestrator]
    batch: Batch
    serving: Serving
    logged: Logged
    local_aws: LocalAws
    filled: Filled
    requests: Requests
    adopted: Sequence[Adopted]


def machine() -> str:
    """What the figures were measured on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, {system}"


def report(results: Results) -> str:
    """The results as Markdown."""
    local, plain = with_counterpart(results)
    managed, jobs = sum(s.local for s in results.steps), sum(s.bare for s in results.steps)
    ways = results.invoke
    stages = "\n".join(
        f"| {s.name} | {s.local:.1f} | {f'{s.bare:.1f}' if s.bare else '-'} | {s.jobs} |"
        for s in results.stages
    )
    steps = "\n".join(
        f"| {s.name} | {s.local:.2f} | {s.bare:.2f} | {s.local - s.bare:+.2f} |"
        for s in results.steps
    )
    trainings = "\n".join(
        f"| {o.name} | {o.execution:.2f} | {o.idle:.2f} | {o.bare:.2f} "
        f"| {o.execution / o.bare - 1:+.0%} |"
        for o in results.orchestrators
    )
    return f"""# What it costs in time

Written by `make bench` on {datetime.now(UTC):%Y-%m-%d}: {machine()}. Medians of runs in turn.

## The life, by stage

`poe local` after its first run has installed everything, against the same jobs as plain Python
processes one after the other and the same requests sent to the server itself. The other stages are
CDK, CloudFormation and EventBridge at work, which have no plain counterpart. {results.lives} lives.

| stage | `poe local`, s | bare, s | what is bare |
|---|---:|---:|---|
{stages}

The stages with a counterpart take {local:.1f} s, bare {plain:.1f} s: **{local / plain - 1:+.0%}**.

## A job

From its creation to its end in the local AWS (S3 transfer included), against its process alone.

| step | local AWS, s | bare, s | difference, s |
|---|---:|---:|---:|
{steps}

All steps once: {managed:.1f} s, bare {jobs:.1f} s: **{managed / jobs - 1:+.0%}**.

## A training, by orchestrator

From the start of an execution to its end, against its steps as plain Python processes one after the
other. Without a job: the part of that time in which none of its jobs is there, so the orchestrator
alone is at work.

| orchestrator | execution, s | without a job, s | bare, s | |
|---|---:|---:|---:|---:|
{trainings}

{scored(results.batch)}
{served(results.serving)}
{kept(results.logged)}
{made(results.generation)}
{brought(results.adopted)}
## One prediction

| | ms |
|---|---:|
| boto3 through the local AWS, with data capture | {ways.boto3 * 1000:.2f} |
| boto3 to the server itself | {ways.boto3_direct * 1000:.2f} |
| plain HTTP through the local AWS, with data capture | {ways.plain * 1000:.2f} |
| plain HTTP to the server itself | {ways.direct * 1000:.2f} |

{asked(results.requests)}
{alone(results.local_aws)}
{beside(results.filled)}"""


def brought(adopted: Sequence[Adopted]) -> str:
    """What it takes to serve a proof of concept."""
    rows, notes = [], []
    for poc in adopted:
        seconds = poc.seconds
        served = sum(seconds.values()) - seconds["local, the rest of the life"]
        times = " | ".join(f"{value:.0f}" for value in seconds.values())
        rows.append(f"| {poc.framework} | {len(poc.edited)} | {times} | {served / 60:.1f} |")
        edited = ", ".join(f"`{name}`" for name in poc.edited)
        notes.append(f"- {poc.framework}: {POCS[poc.framework].about}. Edited: {edited}.")
    heads = " | ".join(f"{command}, s" for command in adopted[0].seconds)
    return f"""## From a proof of concept to an endpoint that answers

Each command of `poe`, and the minutes until the first version is served; a person's own time is
not in them.

| framework | files edited | {heads} | minutes until served |
|---|---:|{"---:|" * (len(adopted[0].seconds) + 1)}
{chr(10).join(rows)}

{chr(10).join(notes)}
"""


def asked(requests: Requests) -> str:
    """What it costs to send a request in the place of features."""
    ways = {"a row of features": requests.features, "a row of `[request]`": requests.request}
    rows = "\n".join(
        f"| {way} | {middle * 1000:.2f} | {high * 1000:.2f} |"
        for way, (middle, high) in ways.items()
    )
    return f"""## A request and its features

Plain HTTP to the server itself, {TIMES:,} times in turn. Of a request, the server makes the
features, with a look-up.

| | p50, ms | p99, ms |
|---|---:|---:|
{rows}
"""


def scored(batch: Batch) -> str:
    """What many rows cost."""
    ways = {
        "whole columns": (batch.encode, batch.encode_memory),
        "lists": (batch.encode_lists, batch.encode_lists_memory),
    }
    encoded = "\n".join(
        f"| {way} | {seconds:.2f} | {batch.rows / seconds:,.0f} | {size / 2**20:.0f} |"
        for way, (seconds, size) in ways.items()
    )
    return f"""## Batch transform

{batch.rows:,} rows ({batch.size / 2**20:.0f} MiB of CSV) as a transform job, which sends the
features to the model and joins its answers to the rows, against one process that reads the same
files, calls `Model.predict` once, and writes the same.

| | s | rows/s |
|---|---:|---:|
| transform job | {batch.job:.2f} | {batch.rows / batch.job:,.0f} |
| the same with one row: its container starts | {batch.start:.2f} | |
| transform job, once its container answers | {batch.job - batch.start:.2f} | {batch.rate:,.0f} |
| one call of `Model.predict` | {batch.predict:.2f} | {batch.rows / batch.predict:,.0f} |
| reading, one call, writing | {batch.one_call:.2f} | {batch.rate_of_one_call:,.0f} |

Rows a second, once the container answers: **{batch.rate / batch.rate_of_one_call:.0%}** of reading,
one call and writing; {batch.rate * batch.predict / batch.rows:.0%} of the call alone.

Encoding the rows for the model, which is a part of the call:

| | s | rows/s | MiB more |
|---|---:|---:|---:|
{encoded}
"""


def served(serving: Serving) -> str:
    """What the container's server makes of requests, beside others."""
    heads = " | ".join(f"{many}: p50, ms | p99, ms | requests/s" for many in CONNECTIONS)
    first = serving.servers[0]
    lines = []
    for found in serving.servers:
        cells = [found.name, f"{found.start:.1f}"]
        cells += [f"{size / 1e6:.0f}" for size in (found.memory, found.own)]
        for load in found.loads.values():
            cells += [f"{load.p50 * 1000:.2f}", f"{load.p99 * 1000:.1f}", f"{load.rate:,.0f}"]
        cells.append(f"{found.loads[16].cpu * 1e6:,.0f}")
        cells.append(f"{found.loads[16].cpu / first.loads[16].cpu:.2f}")
        lines.append(f"| {' | '.join(cells)} |")
    return f"""## A prediction, beside other servers

The container's server, with one process and with one for each CPU, and others of one process that
check nothing: the same model and row, in turn, medians of {ROUNDS} rounds of {SECONDS} seconds of
wrk's requests on {", ".join(map(str, CONNECTIONS))} connections. LitServe, BentoML and MLflow take
JSON, the others CSV. Memory is in MB, resident, and with what processes share counted once.
`Model.predict` takes {serving.predict * 1e6:.0f} µs of it. Other work on the machine delays
answers; the CPU time of a request, at 16 connections, is the server's own: the last two columns,
in microseconds and relative to one process.

| server | start, s | memory | once | {heads} | CPU, µs | relative |
|---|{"---:|" * (5 + 3 * len(CONNECTIONS))}
{chr(10).join(lines)}
"""


def kept(found: Logged) -> str:
    """What the log of a serverless endpoint's server costs."""
    rate, cpu = found.logged_rate / found.rate - 1, found.logged_cpu / found.cpu - 1
    return f"""## The log of a serverless endpoint

The server of one process, all requests logged against none: {logged.ROUNDS} rounds in turn of
{logged.SECONDS} seconds of wrk's requests of a row on {logged.CONNECTIONS} connections. What stands
for S3 only counts events: {found.events:,} came, no fewer than were answered. The first seconds of
a round, {logged.WARM_UP}, do not count: with its first events the log loads boto3, once in a
container's life.

| | requests/s | CPU of a request, µs |
|---|---:|---:|
| without the log | {found.rate:,.0f} | {found.cpu * 1e6:,.0f} |
| with the log | {found.logged_rate:,.0f} | {found.logged_cpu * 1e6:,.0f} |
| | **{rate:+.1%}** | **{cpu:+.1%}** |
"""


def alone(local: LocalAws) -> str:
    """What the local AWS costs by itself, with images that do nothing."""
    added = local.through - local.direct
    growth = (local.memory_after - local.memory_before) / 2**20
    return f"""## The local AWS by itself

With a job that prints a word, one that only computes, and a server that answers what it is sent.

| | | aim |
|---|---:|---:|
| `local-aws start` in a new folder | {local.first_start:.2f} s | 1 s |
| `local-aws start` in a used one | {local.second_start:.2f} s | 1 s |
| a job, from its creation to its end | {local.job:.3f} s | |
| its process alone | {local.process:.3f} s | |
| difference | {local.job - local.process:.3f} s | 0.15 s |
| a request to the endpoint, data capture included | {local.through * 1000:.2f} ms | |
| the same to the server itself | {local.direct * 1000:.2f} ms | |
| difference | {added * 1000:.2f} ms | 2 ms |
| a job that computes | {local.one_busy_job:.2f} s | |
| {JOBS_AT_ONCE} of them at once | {local.busy_jobs:.2f} s | |
| relative to what the processors need for them | {local.busy_ratio:.2f} | 1.2 |
| a pipeline execution of one job | {local.execution:.2f} s | |
| memory of the process's own | {local.memory_before / 2**20:.0f} MiB | |
| its growth in {EXECUTIONS} executions, one after the other | {growth:+.1f} MiB | 0 |
"""


def beside(filled: Filled) -> str:
    """What the local AWS costs when it is full."""
    operations = "\n".join(
        f"| {found.name} | {found.empty * 1000:.1f} | {found.filled * 1000:.1f} "
        f"| {found.ratio:.2f} |"
        for found in filled.operations
    )
    growth = (filled.memory_after - filled.memory_before) / 2**20
    most = max(filled.operations, key=lambda found: found.ratio)
    return f"""## The local AWS, empty and filled

Filled: {EVENTS:,} log events in one stream, {ITEMS:,} items in a table, {KEYS:,} objects in a
versioned bucket. Medians with boto3, in turn with an empty one. The aim is at most twice the empty
one's time.

| | empty, ms | filled, ms | ratio |
|---|---:|---:|---:|
{operations}

The greatest ratio: **{most.ratio:.2f}** ({most.name}).

| | | aim |
|---|---:|---:|
| `local-aws start` in the empty one's folder | {filled.start_empty:.2f} s | |
| in the filled one's | {filled.start_filled:.2f} s | 2 s |
| memory of the filled one's process | {filled.memory_before / 2**20:.0f} MiB | |
| its growth in {JOBS:,} jobs | {growth:+.1f} MiB | |
"""


def with_counterpart(results: Results) -> tuple[float, float]:
    """Seconds of the stages that have a bare counterpart, and of that."""
    alone = [stage for stage in results.stages if stage.bare is not None]
    return sum(s.local for s in alone), sum(s.bare or 0 for s in alone)


def made(generation: Generation) -> str:
    """The section on making a project, and on its size."""
    copy, version = generation.copy, generation.version
    each = 1000 * (copy - version) / generation.files
    return f"""\
## Making a project

| | s |
|---|---:|
| `copier copy --defaults` ({generation.files} files) | {copy:.2f} |
| `copier --version` | {version:.2f} |

Ratio: **{copy / version:.2f}**; {each:.1f} ms a file. What it has:

| folder | files | lines |
|---|---:|---:|
{rooms(generation)}
"""


def rooms(generation: Generation) -> str:
    """The size of a project with default answers, folder by folder."""
    sizes = [(f"`{name}/`" if name else "-", *size) for name, size in generation.rooms.items()]
    total = ("all", generation.files, generation.lines)
    return "\n".join(f"| {name} | {files} | {lines:,} |" for name, files, lines in [*sizes, total])


def figures(results: Results) -> str:
    """The figures of the README; each stands in the report too."""
    local, plain = with_counterpart(results)
    total = next(stage.local for stage in results.stages if stage.name == "total")
    copy, version = results.generation.copy, results.generation.version
    trainings = "\n".join(
        f"- A training under {o.name} takes {o.execution:.2f} s, its steps as plain Python,\n"
        f"  one after the other, {o.bare:.2f} s: {o.execution / o.bare - 1:+.0%}."
        for o in results.orchestrators
    )
    return f"""\
- `poe local` takes {total:.1f} s once its first run has installed everything. The stages that run
  jobs and predict take {local:.1f} s, their jobs and requests as plain Python {plain:.1f} s:
  {local / plain - 1:+.0%}.
{trainings}
- Batch transform scores {results.batch.rate:,.0f} rows a second,
  {results.batch.rate / results.batch.rate_of_one_call:.0%} of what one process does that reads the
  same files, calls `Model.predict` once and writes.
- Making a project takes {copy:.2f} s, {copy / version:.2f} times `copier --version`.
- A prediction with boto3 takes {results.invoke.boto3 * 1000:.2f} ms through the local AWS, data
  capture included, and {results.invoke.boto3_direct * 1000:.2f} ms from the server itself.

Measured on {machine()}.
"""
