"""Write usecase.toml, features.py and tests/mart.toml for a data set."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from adopt.columns import CLASSES, Feature, Target, literal
from adopt.joins import Joined

WIDTH = 100


@dataclass(frozen=True)
class Findings:
    """What was found out about a data set.

    Attributes:
        sources: The files' names.
        again: The command that brings the data again.
        tables: The folders of the data mart, that of the records first.
        joins: The others, which are joined to the records.
        columns: The files' columns, and the plain name of each.
        id: Plain name of the column that identifies a record.
        time: Plain name of the column with its time.
        made: What `id` and `time` were made of, in words, where the file has none.
        target: What is predicted.
        target_column: Plain name of its column.
        features: The model's inputs.
        facets: Plain names of the groups to compare.
        left_out: Columns that are no feature, by plain name.
        history_months: Training takes the newest so many months.
        mart: What each table must hold: its columns by a key of [mart.<table>].
    """

    sources: Sequence[str]
    again: str
    tables: Sequence[str]
    joins: Sequence[Joined]
    columns: Mapping[str, str]
    id: str
    time: str
    made: Sequence[str]
    target: Target
    target_column: str
    features: Sequence[Feature]
    facets: Sequence[str]
    left_out: Sequence[str]
    history_months: int
    mart: Mapping[str, Mapping[str, Sequence[str]]]


@dataclass(frozen=True)
class Measures:
    """The numbers of usecase.toml that follow from a trial; these are for the trial itself.

    Attributes:
        metric: The metric of the gate.
        threshold: The value that a model must reach.
        reached: How the threshold was found, in words.
        target: Further entries of [target].
        settings: Values of keys of other sections, for those that are there.
    """

    metric: str
    threshold: float = 0.0
    reached: str = ""
    target: Mapping[str, tuple[object, str]] = field(default_factory=dict)
    settings: Mapping[str, object] = field(default_factory=dict)


def use_case(before: str, found: Findings, measures: Measures) -> str:
    """The text of usecase.toml.

    Args:
        before: The text of the one that is there: sections that do not follow from the data, such
            as [instances], stay as they are.
        found: The data set.
        measures: The numbers that follow from it.
    """
    # What people wanted of features, metrics, tables and requests that are gone is gone too.
    own = re.compile(r"monitors\.\w+\.|(mart|facets|request)\b")
    sections = {}
    for name, text in split(before).items():
        if not own.match(name):
            sections[name] = text
        if name == "data":
            sections |= dict.fromkeys(mart_sections(found), "")  # have their place behind it
    fresh = {
        "data": data_section(found),
        **mart_sections(found),
        "target": target_section(found, measures),
        "features": features_section(found),
        **facets_sections(found),
        "approval": approval_section(measures),
    }
    texts = settled({**sections, **fresh}, measures.settings).values()
    return "\n".join(text.strip("\n") + "\n" for text in texts if text.strip())


def settled(sections: Mapping[str, str], settings: Mapping[str, object]) -> dict[str, str]:
    """Sections of usecase.toml with other values of the keys that are there.

    Those of the bias monitor mean other metrics; its keys that name the old data's are gone.

    Args:
        sections: Their texts, by name.
        settings: The values, by key.
    """
    found = {}
    for name, before in sections.items():
        bias, text = name == "monitors.bias", before
        if bias:
            text = re.sub(r"(?m)^(positive|positive_above|group_variable) *=.*\n", "", text)
        for key, value in settings.items():
            if not (bias and key in ("metrics", "tolerance")):
                line = rf"(?m)^({key} *= *)(\[[^]\n]*\]|[^[#\n]+?)( *(?:#.*)?)$"
                text = re.sub(line, beside(value), text)
        found[name] = text
    return found


def beside(value: object) -> Callable[[re.Match[str]], str]:
    """Puts a value in the place of another, with its comment where it was."""
    return lambda found: (
        (found[1] + toml(value, 0)).ljust(found.end(2) - found.start()) + found[3]
    ).rstrip()


def split(text: str) -> dict[str, str]:
    """The sections of a TOML file by name, each with the comment right above its header.

    What comes before the first is "".
    """
    sections = {"": ""}
    name, comments = "", ""
    for line in text.splitlines(keepends=True):
        if header := re.match(r"\[([^\[\]]+)\]", line):
            name = header[1].strip()
            sections[name] = comments + line
            comments = ""
        elif line.startswith("#"):
            comments += line
        else:
            sections[name] += comments + line
            comments = ""
    sections[name] += comments
    return sections


def data_section(found: Findings) -> str:
    """[data]: where the records are."""
    months = "training takes the newest so many months"
    return section(
        "data",
        [
            f"From {', '.join(found.sources)}. A clone gets its data/ again with",
            found.again,
            *found.made,
        ],
        {
            "tables": (
                found.tables,
                "folders of the data mart: s3://<bucket>/mart/<table>/*.parquet",
            ),
            "id": (found.id, "identifies a record; predictions and labels meet by it"),
            "time": (found.time, "the time of the record; the data is split by it"),
            "history_months": (found.history_months, months),
        },
    )


def mart_sections(found: Findings) -> dict[str, str]:
    """[mart.<table>]: what each table must hold."""
    comments = ["What the table must hold; prepare and `ops load` check it."]
    sections = {}
    for table, held in found.mart.items():
        entries = {key: (names, "") for key, names in held.items()}
        sections[f"mart.{table}"] = section(f"mart.{table}", comments, entries)
        comments = []
    return sections


def target_section(found: Findings, measures: Measures) -> str:
    """[target]: what is predicted."""
    entries = {"column": (found.target_column, found.target.meaning)}
    return section("target", [], {**entries, **found.target.entries, **measures.target})


def features_section(found: Findings) -> str:
    """[features]: what the model sees, and what it does not."""
    comments = [
        "The columns of features.build() that the model sees. A CSV row of them has this order."
    ]
    numbers = [f.name for f in found.features if f.numeric and f.name in found.facets]
    for what, names in (
        ("Facets once you name the thresholds between their groups", numbers),
        ("Left out", found.left_out),
    ):
        if names:
            comments += wrapped(f"{what}: {', '.join(names)}")
    kinds = {
        "numeric": [f.name for f in found.features if f.numeric],
        "categorical": [f.name for f in found.features if not f.numeric and not f.text],
        "text": [f.name for f in found.features if f.text],
    }
    shown = {kind: (names, "") for kind, names in kinds.items() if names or kind != "text"}
    return section("features", comments, shown)


def facets_sections(found: Findings) -> dict[str, str]:
    """[facets.<name>]: the groups to compare. Where numbers part, only people can say."""
    names = [f.name for f in found.features if not (f.numeric or f.text) and f.name in found.facets]
    headers = [f"facets.{name if name.isascii() else toml(name, 0)}" for name in names]
    told = ['The evaluation tells of groups, too: each value, or those of `values = ["a", "b"]`.']
    return {header: section(header, told if header == headers[0] else [], {}) for header in headers}


def approval_section(measures: Measures) -> str:
    """[approval]: the gate."""
    return section(
        "approval",
        [
            "A model that misses this is not registered: the training fails and says so.",
            *wrapped(measures.reached),
        ],
        {"metric": (measures.metric, ""), "threshold": (measures.threshold, "")},
    )


def section(name: str, comments: Sequence[str], entries: Mapping[str, tuple[object, str]]) -> str:
    """A section of TOML, comments to the right of the values where they fit."""
    lines = [f"# {comment}" for comment in comments] + [f"[{name}]"]
    for key, (value, comment) in entries.items():
        text = f"{key} = {toml(value, len(key) + 3)}"
        beside = f"{text:<35} # {comment}"
        if comment and (len(beside) > WIDTH or "\n" in text):
            lines += [f"# {comment}", text]
        else:
            lines.append(beside if comment else text)
    return "\n".join(lines) + "\n"


def toml(value: object, indent: int) -> str:
    """A value as TOML; a list that is too long for a line has several."""
    if not isinstance(value, list | tuple):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    text = f"[{', '.join(toml(held, 0) for held in value)}]"
    if len(text) + indent <= WIDTH:
        return text
    return "\n".join(["[", *(f"  {line}" for line in filled(toml(v, 0) + "," for v in value)), "]"])


def filled(words: Iterable[str]) -> list[str]:
    """Words on as few lines as they need."""
    lines = [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + len(word) + 3 > WIDTH:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return lines


def wrapped(text: str) -> list[str]:
    """A comment on as many lines as it needs."""
    return [line for line in filled(text.split()) if line]


def features(found: Findings) -> str:
    """The text of src/usecase/features.py, to be formatted."""
    used = used_columns(found)
    renamed = {name: plain for name, plain in found.columns.items() if name != plain in used}
    target = found.target.code.replace("COLUMN", f"pl.col({literal(found.target_column)})")
    made = [
        f"{feature.code},"
        if feature.name == found.columns[feature.column]
        else f"{feature.code}.alias({literal(feature.name)}),"
        for feature in found.features
        if feature.code
    ]
    constants = [f"#: The label: {found.target.meaning}.", f"TARGET = {target}"]
    if renamed:
        names = ", ".join(f"{literal(name)}: {literal(plain)}" for name, plain in renamed.items())
        constants += [
            "",
            "#: Columns whose names do not go everywhere: in requests, SQL and the model.",
            f"RENAMED = {{{names},}}",
        ]
    joins = "".join(one.code for one in found.joins)
    records = f"tables[{literal(found.tables[0])}]{joins}" + ".rename(RENAMED)" * bool(renamed)
    columns = ["TARGET,", f"pl.col({literal(found.id)}).cast(pl.String),", *made]
    return FEATURES.format(
        constants="\n".join(constants), records=records, columns="\n        ".join(columns)
    )


def used_columns(found: Findings) -> set[str]:
    """Plain names of the columns that features.py reads."""
    used = {found.id, found.time, found.target_column}
    return used | {found.columns[feature.column] for feature in found.features}


def mart(before: str, found: Findings, tables: Mapping[str, pl.DataFrame]) -> str:
    """The text of tests/mart.toml: what the columns hold that features.py reads.

    Args:
        before: The text of the one that is there: what it says above its tables stays.
        found: The data set.
        tables: Its tables, by name.
    """
    used = used_columns(found)
    special = {found.id: "id", found.time: "time"}
    looked_up = {mine: theirs for one in found.joins for mine, theirs in one.keys.items()}
    unique = {one.table: [*one.keys.values()] for one in found.joins}
    texts = [split(before)[""]]
    for table, rows in tables.items():
        kinds: dict[str, object] = {}
        for name in rows.columns:
            plain = found.columns.get(name, name)
            if name in unique.get(table, ()):
                kinds[name] = unique_kind(rows[name])
            elif plain in special:
                kinds[name] = special[plain]
            elif name in looked_up:
                kinds[name] = some_of(rows[name], looked_up[name])
            elif plain == found.target_column:
                kinds[name] = values(rows[name], found.target) or kind(rows[name])
            elif plain in used:
                kinds[name] = kind(rows[name])
        lines = (f"{toml(name, 0)} = {toml(held, len(name) + 5)}\n" for name, held in kinds.items())
        texts.append(f"[{table}]\n" + "".join(lines))
    return texts[0] + "\n".join(texts[1:])


def unique_kind(key: pl.Series) -> str:
    """What the key of a table holds that is looked up by it: each row something else."""
    if key.dtype.is_temporal():
        return "day" if key.dtype == pl.Date else "time"
    return "row" if key.dtype.is_numeric() else "id"


def some_of(key: pl.Series, name: str) -> object:
    """What a column holds that is looked up by: the first of the keys, which are called `name`."""
    if key.dtype.is_temporal():
        return kind(key)
    return [*range(7)] if key.dtype.is_numeric() else [f"{name} {row}" for row in range(7)]


def kind(values: pl.Series) -> object:
    """What a column holds, as tests/mart.toml says it."""
    if values.dtype == pl.Boolean:
        return [False, True]
    if values.dtype.is_temporal():
        return "date" if values.dtype == pl.Date else "time"
    return "number" if values.dtype.is_numeric() else "text"


def values(column: pl.Series, target: Target) -> list[object]:
    """The values of the target's column in the order of the labels; none where it has many."""
    if len(column) != len(target.values):  # that of a joined table
        held = column.drop_nulls().unique().sort().to_list()
        return held if len(held) <= CLASSES else []
    pairs = pl.DataFrame({"value": column, "label": target.values}).drop_nulls().unique()
    return pairs.sort("label", "value")["value"].to_list() if pairs.height <= CLASSES else []


FEATURES = '''"""The features, as `poe adopt` found them in the data. This file is yours: change it.

What the model sees of the columns that `build` returns is listed in usecase.toml.
"""

from collections.abc import Mapping

import polars as pl

{constants}


def build(tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Make one row per record of the tables of the data mart.

    Args:
        tables: The tables that usecase.toml lists under `data.tables`, by name.

    Returns:
        A row per record, with the columns that usecase.toml names: the id, the time, the features
        and the target, which is empty where it is not known (yet). Further columns are ignored.
    """
    records = {records}
    return records.with_columns(
        {columns}
    )
'''
