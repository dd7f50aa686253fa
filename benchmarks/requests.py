"""A row through `[request]` against a row of plain features: how long the server takes."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import quantiles

from benchmarks import bare, invoke, timing
from tests import scenarios, template

TIMES = 2000

# Prints a row of the sample as features and as a request, in CSV.
ROWS = """
import json
import polars as pl
from usecase import config, features, inputs
from usecase.rows import Fields
use_case = config.load()
tables = {t: pl.read_parquet(f"data/{t}/2013-06.parquet") for t in use_case.data.tables}
record = features.build(tables)[-1:]
computed = pl.DataFrame(inputs.typed(record, use_case))
asked = inputs.asked(record, Fields.of_request(use_case.request))
print(json.dumps([rows.write_csv(include_header=False) for rows in (computed, asked)]))
"""


@dataclass(frozen=True)
class Requests:
    """Seconds of one request to the server itself, half of them (p50) and 99 of 100 (p99) at most.

    Attributes:
        features: Of a row of features.
        request: Of one with the fields of `[request]`.
    """

    features: tuple[float, float]
    request: tuple[float, float]


def measure(project: Path, folder: Path) -> Requests:
    """Train a model on the sample, serve it, and ask in both ways, in turn.

    Args:
        project: With default answers.
        folder: An empty folder, which stands for /opt/ml.
    """
    template.run(["uv", "run", "python", "-m", "local.sample_data"], project)
    scenarios.plain_metrics(project, folder)
    rows = json.loads(template.run(["uv", "run", "python", "-c", ROWS], project))
    python = project / ".venv" / "bin" / "python"
    with bare.served(python, project, folder) as port:
        send = invoke.plain(port, "/invocations")
        works = [partial(send, row.encode()) for row in rows]
        for work in works:
            work()
        rounds = [[timing.seconds(work) for work in works] for _ in range(TIMES)]
    return Requests(*(percentiles(times) for times in zip(*rounds, strict=True)))


def percentiles(times: Sequence[float]) -> tuple[float, float]:
    """The median and the 99th percentile."""
    cuts = quantiles(times, n=100)
    return cuts[49], cuts[98]
