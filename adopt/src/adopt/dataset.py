"""Find out what a data set holds, and what each of its columns is to the model."""

import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

import polars as pl

from adopt import columns, joins, pairs, project, table, trial
from adopt.columns import Column, Feature, Kind, Problem, Target
from adopt.files import Findings
from adopt.joins import Join, Joined
from ops import OpsError
from ops.tables import INFERENCE_ID
from usecase import tables


@dataclass(frozen=True)
class Asked:
    """What the command line says of the file and its columns."""

    target: str
    time: str | None = None
    id: str | None = None
    facets: tuple[str, ...] = ()
    encoding: str | None = None
    joins: tuple[Join, ...] = ()

    def command(self, file: Path) -> str:
        """The command that brings the data again, with the files' names but not their folders."""
        options = [("--target", self.target), ("--time", self.time), ("--id", self.id)]
        options += [("--encoding", self.encoding)]
        options += [("--join", join.text) for join in self.joins]
        given = [word for pair in options if pair[1] is not None for word in pair]
        return shlex.join(["uv", "run", "poe", "adopt", file.name, *map(str, given), "--data-only"])

    def check(self, names: list[str], joined: list[str]) -> None:
        """Check that these columns are there.

        Args:
            names: The columns of FILE.
            joined: Those of the tables that are joined.

        Raises:
            OpsError: When one is not, is to be two things, or is in the wrong table.
        """
        special = {"--target": self.target, "--time": self.time, "--id": self.id}
        given = [(option, name) for option, name in special.items() if name is not None]
        given += [("--facet", name) for name in dict.fromkeys(self.facets)]
        for option, name in given:
            if name in joined and option in ("--time", "--id"):
                raise OpsError(f"{option} {name}: is in a table that is joined; it must be in FILE")
            if name not in names + joined:
                raise OpsError(f"{option} {name}: there is no such column; {likely(name, names)}")
        if twice := [name for _, name in given if [n for _, n in given].count(name) > 1]:
            raise OpsError(f"{twice[0]}: is asked for as two things")


@dataclass(frozen=True)
class DataSet:
    """What was found out about a file.

    Attributes:
        columns: Its columns.
        records: The table for the data mart, in the order of time.
        joined: The tables that are joined to it.
        id: The column of `records` that identifies a record.
        history: So many rows are history, and so many that or the first traffic.
        findings: What goes into usecase.toml and features.py.
        notes: What is worth knowing.
    """

    columns: list[Column]
    records: pl.DataFrame
    joined: list[Joined]
    id: str
    history: tuple[int, int]
    findings: Findings
    notes: list[str]

    @property
    def tables(self) -> dict[str, pl.DataFrame]:
        """The tables of the data mart, by name."""
        others = {one.table: one.rows for one in self.joined}
        return {self.findings.tables[0]: self.records, **others}


def look(
    file: Path, asked: Asked, problem: Problem, show: Callable[[str], None] = lambda _: None
) -> DataSet:
    """Find out what a file holds.

    Args:
        file: Parquet or CSV, or a folder of Parquet files.
        asked: What the command line says.
        problem: The kind of problem that the project is made for.
        show: Shows what is being done.

    Raises:
        OpsError: When no model can be made of it; says why.
    """
    found, joined, notes = settle(file, asked, show)
    show("finding out what the columns hold")
    of_joined = {name for one in joined for name in one.columns}
    time = found[asked.time] if asked.time else None
    target, order, more = predicted(found[asked.target], time, problem)
    notes += more
    rows = len(target.values)
    target = replace(target, values=target.values.gather(order.rows))
    for column in found.values():
        column.values = column.values.gather(order.rows)
    if left := rows - len(order.rows):
        notes.append(f"{left} of {rows} rows are left out: their target or their time is missing.")
    dates = [name for name, column in found.items() if column.values.dtype.is_temporal()]
    if dates and time is None:
        notes.append(f"To split by time, pass --time: {', '.join(dates)}.")
    if again := columns.repeated(c.values for c in found.values() if c.name != asked.id):
        notes.append(f"{again} rows are the same as an earlier one; they are kept.")

    plain = columns.plain_names(found)
    records = {name: found[name].values for name in found if name not in of_joined}
    made = [order.made] if order.made else []
    identifier, when = identify(found, asked), asked.time
    if identifier is None:
        identifier = free("record_id", plain)
        records[identifier] = pl.int_range(1, len(order.rows) + 1, eager=True)
        made.append(f"No column identifies a record: {identifier} numbers them.")
    if when and order.made:
        found[when].kind = "time"  # only to order by
    if not when or order.made:
        when = free("record_time", plain)
    records |= {identifier: records[identifier].cast(pl.String), when: order.times}
    kinds: dict[str, Kind] = {asked.target: "target", identifier: "id", when: "time"}
    for name, kind in kinds.items():
        if name in found:
            found[name].kind = kind
            found[name].values = records[name]
    found[asked.target].notes += target.notes
    for name in asked.facets:
        found[name].notes.append("facet")

    history = trial.cuts(order.times)
    show("looking for columns that give the target away")
    features, more = chosen(found, plain, target.values.head(history[0]), problem)
    table_ = pl.DataFrame([values.alias(name) for name, values in records.items()])
    used = {identifier, when, asked.target, *(feature.column for feature in features)}
    used |= {mine for one in joined for mine in one.keys}
    findings = Findings(
        sources=[file.resolve().name, *(one.source for one in joined)],
        again=asked.command(file.resolve()),
        tables=[table.name(file), *(one.table for one in joined)],
        joins=joined,
        columns=plain,
        id=plain.get(identifier, identifier),
        time=plain.get(when, when),
        made=made,
        target=target,
        target_column=plain[asked.target],
        features=features,
        facets=[plain[name] for name in asked.facets],
        left_out=[plain[name] for name, column in found.items() if column.kind == "left out"],
        history_months=trial.months(order.times.head(history[0])),
        mart={
            table.name(file): held(table_, [identifier], used),
            **{one.table: held(one.rows, [*one.keys.values()], used) for one in joined},
        },
    )
    lines = [*made, *notes, *more]
    return DataSet([*found.values()], table_, joined, identifier, history, findings, lines)


