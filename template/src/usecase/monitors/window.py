"""The window that a monitor looks at, and its report."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from usecase import container
from usecase.errors import UseCaseError
from usecase.predictions import Reading, Window


def asked() -> Window:
    """The window of the environment's MODEL_VERSION, WINDOW_START and WINDOW_END, where set.

    The times are ISO 8601, and UTC without a zone.

    Raises:
        UseCaseError: When one is no time, or the end is not after the begin.
    """
    start, end = _time("WINDOW_START"), _time("WINDOW_END")
    if start and end and start >= end:
        raise UseCaseError(f"WINDOW_END: {end} is not after WINDOW_START, {start}")
    return Window(os.environ.get("MODEL_VERSION", ""), start, end)


def served_partly() -> str:
    """Why the version need not have predicted much: it served for a part of the window only.

    That is in words in the environment's SERVED_PARTLY; empty where it served all along.
    """
    text = os.environ.get("SERVED_PARTLY", "")
    return "" if text == "none" else text


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


@dataclass(frozen=True)
class Coverage:
    """How much of what there was has been judged. It is written as coverage.json.

    Attributes:
        window: What was to be judged.
        reading: What was read of it.
        judged: So many predictions have been judged.
        counts: What else was counted, by name.
        problems: What keeps the judgement from being one, in sentences.
    """

    window: Window
    reading: Reading
    judged: int
    counts: Mapping[str, Any] = field(default_factory=dict)
    problems: Sequence[str] = ()

    def document(self) -> dict[str, Any]:
        """The content of coverage.json."""
        start, end = (
            time.isoformat() if time else None for time in (self.window.start, self.window.end)
        )
        return {
            "version": self.window.version or None,
            "start": start,
            "end": end,
            "judged": self.judged,
            "dropped": dict(self.reading.dropped),
            **self.counts,
            "problems": list(self.problems),
        }


def dropped(reading: Reading, most: float) -> list[str]:
    """The problem that too much could not be read.

    Args:
        reading: What was read.
        most: The largest fraction that is none, `max_dropped` of usecase.toml.
    """
    lost = sum(reading.dropped.values())
    fraction = lost / (lost + reading.read) if lost else 0.0
    if fraction <= most:
        return []
    reasons = [
        f"{number} {reason}"
        + (f" ({reading.examples[reason]})" if reason in reading.examples else "")
        for reason, number in reading.dropped.items()
    ]
    total = lost + reading.read
    problem = (
        f"{fraction:.1%} of {total} predictions could not be read, more than max_dropped = "
        f"{most:.1%}: {', '.join(reasons)}."
    )
    return [problem]


def report(
    statistics: Mapping[str, Any],
    constraints: Mapping[str, Any],
    violations: Sequence[Mapping[str, str]],
    coverage: Coverage,
    summary: str,
) -> None:
    """Write Model Monitor's three files, coverage.json, and the job's exit message.

    Args:
        statistics: What was measured.
        constraints: What it was checked against.
        violations: What broke a constraint.
        coverage: How much has been judged.
        summary: What was looked at, for the message.
    """
    folder = container.processing_output("report")
    container.write_json(folder / "statistics.json", statistics)
    container.write_json(folder / "constraints.json", constraints)
    container.write_json(folder / "coverage.json", coverage.document())
    container.write_json(folder / "constraint_violations.json", {"violations": violations})
    for violation in violations:
        name = violation.get("feature_name") or violation["metric_name"]
        print(f"{name}: {violation['constraint_check_type']}: {violation['description']}")
    for problem in coverage.problems:
        print(f"problem: {problem}")
    state = f"CompletedWithViolations: {len(violations)} violations" if violations else "Completed"
    stop = "." if coverage.problems else ""
    message = " ".join([f"{state}: {summary}{stop}", *coverage.problems])
    container.exit_message(message)
    print(message)
