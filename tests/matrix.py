"""Combinations of answers, and which of them are tested at which level.

`python -m tests.matrix` lists them.
"""

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import cache, partial
from itertools import chain, combinations, count, product
from random import Random
from typing import Any

from jinja2 import Environment, StrictUndefined, Template, UndefinedError

from tools import questionnaire
from tools.cookiecutter import fresh

JINJA = Environment(undefined=StrictUndefined)  # noqa: S701  renders answers, not HTML

Answers = dict[str, Any]

#: A question, and of one with several choices the choice that is taken or not.
Factor = tuple[str, str | None]
Value = str | bool
Row = dict[Factor, Value]

# What people type, which must come out as typed: quotes, Jinja, Markdown, Japanese.
TEXTS: list[Answers] = [
    {},
    {
        "project_name": "R&D's churn <beta>",
        "project_slug": "churn",
        "description": "Who's leaving? 100% of {{ customers }} & others #1: it's told.",
        "aws_region": "us-gov-west-1",
        "notification_email": "ml.team+churn@example.co.jp",
    },
    {
        "project_name": "架け橋",
        "project_slug": "a" * 32,
        "description": "到着が15分以上遅れる便を予測します。",
        "aws_region": "eu-central-1",
    },
]

# A few that have every answer once and lack every answer once, for what is too slow for all.
OPPOSITES: list[Answers] = [
    {},
    {
        "framework": "lightgbm",
        "inference_mode": "serverless",
        "public_api": "api_key",
        "orchestrator": "step_functions",
        "monitors": ["data_quality"],
        "explain": "contributions",
        "bi": "streamlit",
        "chat": "slack",
        "triggers": [],
        "ci": "codepipeline",
    },
    {
        "problem_type": "regression",
        "framework": "scikit_learn",
        "inference_mode": "async",
        "orchestrator": "step_functions",
        "ci": "none",
        "environments": "dev_prod",
        "monitors": ["model_quality", "bias", "feature_attribution"],
        "chat": "teams",
        "triggers": ["new_data"],
    },
    {
        "problem_type": "multiclass_classification",
        "framework": "lightgbm",
        "inference_mode": "batch",
        "batch_start": "schedule",
        "orchestrator": "airflow",
        "monitors": ["data_quality", "model_quality", "bias", "feature_attribution"],
        "bi": "streamlit",
        "triggers": ["schedule", "new_data", "drift", "code_change"],
        "ci": "gitlab",
    },
]


# A project of each kind of problem, and of each framework, for what differs by them alone.
PROBLEMS: list[Answers] = [
    {"problem_type": "binary_classification"},
    {"problem_type": "multiclass_classification", "framework": "lightgbm"},
    {"problem_type": "regression", "framework": "scikit_learn"},
]

# The other versions of Airflow change a few imports of the DAGs, and pins.
OTHER_AIRFLOWS: list[Answers] = [
    {"orchestrator": "airflow", "airflow_version": "3.0.6"},
    {"orchestrator": "airflow", "airflow_version": "3.3.1"},
]

# Their answers are recorded and lead to others, or to pins, but bring no files.
LEADING = ("decide", "traffic", "max_payload_mb", "airflow_version")

# Too like another answer to be among the few: tests/test_public_api.py has a project of it.
ALIKE = {("public_api", "iam")}

# Bring files that no other answer changes, but for the kind of problem: pairs show all of them.
APART = ("framework", "public_api", "chat", "ci", "environments")


@cache
def document() -> dict[str, Any]:
    """All that copier.yml holds."""
    return questionnaire.load()


@cache
def questions() -> dict[str, Any]:
    """The questions of copier.yml that are asked or recorded."""
    return {
        name: question
        for name, question in document().items()
        if not name.startswith("_") and question.get("when", True)
    }


@cache
def defaults() -> Answers:
    """What is recorded for each question when nobody answers any, worked-out answers too."""
    found: Answers = {}
    for name, question in document().items():
        if not name.startswith("_"):
            default = question["default"]
            text = isinstance(default, str)
            found[name] = Template(fresh(default)).render(found) if text else default
    return found


