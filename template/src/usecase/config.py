"""The use case as `usecase.toml` describes it.

Reads with the standard library alone: the workflows, the infrastructure and `ops` import it too.
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from usecase.errors import UseCaseError
from usecase.monitors.settings import (
    OF_CATEGORIES,
    OF_NUMBERS,
    DataQuality,
    FeatureConstraints,
    ModelQuality,
    Monitors,
)
from usecase.problem import METRICS, Target

__all__ = ["DataQuality", "FeatureConstraints", "ModelQuality", "Monitors", "UseCase", "load"]

Scalar = str | int | float | bool
FieldType = Literal["number", "text", "datetime"]
#: What a value must be, in words.
WORDS: dict[Any, str] = {
    str: "text in quotes",
    int: "a whole number",
    bool: "true or false",
    Scalar: "text, a number or true/false",
}

#: Columns that predictions have besides the features.
RESERVED = frozenset({"inference_id", "time", "row", "prediction"})


class ConfigError(UseCaseError):
    """usecase.toml is not right; the message names the key and what fixes it."""


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


@dataclass(frozen=True)
class Data:
    """Where the data is and what identifies a record.

    Attributes:
        tables: The folders of the data mart to read.
        id: The column that identifies a record; its prediction and its label have it too.
        time: The column with the time of the record, by which the data is split.
        history_months: Training takes the newest so many months.
    """

    tables: tuple[str, ...]
    id: str
    time: str
    history_months: int = 12

    def __post_init__(self) -> None:
        _require(bool(self.tables), "tables: is empty; name at least one folder of the data mart")
        _require(self.history_months >= 1, "history_months: must be at least 1")


@dataclass(frozen=True)
class Features:
    """The model's inputs.

    Attributes:
        numeric: Columns with numbers.
        categorical: Columns with categories, as text.
    """

    numeric: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _require(bool(self.names), "numeric, categorical: both are empty; name a feature")
        twice = sorted({name for name in self.names if self.names.count(name) > 1})
        _require(not twice, f"{', '.join(twice)}: named more than once")

    @property
    def names(self) -> list[str]:
        """All features, in the order in which a CSV request has them."""
        return [*self.numeric, *self.categorical]


@dataclass(frozen=True)
class Request:
    """What a caller sends where that is not the features; `features.of_requests` makes these of it.

    Attributes:
        required: The type of each field that must have a value, by its name.
        optional: The same of fields that can be missing.
    """

    required: Mapping[str, FieldType] = field(default_factory=lambda: MappingProxyType({}))
    optional: Mapping[str, FieldType] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        _require(
            bool(self.fields),
            "required, optional: both are empty; name a field, or take the section out, and "
            "callers send the features",
        )
        twice = ", ".join(sorted(self.required.keys() & self.optional.keys()))
        _require(not twice, f"{twice}: both required and optional; take one out")

    @property
    def fields(self) -> dict[str, FieldType]:
        """All fields, in the order in which a CSV request has them."""
        return {**self.required, **self.optional}


@dataclass(frozen=True)
class Split:
    """How the data is split by time: train, then validation, then test, the newest.

    Attributes:
        validation: Share of the rows to stop the training by.
        test: Share of the rows to evaluate on.
    """

    validation: float = 0.15
    test: float = 0.15

    def __post_init__(self) -> None:
        for name in ("validation", "test"):
            share = getattr(self, name)
            _require(0 < share < 1, f"{name}: is {share}, must lie between 0 and 1")
        _require(self.validation + self.test < 1, "validation and test: leave nothing to train on")


@dataclass(frozen=True)
class Training:
    """How the model is trained.

    Attributes:
        hyperparameters: Passed to the training job and from there to `Model.fit`.
    """

    hyperparameters: Mapping[str, Scalar] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class Approval:
    """The gate of the training workflow: a model that does not pass it is not registered.

    Attributes:
        metric: The metric of the evaluation that counts.
        threshold: The value from which on it passes: the least one, or the greatest where lower is
            better.
    """

    metric: str
    threshold: float

    def __post_init__(self) -> None:
        _require(
            self.metric in METRICS,
            f"metric: unknown {self.metric!r}; use one of {', '.join(METRICS)}",
        )

    @property
    def higher_is_better(self) -> bool:
        """Whether a higher value of the metric is a better one."""
        return METRICS[self.metric] == "LessThanThreshold"


@dataclass(frozen=True)
class Retraining:
    """When a training may start by itself.

    Attributes:
        cooldown_hours: Not sooner than so long after the one before.
    """

    cooldown_hours: int = 24

    def __post_init__(self) -> None:
        _require(self.cooldown_hours >= 0, "cooldown_hours: must not be negative")


@dataclass(frozen=True)
class Rollback:
    """From when on the answers to requests are so bad that a new version is rolled back.

    Attributes:
        error_rate: Fraction of the requests of five minutes that fail for a reason of the server's.
            Of few requests, one is enough: with 0.05, one of twenty.
        latency_ms: What the model takes to answer, in milliseconds: the average of a minute, in two
            of five minutes, as the first request of a server may be slow.
    """

    error_rate: float = 0.05
    latency_ms: int = 1000

    def __post_init__(self) -> None:
        _require(
            0 < self.error_rate <= 1,
            f"error_rate: is {self.error_rate}, must be above 0 and at most 1",
        )
        # SageMaker itself gives up after a minute.
        _require(
            1 <= self.latency_ms <= 60_000,
            f"latency_ms: is {self.latency_ms}, must be 1 to 60000",
        )


@dataclass(frozen=True)
class Instances:
    """What everything runs on.

    Attributes:
        processing: Instance type of prepare, evaluate, baseline and the monitors.
        training: Instance type of the training job.
        inference: Instance type of what predicts.
        inference_count: Number of instances of what predicts.
    """

    processing: str = "ml.m5.large"
    training: str = "ml.m5.large"
    inference: str = "ml.m5.large"
    inference_count: int = 1

    def __post_init__(self) -> None:
        for name in ("processing", "training", "inference"):
            value = getattr(self, name)
            _require(
                value.startswith("ml.") and value.count(".") == 2,
                f"{name}: {value!r} is not a SageMaker instance type; write one like ml.m5.large",
            )
        _require(self.inference_count >= 1, "inference_count: must be at least 1")


@dataclass(frozen=True)
class UseCase:
    """The whole of usecase.toml, section by section."""

    data: Data
    target: Target
    features: Features
    approval: Approval
    request: Request | None = None
    split: Split = Split()
    training: Training = Training()
    monitors: Monitors = field(default_factory=Monitors)
    retraining: Retraining = Retraining()
    rollback: Rollback = Rollback()
    instances: Instances = Instances()

    def __post_init__(self) -> None:
        special = {
            "data.id": self.data.id,
            "data.time": self.data.time,
            "target.column": self.target.column,
        }
        for key, column in special.items():
            _require(
                column not in self.features.names,
                f"features: {column} is {key}, so it cannot be a feature; take it out",
            )
        taken = ", ".join(sorted(RESERVED & set(self.features.names)))
        _require(not taken, f"features: {taken}: reserved for predictions; rename it")
        _require(
            len(set(special.values())) == len(special),
            f"{', '.join(special)}: must be three different columns",
        )
        _require(
            self.request is None or self.target.column not in self.request.fields,
            f"request: {self.target.column} is target.column, which no caller knows; take it out",
        )
        self._check_constraints()

    def _check_constraints(self) -> None:
        """Check that people want of features what these can have.

        Raises:
            ValueError: When there is no such feature, or one of the other kind.
        """
        for name, wanted in self.monitors.data_quality.features.items():
            where = f"monitors.data_quality.features.{name}"
            _require(
                name in self.features.names,
                f"{where}: there is no such feature; there are {', '.join(self.features.names)}",
            )
            numeric = name in self.features.numeric
            for key in OF_CATEGORIES if numeric else OF_NUMBERS:
                kind = "categorical" if numeric else "numeric"
                _require(
                    getattr(wanted, key) is None,
                    f"{where}.{key}: is for {kind} features, {name} is none; take it out",
                )


def load(path: Path | None = None) -> UseCase:
    """Read usecase.toml.

    Args:
        path: The file; by default the one that the environment variable USECASE_TOML names, or
            usecase.toml in the working directory.

    Raises:
        ConfigError: When the file is missing, not TOML, or has a wrong, missing or unknown key.
    """
    path = path or Path(os.environ.get("USECASE_TOML", "usecase.toml"))
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        use_case: UseCase = _bind(UseCase, table, "")
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror}); run this in the project's root folder, or "
            "set USECASE_TOML"
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8 text") from None
    except (tomllib.TOMLDecodeError, ConfigError) as error:
        raise ConfigError(f"{path}: {error}") from None
    return use_case


def _bind(cls: type[Any], table: Mapping[str, object], where: str) -> Any:  # noqa: ANN401  any section
    """Make a dataclass of a TOML table whose keys are the dataclass's fields."""
    hints = get_type_hints(cls)
    for key in table:
        if key not in hints:
            close = get_close_matches(key, hints, n=1)
            meant = f"did you mean {close[0]}? " if close else ""
            raise ConfigError(f"{where}{key}: unknown key; {meant}known: {', '.join(hints)}")
    values = {}
    for entry in fields(cls):
        if entry.name in table:
            values[entry.name] = _value(hints[entry.name], table[entry.name], where + entry.name)
        elif entry.default is MISSING and entry.default_factory is MISSING:
            raise ConfigError(f"{where}{entry.name}: is missing; add it")
    try:
        return cls(**values)
    except ValueError as error:
        raise ConfigError(f"{where}{error}") from None


