"""Which files of a partitioned Glue table Athena reads, and with which partition values.

Sources: "Partition your data" and "Use partition projection with Amazon Athena" of the Athena user
guide. Without projection only partitions that are registered in Glue are read; with it the table's
properties say which there are, and what is registered is not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote

Table = Mapping[str, Any]

_NOW = re.compile(r"NOW(?:\s*([+-])\s*(\d+)\s*(YEAR|MONTH|WEEK|DAY|HOUR|MINUTE|SECOND)S?)?")
_DAYS = {"YEAR": 365.25, "MONTH": 30.4375, "WEEK": 7, "DAY": 1}
_SECONDS = {"HOUR": 3600, "MINUTE": 60, "SECOND": 1}
_JAVA_DATES = {"yyyy": "%Y", "MM": "%m", "dd": "%d", "HH": "%H", "mm": "%M", "ss": "%S"}


class PartitionError(ValueError):
    """A table's properties have no meaning, or one that the local AWS has not."""


def partition_values(
    table: Table, registered: Sequence[Mapping[str, Any]], keys: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """Find the files that Athena reads.

    Args:
        table: A Glue table, with PartitionKeys.
        registered: The partitions that Glue has of it.
        keys: Keys of the objects below the table's location, relative to it.

    Returns:
        The values of the partition keys, in their order, for each object that is read.

    Raises:
        PartitionError: The table's partition projection has no meaning here.
    """
    names = [key["Name"] for key in table["PartitionKeys"]]
    parameters = table.get("Parameters") or {}
    if str(parameters.get("projection.enabled", "")).lower() == "true":
        return _projected(table, parameters, names, keys)
    found: dict[str, tuple[str, ...]] = {}
    for partition in registered:
        folder = _below(table, (partition.get("StorageDescriptor") or {}).get("Location"))
        if folder is None:
            continue
        values = tuple(map(str, partition["Values"]))
        found |= {key: values for key in keys if key.startswith(folder)}
    return found


def _projected(
    table: Table, parameters: Mapping[str, str], names: Sequence[str], keys: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    checks = {name: _check(name, parameters) for name in names}
    template = parameters.get("storage.location.template")
    folder = "".join(f"{name}=${{{name}}}/" for name in names)
    if template is not None:
        below = _below(table, template)
        if below is None or any(f"${{{name}}}" not in below for name in names):
            raise PartitionError(
                f"storage.location.template {template!r} must lie below the table's location and "
                f"name each of {names}"
            )
        folder = below
    parts = re.split(r"\$\{(\w+)\}", folder)
    pattern = re.compile(
        "".join(
            f"(?P<{part}>[^/]+)" if at % 2 else re.escape(part) for at, part in enumerate(parts)
        )
    )
    found = {}
    for key in keys:
        match = pattern.match(key)
        if match is None:
            continue
        values = {name: unquote(match[name]) for name in names}
        if all(checks[name](value) for name, value in values.items()):
            found[key] = tuple(values[name] for name in names)
    return found


def _below(table: Table, location: str | None) -> str | None:
    """Return a location relative to the table's, as a folder; None if it is elsewhere."""
    root = table["StorageDescriptor"]["Location"].rstrip("/") + "/"
    if location is None or not location.startswith(root):
        return None
    return location[len(root) :].rstrip("/") + "/"


def _check(name: str, parameters: Mapping[str, str]) -> Callable[[str], bool]:
    """Return what tells whether a value of a partition key is among the projected ones."""
    kind = parameters.get(f"projection.{name}.type", "")
    if kind not in _CHECKS:
        raise PartitionError(
            f"projection.{name}.type is {kind!r}; the local AWS has {', '.join(_CHECKS)}"
        )
    given = {
        member: parameters.get(f"projection.{name}.{member}", "")
        for member in ("values", "range", "format", "interval", "digits")
    }
    try:
        return _CHECKS[kind](given)
    except (ValueError, KeyError) as error:
        raise PartitionError(f"projection.{name}: {error}") from None


def _enum(given: Mapping[str, str]) -> Callable[[str], bool]:
    values = set(given["values"].split(","))
    return values.__contains__


def _integer(given: Mapping[str, str]) -> Callable[[str], bool]:
    first, last = map(int, given["range"].split(","))
    digits, step = int(given["digits"] or 0), int(given["interval"] or 1)
    values = {f"{value:0{digits}}" for value in range(first, last + 1, step)}
    return values.__contains__


def _date(given: Mapping[str, str]) -> Callable[[str], bool]:
    if given["interval"] not in ("", "1"):
        raise ValueError("the local AWS has no interval but 1")
    layout = _strptime_format(given["format"])
    ends = [end.strip() for end in given["range"].split(",")]
    if len(ends) != 2:
        raise ValueError(f"range {given['range']!r} must be two dates with a comma between them")
    first, last = (_end(end, layout) for end in ends)

    def projected(value: str) -> bool:
        try:
            moment = datetime.strptime(value, layout).replace(tzinfo=UTC)
        except ValueError:
            return False
        # Only values that the format itself would write are projected.
        return first <= moment <= last and moment.strftime(layout) == value

    return projected


def _strptime_format(java: str) -> str:
    layout = re.sub("|".join(_JAVA_DATES), lambda found: _JAVA_DATES[found[0]], java)
    if not java or re.search("[A-Za-z]", re.sub("%[A-Za-z]", "", layout)):
        raise ValueError(f"the local AWS knows no date format {java!r}, only {list(_JAVA_DATES)}")
    return layout


def _end(text: str, layout: str) -> datetime:
    """One end of a range: a date in the format, or NOW with or without an offset."""
    relative = _NOW.fullmatch(text)
    if relative is None:
        return datetime.strptime(text, layout).replace(tzinfo=UTC)
    sign, count, unit = relative.groups()
    now = datetime.now(UTC)
    if unit is None:
        return now
    size = timedelta(days=_DAYS.get(unit, 0), seconds=_SECONDS.get(unit, 0))
    return now + size * int(count) * (-1 if sign == "-" else 1)


_CHECKS: Mapping[str, Callable[[Mapping[str, str]], Callable[[str], bool]]] = {
    "date": _date,
    "enum": _enum,
    "integer": _integer,
}
