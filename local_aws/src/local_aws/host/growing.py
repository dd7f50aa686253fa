"""What grows without end in ministack's services, whichever the service."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping

from local_aws.host.cloudwatch.data_points import DataPoints
from local_aws.host.items import Items
from local_aws.host.log_events import LogEvents
from local_aws.host.rows import Rows, State
from local_aws.host.stepfunctions.kept import Executions


class Growing:
    """All that is kept by row.

    Attributes:
        rows: The rows.
    """

    def __init__(self, database: sqlite3.Connection) -> None:
        """Let the services' growing parts be kept by row.

        Args:
            database: Where the rows are.
        """
        self.rows = Rows(database)
        self._executions = Executions(self.rows)
        self._owned: Mapping[str, LogEvents | Items] = {
            LogEvents.service: LogEvents(self.rows),
            Items.service: Items(self.rows),
        }
        self._kept = {
            **self._owned,
            DataPoints.service: DataPoints(self.rows),
            Executions.service: self._executions,
        }

    def collect(self) -> None:
        """Let those hand over what has changed who are not told of each change."""
        self._executions.collect()

    def restore(self, service: str, state: State) -> None:
        """Put back what is kept by row into a service's state that was read."""
        if service in self._kept:
            self._kept[service].restore(state)

    def forget_orphans(self, services: Iterable[str]) -> None:
        """Remove rows whose owners are gone, in the present transaction.

        Args:
            services: Those whose state is written.
        """
        for service in services:
            if service in self._owned:
                self.rows.forget_all_but(service, self._owned[service].owners())
