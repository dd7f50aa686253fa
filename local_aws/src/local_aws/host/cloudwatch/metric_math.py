"""CloudWatch's metric math.

Source: Amazon CloudWatch User Guide, "Using math expressions with CloudWatch metrics". What is not
here (SEARCH, ANOMALY_DETECTION_BAND and others) is refused by name.
"""

from __future__ import annotations

import ast
import itertools
import math
import operator
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

Series = dict[float, float]
"""The values of one metric or expression, by the second at which their period starts."""
Value = float | Series | list[Series]


class MetricMathError(ValueError):
    """An expression that cannot be read or calculated."""


def evaluate(
    expressions: Mapping[str, str],
    metrics: Mapping[str, Series],
    times: Sequence[float],
    period: float,
) -> dict[str, Value]:
    """Calculate expressions, which may name each other.

    Args:
        expressions: Expressions by id.
        metrics: The metrics that they name, by id.
        times: The starts of all periods there are, whether they have data or not.
        period: Length of a period in seconds.

    Returns:
        The expressions' values by id: a number, a series, or several series.

    Raises:
        MetricMathError: An expression cannot be read or calculated.
    """
    scope = _Scope(dict(expressions), dict(metrics), list(times), period)
    try:
        return {name: scope.named(name) for name in expressions}
    except RecursionError as error:
        raise MetricMathError("an expression has too many parts to be calculated here") from error


@dataclass
class _Scope:
    expressions: dict[str, str]
    metrics: dict[str, Series]
    times: list[float]
    period: float
    done: dict[str, Value] = field(default_factory=dict)
    running: list[str] = field(default_factory=list)

    def named(self, name: str) -> Value:
        if name in self.metrics:
            return self.metrics[name]
        if name not in self.expressions:
            raise MetricMathError(f"there is no metric or expression with the id {name}")
        if name in self.running:
            raise MetricMathError(f"the expression {name} refers to itself")
        if name not in self.done:
            self.running.append(name)
            self.done[name] = self.value(_parse(self.expressions[name]))
            self.running.pop()
        return self.done[name]

    def value(self, node: ast.expr) -> Value:  # noqa: PLR0911 - one for each kind of node
        match node:
            case ast.Constant(value=bool() | int() | float() as number):
                return float(number)
            case ast.Name(id=name):
                return self.named(name)
            case ast.List(elts=members):
                return [series for member in members for series in self.listed(member)]
            case ast.BinOp(left=left, op=operation, right=right) if type(operation) in _BINARY:
                return _apply(_BINARY[type(operation)], self.value(left), self.value(right))
            case ast.Compare(left=left, ops=[operation], comparators=[right]) if (
                type(operation) in _COMPARE
            ):
                return _apply(_COMPARE[type(operation)], self.value(left), self.value(right))
            case ast.BoolOp(op=operation, values=members):
                result = self.value(members[0])
                for member in members[1:]:
                    result = _apply(_LOGIC[type(operation)], result, self.value(member))
                return result
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return _apply(operator.sub, 0.0, self.value(operand))
            case ast.Call(func=ast.Name(id=name), args=args):
                return self.call(name, args)
        raise MetricMathError(f"{ast.unparse(node)} cannot be calculated here")

    def listed(self, node: ast.expr) -> list[Series]:
        value = self.value(node)
        if isinstance(value, list):
            return value
        return [value if isinstance(value, dict) else dict.fromkeys(self.times, value)]

    def series(self, node: ast.expr, function: str) -> Series:
        value = self.value(node)
        if isinstance(value, dict):
            return value
        raise MetricMathError(f"{function} takes one time series, not {ast.unparse(node)}")

    def call(self, name: str, args: list[ast.expr]) -> Value:
        if name == "METRICS":
            wanted = [arg.value for arg in args if isinstance(arg, ast.Constant)]
            part = str(wanted[0]) if wanted else ""
            return [series for key, series in self.metrics.items() if part in key]
        if name not in _ARGUMENTS:
            raise MetricMathError(f"the function {name} is not there")
        if len(args) != _ARGUMENTS[name]:
            raise MetricMathError(f"{name} takes {_ARGUMENTS[name]} argument(s)")
        if name in _AGGREGATES:
            return _aggregate(_AGGREGATES[name], self.value(args[0]))
        if name in _EACH:
            return _apply(lambda value, _: _EACH[name](value), self.value(args[0]), 0.0)
        own = {"IF": self.choose, "FILL": self.fill, "TIME_SERIES": self.constant}
        return own[name](args) if name in own else self.measure(name, args[0])

    def measure(self, name: str, of: ast.expr) -> Value:
        series = self.series(of, name)
        if name in {"DIFF", "RATE"}:
            return _changes(series, per_second=name == "RATE")
        return float(self.period if name == "PERIOD" else len(series))

    def constant(self, args: list[ast.expr]) -> Value:
        number = self.value(args[0])
        if not isinstance(number, float):
            raise MetricMathError("TIME_SERIES takes a number")
        return dict.fromkeys(self.times, number)

    def choose(self, args: list[ast.expr]) -> Value:
        condition, then, other = (self.value(arg) for arg in args)
        if not isinstance(condition, dict):
            return then if condition else other
        chosen = {}
        for time, holds in condition.items():
            found = then if holds else other
            if isinstance(found, list):
                raise MetricMathError("IF takes numbers and single time series")
            if not isinstance(found, dict):
                chosen[time] = found
            elif time in found:
                chosen[time] = found[time]
        return chosen

    def fill(self, args: list[ast.expr]) -> Value:
        series, how = self.series(args[0], "FILL"), args[1]
        if isinstance(how, ast.Name) and how.id == "REPEAT":
            filled, last = {}, None
            for time in self.times:
                last = series.get(time, last)
                if last is not None:
                    filled[time] = last
            return filled
        if isinstance(how, ast.Name) and how.id == "LINEAR":
            between = {time: _linear(series, time) for time in self.times}
            return {time: value for time, value in between.items() if value is not None}
        given = self.value(how)
        if isinstance(given, list):
            raise MetricMathError("FILL takes a number, a time series, REPEAT or LINEAR")
        values = given if isinstance(given, dict) else dict.fromkeys(self.times, given)
        return {**values, **series}


