"""Runs inside a generated project: predicts files in one call, and prints how long that takes.

`python one_call.py FOLDER RESULT`: the folder's files are CSV without header, the id and the time
of each record before its features; RESULT gets each line with its answer. How long `encode` takes
of it, and how many bytes, is measured by itself, as whole columns and as lists.
"""

import json
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import polars as pl

from usecase import config, container
from usecase.evaluate import load_model
from usecase.model import Model, Rows, encode


def main(folder: str, result: str) -> None:
    """Read, predict and write."""
    use_case = config.load()
    features = use_case.features
    model = load_model(container.model())
    schema: dict[str, type[pl.DataType]] = {
        use_case.data.id: pl.String,
        use_case.data.time: pl.String,
    }
    schema |= dict.fromkeys(features.numeric, pl.Float64)
    schema |= dict.fromkeys(features.categorical, pl.String)
    moments = [time.perf_counter()]
    rows = pl.read_csv(f"{folder}/*.csv", has_header=False, schema=schema)
    moments.append(time.perf_counter())
    output = model.predict({name: rows[name] for name in features.names})
    moments.append(time.perf_counter())
    answers = pl.DataFrame(use_case.target.answers(output))
    rows.hstack(answers).write_csv(result, include_header=False)
    moments.append(time.perf_counter())
    seconds = [end - start for start, end in pairwise(moments)]
    columns = rows.select(features.names)
    encoded = [
        of_encode(model, columns.to_dict),
        of_encode(model, lambda: columns.to_dict(as_series=False)),
    ]
    print(json.dumps({"rows": rows.height, "seconds": seconds, "encode": encoded}))


def of_encode(model: Model, taken: Callable[[], Rows]) -> tuple[float, int]:
    """The seconds to take rows and to encode them, and by how many bytes memory grows, at most."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, start = peak(), time.perf_counter()
    encode(taken(), model.categories)
    return time.perf_counter() - start, peak() - before


def peak() -> int:
    """The most memory that this process has had, in bytes."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


if __name__ == "__main__":
    main(*sys.argv[1:])
