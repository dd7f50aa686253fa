"""`monitor`: let the monitors judge what one version has predicted, each in its own window."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from usecase import container, errors, predictions, schema
from usecase.config import UseCase
from usecase.predictions import Reading, Window


@dataclass(frozen=True)
class Subject:
    """What a monitor judges.

    Attributes:
        window: The version, and the window of time.
        reading: The predictions of this window.
        baseline: The folder with the baseline of the version.
        labels: The folder with the labels.
        served_partly: Why the version need not have predicted much: it served for a part of the
            window only. Empty where it served all along.
    """

    window: Window
    reading: Reading
    baseline: Path
    labels: Path
    served_partly: str


@dataclass(frozen=True)
class Report:
    """What a monitor has found.

    Attributes:
        statistics: What was measured.
        constraints: What it was checked against.
        violations: What broke a constraint.
        judged: So many predictions have been judged.
        counts: What else was counted, by name.
        problems: What keeps the judgement from being one, in sentences.
        summary: What was looked at, for the message.
    """

    statistics: Mapping[str, Any]
    constraints: Mapping[str, Any]
    violations: Sequence[Mapping[str, str]]
    judged: int
    counts: Mapping[str, Any]
    problems: Sequence[str]
    summary: str

    def message(self) -> str:
        """What there is to say of it in the job's exit message."""
        number, stop = len(self.violations), "." if self.problems else ""
        state = f"CompletedWithViolations: {number} violations" if number else "Completed"
        return " ".join([f"{state}: {self.summary}{stop}", *self.problems])

    def write(self, subject: Subject, folder: Path) -> None:
        """Write Model Monitor's three files, and how much was judged: coverage.json."""
        window = subject.window
        coverage = {
            "version": window.version,
            "start": window.start and window.start.isoformat(),
            "end": window.end and window.end.isoformat(),
            "judged": self.judged,
            "dropped": dict(subject.reading.dropped),
            **self.counts,
            "problems": list(self.problems),
        }
        container.write_json(folder / "statistics.json", self.statistics)
        container.write_json(folder / "constraints.json", self.constraints)
        container.write_json(folder / "coverage.json", coverage)
        container.write_json(folder / "constraint_violations.json", {"violations": self.violations})
        for violation in self.violations:
            name = violation.get("feature_name") or violation["metric_name"]
            print(f"{name}: {violation['constraint_check_type']}: {violation['description']}")


def run(use_case: UseCase) -> None:
    """Run the monitors of plan.json, which the function `monitoring.inputs` has written.

    It has, for each: `start` and `end` of its window; `served_partly`; the folder of its
    `baseline`. A monitor that fails leaves failure.json in the place of its report, and the others
    run all the same.

    Raises:
        UseCaseError: When there is no plan.
    """
    plan = container.read_json(container.processing_input("plan") / "plan.json")
    messages = []
    for name, asked in plan["monitors"].items():
        folder = container.processing_output("report") / name / plan["execution"]
        try:
            subject = read(plan, asked, use_case)
            report: Report = import_module(f"{__package__}.{name}").judge(subject, use_case)
            report.write(subject, folder)
            message = report.message()
        except Exception as error:  # whatever it is, the other monitors are not to miss their run
            reason = errors.told(error)
            container.write_json(folder / "failure.json", {"reason": reason})
            message = f"Failed: {reason}"
        messages.append(f"{name}: {message}")
        print(messages[-1], flush=True)
    container.exit_message(" ".join(messages))


def read(plan: Mapping[str, Any], asked: Mapping[str, Any], use_case: UseCase) -> Subject:
    """What a monitor judges; the one place where predictions are read.

    Args:
        plan: The content of plan.json.
        asked: What it has of the monitor.
        use_case: The use case.

    Raises:
        UseCaseError: When the predictions cannot be read, or the baseline has other features.
    """
    files = container.processing_input("files")
    start, end = (datetime.fromisoformat(asked[edge]) for edge in ("start", "end"))
    window = Window(plan["version"], start, end)
    schema.check(files / asked["baseline"], use_case)
    return Subject(
        window=window,
        reading=predictions.read(files / plan["predictions"], use_case, window),
        baseline=files / asked["baseline"],
        labels=files / plan["labels"],
        served_partly=asked["served_partly"],
    )


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