def held(rows: pl.DataFrame, unique: list[str], used: set[str]) -> dict[str, list[str]]:
    """What a table must hold, as [mart.<table>] says it: whole numbers are numbers.

    Args:
        rows: The table.
        unique: The columns that identify a row.
        used: All columns that features.py reads, of other tables too.
    """
    kinds = {kind: fits for kind, fits in tables.KINDS.items() if kind != "integer"}
    read = {name: held for name, held in rows.schema.items() if name in used.union(unique)}
    found = {kind: [name for name in read if fits(read[name])] for kind, fits in kinds.items()}
    return {"unique": unique, **{kind: names for kind, names in found.items() if names}}


def settle(
    file: Path, asked: Asked, show: Callable[[str], None]
) -> tuple[dict[str, Column], list[Joined], list[str]]:
    """The columns of a file, each brought to what it holds; the id stays text.

    Returns:
        The columns, those of joined tables too; these tables; and how much of them is needed.

    Raises:
        OpsError: When a file cannot be read, or has not the columns that were asked for, or a table
            cannot be joined.
    """
    show(f"reading {file.name}")
    raw = table.read(file, asked.encoding)
    names = raw.columns
    found = {}
    for name in names:
        values = raw.drop_in_place(name)
        settled = (table.as_text(values), []) if name == asked.id else table.settle(values)
        found[name] = Column(name, settled[0], notes=settled[1])
    joined, notes = [], []
    for asked_join in asked.joins:
        show(f"reading {asked_join.file.name}")
        one, matched = joins.join(found, asked_join, file.name, asked.encoding)
        joined.append(one)
        notes.append(matched)
    folders = [table.name(file), *(one.table for one in joined)]
    if twice := next((name for name in folders if folders.count(name) > 1), None):
        raise OpsError(f"two files make a table called {twice}; rename one of them")
    asked.check(names, [name for name in found if name not in names])
    return found, joined, notes


def predicted(
    target: Column, time: Column | None, problem: Problem
) -> tuple[Target, trial.Order, list[str]]:
    """Take a column for the target, and put the rows in order.

    Rows of a class that is too rare to be in each part of the data are left out, as long as there
    are two others.

    Raises:
        OpsError: When no target can be made of it.
    """
    notes: list[str] = []
    while True:
        found = problem.look(target.values)
        order = trial.order(time, found.values)
        ordered = found.values.gather(order.rows)
        rare = trial.scarce(ordered, order.times)
        if not rare:
            return found, order, notes
        if ordered.n_unique() - len(rare) < 2:
            raise OpsError(
                f"{target.name}: only {(ordered == rare[0]).sum()} rows have "
                f"{columns.shorten(rare[0])}, too few for each part of the data by time"
            )
        notes.append(f"Classes that are too rare are left out: {', '.join(map(str, rare))}.")
        is_rare = found.values.is_in(rare).fill_null(value=False)
        target.values = target.values.set(is_rare, None)


