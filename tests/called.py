"""Runs inside a generated project: calls the functions that `tests.inside` names, line by line."""

import importlib
import json
import sys


def serve() -> None:
    """Call functions for the lines of standard input, as long as there are any."""
    answers, sys.stdout = sys.stdout, sys.stderr  # what the functions print is not an answer
    for line in sys.stdin:
        function, arguments = json.loads(line)
        module, _, name = function.rpartition(".")
        try:
            answer = {"value": getattr(importlib.import_module(module), name)(*arguments)}
        except Exception as error:  # whatever it is, the caller has to know
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer, default=attributes), file=answers, flush=True)


def attributes(value: object) -> object:
    """The attributes of an object, the elements of a set; the text of anything else."""
    if isinstance(value, set | frozenset):
        return sorted(value)
    return vars(value) if hasattr(value, "__dict__") else str(value)


if __name__ == "__main__":
    serve()