def _parse(text: str) -> ast.expr:
    # The strings that it may hold are metrics' ids: they have none of these.
    python = text.replace("^", "**").replace("&&", " and ").replace("||", " or ")
    python = re.sub(r"\bAND\b", "and", re.sub(r"\bOR\b", "or", python))
    try:
        return ast.parse(python.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise MetricMathError(f"{text!r} cannot be read: {error}") from error


Function = Callable[[float, float], float]
_BINARY: Mapping[type[ast.operator], Function] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: math.pow,
}
_COMPARE: Mapping[type[ast.cmpop], Function] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_LOGIC: Mapping[type[ast.boolop], Function] = {
    ast.And: lambda left, right: bool(left) and bool(right),
    ast.Or: lambda left, right: bool(left) or bool(right),
}
_EACH: Mapping[str, Callable[[float], float]] = {
    "ABS": abs,
    "CEIL": math.ceil,
    "FLOOR": math.floor,
    "LOG": math.log,
    "LOG10": math.log10,
}
_AGGREGATES: Mapping[str, Callable[[list[float]], float]] = {
    "AVG": statistics.fmean,
    "MAX": max,
    "MIN": min,
    "STDDEV": statistics.pstdev,
    "SUM": math.fsum,
    "FIRST": lambda values: values[0],
    "LAST": lambda values: values[-1],
}
_ARGUMENTS: Mapping[str, int] = {
    **dict.fromkeys(_AGGREGATES, 1),
    **dict.fromkeys(_EACH, 1),
    **dict.fromkeys(("DATAPOINT_COUNT", "DIFF", "PERIOD", "RATE", "TIME_SERIES"), 1),
    "FILL": 2,
    "IF": 3,
}


def _apply(function: Function, left: Value, right: Value) -> Value:
    """Apply a function to each pair of values; where one is missing the result is, too."""
    if isinstance(left, list) or isinstance(right, list):
        if isinstance(left, list) and isinstance(right, list):
            raise MetricMathError("an operator takes at most one list of time series")
        several = left if isinstance(left, list) else right
        results = [
            _apply(function, series, right) if several is left else _apply(function, left, series)
            for series in several  # type: ignore[union-attr] # it is the list
        ]
        return [result for result in results if isinstance(result, dict)]
    if isinstance(left, float) and isinstance(right, float):
        result = _number(function, left, right)
        return math.nan if result is None else result
    times = left.keys() if isinstance(left, dict) else right.keys()  # type: ignore[union-attr]
    found = {}
    for time in times:
        first = left.get(time) if isinstance(left, dict) else left
        second = right.get(time) if isinstance(right, dict) else right
        if first is None or second is None:
            continue
        if (result := _number(function, first, second)) is not None:
            found[time] = result
    return found


def _number(function: Function, left: float, right: float) -> float | None:
    try:
        return float(function(left, right))
    except (ArithmeticError, ValueError):  # such as a division by zero: no data point
        return None


def _aggregate(function: Callable[[list[float]], float], value: Value) -> Value:
    """Make one number of a series, or one series of several."""
    if isinstance(value, float):
        raise MetricMathError("a function such as AVG takes one or several time series")
    if isinstance(value, dict):
        return function([value[time] for time in sorted(value)]) if value else math.nan
    times = sorted({time for series in value for time in series})
    return {time: function([series[time] for series in value if time in series]) for time in times}


def _changes(series: Series, *, per_second: bool) -> Series:
    times = sorted(series)
    return {
        time: (series[time] - series[before]) / (time - before if per_second else 1)
        for before, time in itertools.pairwise(times)
    }


def _linear(series: Series, time: float) -> float | None:
    if time in series:
        return series[time]
    before = max((known for known in series if known < time), default=None)
    after = min((known for known in series if known > time), default=None)
    if before is None or after is None:
        return None
    part = (time - before) / (after - before)
    return series[before] + part * (series[after] - series[before])
