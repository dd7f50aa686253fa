"""The window that a monitor looks at, and its report."""

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from usecase import container
from usecase.errors import UseCaseError


def bounds() -> tuple[datetime | None, datetime | None]:
    """Begin and end of the window: the environment's WINDOW_START and WINDOW_END, where set.

    They are ISO 8601, and UTC without a zone.

    Raises:
        UseCaseError: When one is no time, or the end is not after the begin.
    """
    start, end = _time("WINDOW_START"), _time("WINDOW_END")
    if start and end and start >= end:
        raise UseCaseError(f"WINDOW_END: {end} is not after WINDOW_START, {start}")
    return start, end


def _time(name: str) -> datetime | None:
    text = os.environ.get(name, "")
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise UseCaseError(
            f"{name}: {text!r} is no ISO 8601 time; write one like 2026-01-31T00:00:00Z"
        ) from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def report(
    statistics: Mapping[str, Any],
    constraints: Mapping[str, Any],
    violations: Sequence[Mapping[str, str]],
    summary: str,
) -> None:
    """Write Model Monitor's three files and the job's exit message.

    Args:
        statistics: What was measured.
        constraints: What it was checked against.
        violations: What broke a constraint.
        summary: What was looked at, for the message.
    """
    folder = container.processing_output("report")
    container.write_json(folder / "statistics.json", statistics)
    container.write_json(folder / "constraints.json", constraints)
    container.write_json(folder / "constraint_violations.json", {"violations": violations})
    for violation in violations:
        name = violation.get("feature_name") or violation["metric_name"]
        print(f"{name}: {violation['constraint_check_type']}: {violation['description']}")
    state = f"CompletedWithViolations: {len(violations)} violations" if violations else "Completed"
    message = f"{state}: {summary}"
    container.exit_message(message)
    print(message)
