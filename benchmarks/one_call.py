"""Runs inside a generated project: predicts files in one call, and prints how long that takes.

`python one_call.py FOLDER RESULT`: the folder's files are CSV without header, the id and the time
of each record before its features; RESULT gets each line with its answer.
"""

import json
import sys
import time
from itertools import pairwise

import polars as pl

from usecase import config, container
from usecase.evaluate import load_model


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
    print(json.dumps({"rows": rows.height, "seconds": seconds}))


if __name__ == "__main__":
    main(*sys.argv[1:])
