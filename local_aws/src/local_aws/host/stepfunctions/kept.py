"""The executions of state machines, kept by row."""

from __future__ import annotations

import hashlib
import json
import time
from typing import Any

from local_aws.host.internals import module
from local_aws.host.replacing import replaced
from local_aws.host.rows import Rows, State

_ATTEMPTS = 20


class Executions:
    """The executions of Step Functions: a row each.

    An execution that has ended is looked at again only when its status, its end or the length of
    its history are others than when it was written.
    """

    service = "stepfunctions"

    def __init__(self, rows: Rows) -> None:
        """Let executions be kept by row.

        Here: a save takes as long with 1,000 executions as without.

        Args:
            rows: Where to keep them.
        """
        self._rows = rows
        self._written: dict[tuple[str, ...], tuple[tuple[Any, ...], bytes]] = {}
        states = module("services.stepfunctions")
        states.get_state = replaced(
            states.get_state, {"copy.deepcopy(_executions)": "type(_executions)()"}
        )

    def collect(self) -> None:
        """Hand over what has changed, before a save."""
        present = dict(module("services.stepfunctions")._executions.all_items())
        for key in self._written.keys() - present.keys():
            del self._written[key]
            self._rows.remove(self.service, "executions", json.dumps(key))
        for key, execution in present.items():
            ends = [execution.get(member) for member in ("status", "stopDate", "error", "cause")]
            mark = (*ends, "output" in execution, len(execution.get("events") or ()))
            before, digest = self._written.get(key, (None, b""))
            if mark == before and execution["status"] != "RUNNING":
                continue
            text = _text(execution)
            now = hashlib.sha256(text.encode()).digest()
            if now != digest:
                self._rows.add_text(self.service, "executions", text, json.dumps(key))
            self._written[key] = mark, now

    def restore(self, state: State) -> None:
        """Put executions back into a state that was read."""
        stored = state["executions"]  # has them itself in a folder of before they had rows
        for name, execution in self._rows.read(self.service).get("executions", []):
            stored._data[tuple(json.loads(str(name)))] = execution


def _text(execution: State) -> str:
    """Write an execution as JSON while its thread may change it."""
    encode = module("core.persistence")._json_default
    for attempt in range(_ATTEMPTS):
        try:
            return json.dumps(execution, default=encode)
        except RuntimeError:  # a dictionary changed its size during iteration
            if attempt == _ATTEMPTS - 1:
                raise
            time.sleep(0.01)
    raise AssertionError