def likely(name: str, names: list[str]) -> str:
    """Which column may be meant by a name that none has, and which ones there are."""
    known = {column.lower(): column for column in reversed(names)}
    meant = "".join(
        f"did you mean {known[near]}? " for near in get_close_matches(name.lower(), known, 1)
    )
    return f"{meant}there are {', '.join(names[:20])}{', …' * (len(names) > 20)}"


def free(name: str, plain: Mapping[str, str]) -> str:
    """A name that no column has."""
    taken = {other.lower() for pair in plain.items() for other in pair}
    while name in taken:
        name += "_"
    return name


def identify(found: Mapping[str, Column], asked: Asked) -> str | None:
    """The column that identifies the records: what was asked for, else the only one that does.

    Raises:
        OpsError: When the one that was asked for does not.
    """
    if asked.id is None:
        taken = (asked.target, asked.time)
        return columns.record_id(c for name, c in found.items() if name not in taken)
    column = found[asked.id]
    if column.missing:
        raise OpsError(f"--id {asked.id}: is empty in {column.missing} rows")
    if len(column.values) > column.distinct:
        twice = column.values.filter(column.values.is_duplicated())
        raise OpsError(
            f"--id {asked.id}: {len(twice)} rows share their ids, such as "
            f"{columns.shorten(twice[0])}; take out what is there twice, or do without --id: the "
            "rows are numbered then"
        )
    fits = column.values.str.contains(INFERENCE_ID)
    if not fits.all():
        odd = columns.shorten(column.values.filter(~fits)[0])
        raise OpsError(
            f"--id {asked.id}: {odd} is not an id; it must be ASCII, at most 64 characters"
        )
    return asked.id


def chosen(
    found: Mapping[str, Column], plain: Mapping[str, str], truth: pl.Series, problem: Problem
) -> tuple[list[Feature], list[str]]:
    """What the model sees of the columns, without what gives the target away, unless all does.

    Args:
        found: The columns.
        plain: Their plain names.
        truth: The target of the history, which comes first; leakage is looked for in it.
        problem: The kind of problem.

    Returns:
        The features; what to tell of them.

    Raises:
        OpsError: When there are none.
    """
    features = [*inputs(found, plain)]
    if not features:
        raise OpsError("no column is left that can be a feature; see what --target leaves")
    # Free text hardly ever comes twice, so it cannot be learnt of by its values.
    history = [
        replace(feature, values=feature.values.head(len(truth)))
        for feature in features
        if not feature.text
    ]
    scores = columns.leaks(history, truth, problem.score)
    alone = {name: score for name, score in scores.items() if score > columns.LEAK}
    reasons = {name: f"gives the target away ({score:.3f} of 1)" for name, score in alone.items()}
    together, looked = pairs.suspects([f for f in history if f.name not in alone], truth)
    for pair in together:
        reason = f"gives the target away together: {pair.how} ({pair.score:.3f} of 1)"
        reasons |= dict.fromkeys(pair.names, reason)
    left = [feature for feature in features if feature.name not in reasons] or features
    for feature in features:
        if feature.name in reasons:
            found[feature.column].notes.append(f"{reasons[feature.name]}: leakage?")
            if feature.column not in [other.column for other in left]:
                found[feature.column].kind = "left out"
    notes = []
    if (rest := len(history) - len(alone)) > looked:
        notes.append(f"Pairs that give the target away: looked for in {looked} of {rest} features.")
    if reasons and left == features:
        named = ", ".join(reasons)
        return left, [*notes, f"Each feature gives the target away: {named}. Are they made of it?"]
    hint = "List in usecase.toml what is known before the prediction."
    if alone:
        notes.append(f"Left out, as each alone gives the target away: {', '.join(alone)}. {hint}")
    if together:
        named = ", ".join(pair.how for pair in together)
        notes.append(f"Left out, as two together give the target away: {named}. {hint}")
    return left, notes


def inputs(found: Mapping[str, Column], plain: Mapping[str, str]) -> Iterator[Feature]:
    """The features that the columns make."""
    times = (c for c in found.values() if c.kind == "time" and c.values.dtype.is_temporal())
    time = next(times, None)
    for name, column in found.items():
        if column is time:
            yield from columns.time_features(column, plain[name])
        elif column.kind == "left out":
            when = (plain[time.name], time.values) if time else None
            yield from columns.features(column, plain[name], when, takes_text=project.takes_text())
        if plain[name] != name:
            column.notes.append(f"called {plain[name]}")
