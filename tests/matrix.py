"""All combinations of answers, and which of them are tested at which level.

`python -m tests.matrix` says how many there are and lists those of `make test`.
"""

from collections.abc import Iterator
from functools import cache
from itertools import chain, combinations, count, product
from typing import Any

from jinja2 import StrictUndefined, Template, UndefinedError

from tools import questionnaire
from tools.cookiecutter import fresh

Answers = dict[str, Any]

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
        "orchestrator": "step_functions",
        "monitors": ["data_quality"],
        "triggers": [],
    },
    {
        "problem_type": "regression",
        "framework": "scikit_learn",
        "inference_mode": "batch",
        "ci": "none",
        "monitors": ["model_quality"],
        "triggers": ["new_data"],
    },
    {
        "problem_type": "multiclass_classification",
        "framework": "lightgbm",
        "inference_mode": "batch",
        "batch_start": "schedule",
        "orchestrator": "step_functions",
        "ci": "gitlab",
    },
]


# A project of each kind of problem, and of each framework, for what differs by them alone.
PROBLEMS: list[Answers] = [
    {"problem_type": "binary_classification"},
    {"problem_type": "multiclass_classification", "framework": "lightgbm"},
    {"problem_type": "regression", "framework": "scikit_learn"},
]

# Their answers are recorded and lead to others, but bring no files.
LEADING = ("decide", "traffic", "max_payload_mb")

# Bring files that no other answer changes, but for the kind of problem: pairs show all of them.
APART = ("framework", "ci")


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


def possible(answers: Answers) -> bool:
    """Whether some answers can be given together: what is not asked then has its default."""
    return all(
        answers[name] == defaults()[name]
        for name, question in questions().items()
        if name in answers and "when" in question and not is_asked(question["when"], answers)
    )


def is_asked(when: str, answers: Answers) -> bool:
    """Whether a question is asked on a condition; if that is about other questions, it may be."""
    condition = Template(when, undefined=StrictUndefined)
    try:
        return bool(condition.render(answers) == "True")
    except UndefinedError:
        return True


@cache
def every() -> tuple[Answers, ...]:
    """Every valid combination of answers to the questions with choices, the defaults first."""
    names, values = choices().keys(), choices().values()
    found = [dict(zip(names, answers, strict=True)) for answers in product(*values)]
    return tuple(answers for answers in found if possible(answers))


def meeting(size: int) -> list[str]:
    """The questions of which so many answers at a time have to meet."""
    return [name for name in choices() if size == 2 or name not in APART]


def subsets(answers: Answers, size: int) -> set[tuple[tuple[str, str], ...]]:
    """The answers of a combination, so many at a time."""
    return set(combinations(((name, str(answers[name])) for name in meeting(size)), size))


def covering(size: int, chosen: list[Answers]) -> Iterator[Answers]:
    """The combinations to add to some so that any `size` answers that can meet do meet in one.

    Each is the first of those with the most that have not met yet: a few more than there have to
    be, which no library finds for three at a time (allpairspy leaves most triples out).
    """
    left = set[tuple[tuple[str, str], ...]]().union(*(subsets(one, size) for one in every()))
    left = left.difference(*(subsets(one, size) for one in chosen))
    candidates = [(answers, subsets(answers, size)) for answers in every()]
    while left:
        answers, met = max(candidates, key=lambda one: len(one[1] & left))
        left -= met
        yield answers


@cache
def levels() -> dict[str, list[Answers]]:
    """Every combination once, under the first level that tests it, each with a text in turn.

    - fast: every option once, and once not
    - pairs: with them, any two answers meet
    - triples: with them, any three answers meet: of problem_type, inference_mode, batch_start,
      orchestrator, monitors and triggers, which share files
    - rest: all others
    """
    recorded = defaults()
    fast = [{name: one.get(name, recorded[name]) for name in choices()} for one in OPPOSITES]
    pairs = [*covering(2, fast)]
    triples = [*covering(3, fast + pairs)]
    known = fast + pairs + triples
    rest = [answers for answers in every() if answers not in known]
    number = count()
    return {
        level: [answers | TEXTS[next(number) % len(TEXTS)] for answers in found]
        for level, found in {"fast": fast, "pairs": pairs, "triples": triples, "rest": rest}.items()
    }


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
    """Say how many combinations there are, and which `make test` makes projects of."""
    sizes = {level: len(found) for level, found in levels().items()}
    print(f"{len(every())} combinations of answers bring different files.")
    print(f"make test-fast: {sizes['fast']}, with every option once and once without")
    print(f"make test: {sizes['pairs']} more for all pairs, {sizes['triples']} for all triples")
    print(f"make test-all: the other {sizes['rest']}")
    for level in ("fast", "pairs", "triples"):
        for answers in levels()[level]:
            print(f"{level:8}{name(answers)}")


if __name__ == "__main__":
    main()