def worked_out(name: str, **answers: str) -> str:
    """What a question that is not asked gives, with answers other than the defaults."""
    return str(Template(document()[name]["default"]).render(defaults() | answers))


def offered(question: dict[str, Any]) -> list[str]:
    """The choices of a question that can be answered, with the defaults of those before it."""
    return [
        choice if isinstance(choice, str) else choice["value"]
        for choice in question["choices"].values()
        if isinstance(choice, str) or not Template(choice["validator"]).render(defaults()).strip()
    ]


def options(question: dict[str, Any]) -> list[Any]:
    """Every answer to a question with choices; for a multiselect every valid subset of them."""
    values = offered(question)
    if not question.get("multiselect"):
        return values
    smallest = 1 if "validator" in question else 0
    sizes = range(len(values), smallest - 1, -1)
    return [list(c) for c in chain.from_iterable(combinations(values, size) for size in sizes)]


@cache
def choices() -> dict[str, list[Any]]:
    """Every answer to each of the questions with choices that bring files."""
    return {
        name: options(question)
        for name, question in questions().items()
        if "choices" in question and name not in LEADING
    }


@cache
def standard() -> Answers:
    """What is recorded for them when nobody answers any."""
    return {name: defaults()[name] for name in choices()}


@cache
def factors() -> dict[Factor, list[Value]]:
    """What can be one way or another: the answer to a question, or one choice of several."""
    found: dict[Factor, list[Value]] = {}
    for name in choices():
        question = questions()[name]
        if question.get("multiselect"):
            found |= {(name, choice): [True, False] for choice in offered(question)}
        else:
            found[name, None] = list(offered(question))
    return found


def row_of(answers: Answers) -> Row:
    """Which way each factor is in a combination of answers."""
    return {
        (name, choice): answers[name] if choice is None else choice in answers[name]
        for name, choice in factors()
    }


def answers_of(row: Row) -> Answers:
    """The answers of the questions that all factors of a row, which may lack some, decide."""
    found: Answers = {}
    open_ = {name for name, choice in factors() if (name, choice) not in row}
    for (name, choice), value in row.items():
        if name in open_:
            continue
        if choice is None:
            found[name] = value
        else:
            found.setdefault(name, []).extend([choice] if value else [])
    return found


def possible(answers: Answers) -> bool:
    """Whether some answers can be given together: what is not asked then has its default."""
    return all(
        given in choices()[name]
        and (given == standard()[name] or is_asked(questions()[name].get("when", "True"), answers))
        and not is_refused(name, given, answers)
        for name, given in answers.items()
    )


def is_refused(name: str, given: object, answers: Answers) -> bool:
    """Whether a choice is refused beside other answers; those that are open have their defaults."""
    if isinstance(given, list) or given not in refusals(name):
        return False
    return bool(refusals(name)[given].render(defaults() | answers).strip())


@cache
def refusals(name: str) -> dict[str, Template]:
    """What says why a choice of a question is refused, for those that can be."""
    found = questions()[name].get("choices", {}).values()
    return {
        choice["value"]: JINJA.from_string(choice["validator"])
        for choice in found
        if not isinstance(choice, str)
    }


@cache
def condition(when: str) -> Template:
    """What says whether a question is asked."""
    template: Template = JINJA.from_string(when)
    return template


def is_asked(when: str, answers: Answers) -> bool:
    """Whether a question is asked on a condition; if that is about other questions, it may be."""
    try:
        return condition(when).render(answers) == "True"
    except UndefinedError:
        return True


def meeting(size: int) -> list[Factor]:
    """The factors of which so many at a time have to meet."""
    return [factor for factor in factors() if size == 2 or factor[0] not in APART]


def tuples(size: int) -> Iterator[Row]:
    """So many factors at a time, each way that they can be together, and some that cannot be."""
    for chosen in combinations(meeting(size), size):
        for values in product(*(factors()[factor] for factor in chosen)):
            yield dict(zip(chosen, values, strict=True))


