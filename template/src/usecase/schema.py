"""What a model was trained on and what it answers: the schema.json that travels with a version.

Training leaves it in the model's artifact; the evaluation and the baseline, which is what the
monitors compare with, hold a copy. Whatever meets a version of the model compares it with its own
usecase.toml, so that no row is read in another version's order. Types are named as in Model
Monitor's statistics.json.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal, Self

import polars as pl

from usecase import container, features
from usecase.config import UseCase
from usecase.errors import UseCaseError

NAME = "schema.json"
Kind = Literal["Integral", "Fractional", "String"]
KINDS: dict[type, Kind] = {int: "Integral", float: "Fractional", str: "String"}


@dataclass(frozen=True)
class Field:
    """A feature, or a field of an answer.

    Attributes:
        name: Its name.
        type: Integral, Fractional or String.
        categories: The values that training has seen, of a categorical feature.
    """

    name: str
    type: Kind
    categories: Sequence[str] | None = None


@dataclass(frozen=True)
class Schema:
    """The schema of a version.

    Attributes:
        features: The features in the order in which a CSV request has them.
        target: The column with the label.
        answer: The fields of an answer in the order in which CSV has them.
        tables: The tables of the data mart that the features are built of.
        id: The column that identifies a record.
        built_by: Hash of the code that builds the features. With another one, features of the same
            name may have other values.
    """

    features: Sequence[Field]
    target: str
    answer: Sequence[Field]
    tables: Sequence[str]
    id: str
    built_by: str

    @classmethod
    def of(cls, use_case: UseCase, train: pl.DataFrame) -> Self:
        """The schema of a model that is trained on a table.

        Args:
            use_case: Names the columns.
            train: What `prepare` has written.
        """
        code = Path(features.__file__).read_bytes()
        return cls(
            features=[
                Field(name, "String") if name in use_case.features.text else field(train[name])
                for name in use_case.features.names
            ],
            target=use_case.target.column,
            answer=[Field(name, KINDS[kind]) for name, kind in use_case.target.answer.items()],
            tables=list(use_case.data.tables),
            id=use_case.data.id,
            built_by=hashlib.sha256(code).hexdigest(),
        )

    def same_features(self, other: Self) -> bool:
        """Whether another version has the same features, in the same order, built by the same code.

        Then a table with the features of one version has those of the other.
        """
        return (self.inputs, self.built_by) == (other.inputs, other.built_by)

    @property
    def inputs(self) -> list[tuple[str, bool]]:
        """Each feature's name, and whether it is a number."""
        return [(feature.name, feature.type != "String") for feature in self.features]


def field(values: pl.Series) -> Field:
    """A feature as training has seen it."""
    if values.dtype == pl.String:
        return Field(values.name, "String", values.drop_nulls().unique().sort().to_list())
    return Field(values.name, "Integral" if values.dtype.is_integer() else "Fractional")


def write(schema: Schema, folder: Path) -> None:
    """Write a schema into a folder."""
    document = asdict(schema)
    for entry in (*document["features"], *document["answer"]):
        if entry["categories"] is None:
            del entry["categories"]
    container.write_json(folder / NAME, document)


def read(folder: Path) -> Schema | None:
    """The schema in a folder; `None` without one, as with versions that were trained before it.

    Raises:
        UseCaseError: When the file is not a schema.
    """
    path = folder / NAME
    return parse(container.read_json(path), str(path)) if path.exists() else None


def parse(document: Mapping[str, Any], where: str) -> Schema:
    """The schema that a schema.json holds.

    Args:
        document: The whole of it.
        where: Where it is, for the message.

    Raises:
        UseCaseError: When it is not a schema.
    """
    try:
        parts = {key: [Field(**entry) for entry in document[key]] for key in ("features", "answer")}
        return Schema(**{**document, **parts})
    except (KeyError, TypeError) as error:
        raise UseCaseError(f"{where}: is not a schema of a model ({error})") from None


def check(folder: Path, use_case: UseCase) -> None:
    """Check that what lies in a folder was made with the features and the target of usecase.toml.

    Without a schema there is nothing to check, which the log tells.

    Args:
        folder: That of a model, an evaluation or a baseline.
        use_case: What it is to be used with.

    Raises:
        UseCaseError: When a feature, its place or its type, the target or an answer is another.
    """
    schema = read(folder)
    if schema is None:
        print(f"{folder.name}: has no {NAME}, it is older than that; its features are not checked")
        return
    if reason := mismatch(schema, use_case):
        raise UseCaseError(
            f"{folder.name}: {reason}; use it with the image that it was trained in, or train again"
        )


def mismatch(schema: Schema, use_case: UseCase) -> str:
    """The first thing in which a model is another than usecase.toml has it, in words; else empty.

    Args:
        schema: That of the model.
        use_case: What it is to be used with.
    """
    numeric = set(use_case.features.numeric)
    wanted = [(name, name in numeric) for name in use_case.features.names]
    if reason := difference(schema.inputs, wanted):
        return reason
    for what, mine, own in (
        ("target", schema.target, use_case.target.column),
        ("answer", [entry.name for entry in schema.answer], [*use_case.target.answer]),
    ):
        if mine != own:
            return f"its {what} is {shown(mine)}, that of usecase.toml is {shown(own)}"
    return ""


def difference(trained: Sequence[tuple[str, bool]], wanted: Sequence[tuple[str, bool]]) -> str:
    """The first difference between two lists of features, in words; empty if there is none.

    Args:
        trained: The name of each feature of a model, and whether it is a number.
        wanted: The same of usecase.toml.
    """
    mine, own = dict(trained), dict(wanted)
    for name in mine:
        if name not in own:
            return f"the model was trained with feature {name}, which usecase.toml does not have"
    for name in own:
        if name not in mine:
            return f"the model was trained without feature {name}, which usecase.toml has"
    for name, number in mine.items():
        if number != own[name]:
            now, before = ("categorical", "numeric") if number else ("numeric", "categorical")
            return f"feature {name} was {before} when the model was trained, and is {now} now"
    for place, ((name, _), (other, _)) in enumerate(zip_longest(trained, wanted), start=1):
        if name != other:
            return f"feature {place} of the model is {name}, that of usecase.toml is {other}"
    return ""


def shown(value: str | Sequence[str]) -> str:
    """A name, or several, for a message."""
    return value if isinstance(value, str) else ", ".join(value)
