"""The data points of CloudWatch, kept by row."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable

from local_aws.host.internals import module
from local_aws.host.replacing import replaced
from local_aws.host.rows import Rows, State

_EVICTION_SECONDS = 3600.0


class DataPoints:
    """The data points of CloudWatch's metrics: a row each."""

    service = "cloudwatch"

    def __init__(self, rows: Rows) -> None:
        """Let data points be kept by row, and old ones be looked for now and then only.

        Here: a call takes as long with 100,000 data points as without.

        Args:
            rows: Where to keep them.
        """
        self._rows = rows
        self._evict_next = 0.0
        cloudwatch = module("services.cloudwatch")
        cloudwatch.get_state = replaced(
            cloudwatch.get_state, {"copy.deepcopy(_metrics)": "type(_metrics)()"}
        )
        cloudwatch._metric_bucket = self.bucket
        cloudwatch._evict_old_metrics = self.evict

    def bucket(self, key: tuple[str, str, str]) -> list[State]:
        """Return the list to which points of a metric are appended; their `_metric_bucket`."""
        responses = module("core.responses")
        owner = json.dumps([responses.get_account_id(), responses.get_region(), *key])
        points: list[State] = module("services.cloudwatch")._metrics.setdefault(
            key, _Points(self._rows, owner)
        )
        return points

    def evict(self) -> None:
        """Forget old points, but not with each request; ministack's `_evict_old_metrics`."""
        now = time.time()
        if now < self._evict_next:
            return
        self._evict_next = now + _EVICTION_SECONDS
        cloudwatch = module("services.cloudwatch")
        oldest = now - cloudwatch.TWO_WEEKS_SECONDS
        for key, points in cloudwatch._metrics.all_items():
            kept = [point for point in points if point["Timestamp"] >= oldest]
            if len(kept) == len(points):
                continue
            account, region, names = key
            owner = json.dumps([account, region, *names])
            self._rows.clear(self.service, owner)
            if kept:
                young = _Points(self._rows, owner, kept)
                cloudwatch._metrics.set_scoped(account, region, names, young)
            else:
                cloudwatch._metrics.pop_scoped(account, region, names)

    def restore(self, state: State) -> None:
        """Put data points back into a state that was read."""
        former = state["metrics"]._data  # of a folder of before points had rows
        for key, points in list(former.items()):
            account, region, names = key
            former[key] = _Points(self._rows, json.dumps([account, region, *names]), points)
        for owner, rows in self._rows.read(self.service).items():
            account, region, *names = json.loads(owner)
            points = _Points(self._rows, owner)
            list.extend(points, (point for _, point in rows))
            former[(account, region, tuple(names))] = points


class _Points(list[State]):
    """Data points of a metric; what is appended gets a row."""

    def __init__(self, rows: Rows, owner: str, points: Iterable[State] = ()) -> None:
        super().__init__()
        self._rows, self._owner = rows, owner
        for point in points:
            self.append(point)

    def append(self, point: State) -> None:
        self._rows.add(DataPoints.service, self._owner, point)
        super().append(point)