def completed(row: Row, gain: Callable[[Row, Factor, Value], int]) -> Row | None:
    """A valid combination that is as some factors want it.

    Args:
        row: What they want.
        gain: How good a value of one more factor is beside those of a row; the first of the best
            is taken, of all that are possible.

    Returns:
        All factors in their order, or nothing if there is no such combination.
    """
    found = dict(row)
    if not possible(ordered(found)):
        return None
    for factor, values in factors().items():
        if factor not in found:
            can = [one for one in values if possible(ordered(found | {factor: one}))]
            if not can:
                return None
            found[factor] = max(can, key=partial(gain, found, factor))
    return found


def ordered(row: Row) -> Answers:
    """The answers of a row, several choices in the questionnaire's order."""
    return answers_of({factor: row[factor] for factor in factors() if factor in row})


def covering(size: int, chosen: list[Answers]) -> Iterator[Answers]:
    """The combinations to add to some so that any `size` factors that can meet do meet in one.

    Greedy, one row at a time, as AETG does (Cohen et al. 1997, "The AETG system: an approach to
    testing based on combinatorial design"): the first tuple that has not met, then of each factor
    the value with which most others meet. allpairspy leaves most triples out.
    """
    left = {frozenset(row.items()): row for row in tuples(size)}

    def met(row: Row) -> Iterator[frozenset[tuple[Factor, Value]]]:
        return map(frozenset, combinations([(f, row[f]) for f in meeting(size)], size))

    def gain(row: Row, factor: Factor, value: Value) -> int:
        others = combinations(row.items(), size - 1)
        return sum(frozenset([(factor, value), *other]) in left for other in others)

    for answers in chosen:
        for one in met(row_of(answers)):
            left.pop(one, None)
    while left:
        first = next(iter(left))
        row = completed(left.pop(first), gain)
        if row is not None:
            for one in met(row):
                left.pop(one, None)
            yield ordered(row)


def by_chance(number: int, seed: str) -> list[Answers]:
    """Some valid combinations, the same for the same seed."""
    chance = Random(seed)  # noqa: S311  no secret
    found: list[Answers] = []
    while len(found) < number:
        row = {factor: chance.choice(values) for factor, values in factors().items()}
        if possible(ordered(row)) and ordered(row) not in found:
            found.append(ordered(row))
    return found


@cache
def levels() -> dict[str, list[Answers]]:
    """Combinations, each once, under the first level that tests it, with a text in turn.

    - fast: every option once, and once not
    - pairs: with them, any two options meet
    - triples: with them, any three options meet: of the questions that share files
    - chance: a hundred others, another hundred each day; MATRIX_DAY=2026-11-29 has that day's
    """
    fast = [standard() | one for one in OPPOSITES]
    pairs = list(covering(2, fast))
    triples = list(covering(3, fast + pairs))
    known = fast + pairs + triples
    day = os.environ.get("MATRIX_DAY") or datetime.now(UTC).date().isoformat()
    chance = [answers for answers in by_chance(100, day) if answers not in known]
    number = count()
    return {
        level: [answers | text(answers, next(number)) for answers in found]
        for level, found in {
            "fast": fast,
            "pairs": pairs,
            "triples": triples,
            "chance": chance,
        }.items()
    }


def text(answers: Answers, number: int) -> Answers:
    """A text for a combination; the longest short name leaves no room for two environments."""
    found = TEXTS[number % len(TEXTS)]
    if "project_slug" in found and answers.get("environments") == "dev_prod":
        return found | {"project_slug": found["project_slug"][:27]}
    return found


def name(answers: Answers) -> str:
    """A short name of a combination, for test ids: the answers that are not the default."""
    different = ""
    for key, value in answers.items():
        if key in choices() and value != defaults()[key]:
            # Answers to a question that another answer brings: batch-schedule.
            different += "-" if "when" in questions()[key] else ","
            different += ("+".join(value) or f"no-{key}") if isinstance(value, list) else value
    return different[1:] or "defaults"


def main() -> None:
    """List the combinations of each level."""
    sizes = {level: len(found) for level, found in levels().items()}
    print(f"make test-fast: {sizes['fast']}, with every option once and once without")
    print(f"make test: {sizes['pairs']} more for all pairs, {sizes['triples']} for all triples")
    print(f"make test-all: {sizes['chance']} more by chance, others each day")
    for level, found in levels().items():
        for answers in found:
            print(f"{level:8}{name(answers)}")


if __name__ == "__main__":
    main()