def _value(hint: Any, value: object, where: str) -> object:  # noqa: ANN401  any type hint
    """Check a TOML value against the type of its field."""
    if get_origin(hint) is UnionType and hint != Scalar:  # with None, which TOML does not have
        hint = get_args(hint)[0]
    if is_dataclass(hint):
        return _bind(hint, _checked(dict, value, where, "a [section]"), f"{where}.")  # type: ignore[arg-type]  # the hint of a section is its class
    origin = get_origin(hint)
    if origin is Literal:
        if value not in get_args(hint):
            raise ConfigError(f"{where}: is {value!r}, must be one of {', '.join(get_args(hint))}")
        return value
    if origin is tuple:
        kind = get_args(hint)[0]
        like, of = ('["a", "b"]', "text") if kind is str else ("[1.0, 2.5]", "numbers")
        entries = _checked(list, value, where, f"a list like {like}")
        wanted = str if kind is str else int | float
        return tuple(kind(_checked(wanted, entry, where, f"a list of {of}")) for entry in entries)
    if origin is Mapping:
        pairs = _checked(dict, value, where, "a [section]")
        kind = get_args(hint)[1]
        return MappingProxyType(
            {key: _value(kind, entry, f"{where}.{key}") for key, entry in pairs.items()}
        )
    if hint is float:
        return float(_checked(int | float, value, where, "a number"))
    return _checked(hint, value, where, WORDS[hint])


def _checked(kind: Any, value: object, where: str, wanted: str) -> Any:  # noqa: ANN401  of any type
    """Return a value that has a type, `True` and `False` being no numbers."""
    if not isinstance(value, kind) or (isinstance(value, bool) and kind in (int, int | float)):
        raise ConfigError(f"{where}: is {value!r}, must be {wanted}")
    return value
