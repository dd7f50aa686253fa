"""Which answers there are, and which combinations of them are tested.

`python -m tests.matrix` lists the combinations.
"""

from collections.abc import Iterator
from itertools import chain, combinations, cycle, product
from typing import Any

import yaml
from allpairspy import AllPairs
from jinja2 import StrictUndefined, Template, UndefinedError

from tests.template import ROOT

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
    {"orchestrator": "step_functions", "monitors": ["data_quality"], "triggers": []},
    {
        "problem_type": "regression",
        "inference_mode": "batch",
        "monitors": ["model_quality"],
        "triggers": ["new_data"],
    },
    {
        "problem_type": "multiclass_classification",
        "inference_mode": "batch",
        "batch_start": "schedule",
        "orchestrator": "step_functions",
    },
]


def questions() -> dict[str, Any]:
    """The questions of copier.yml that are asked or recorded."""
    document = yaml.safe_load((ROOT / "copier.yml").read_text())
    return {
        name: question
        for name, question in document.items()
        if not name.startswith("_") and question.get("when", True)
    }


def options(question: dict[str, Any]) -> list[Any]:
    """Every answer to a question with choices; for a multiselect every valid subset of them."""
    values = list(question["choices"].values())
    if not question.get("multiselect"):
        return values
    smallest = 1 if "validator" in question else 0
    sizes = range(len(values), smallest - 1, -1)
    return [list(c) for c in chain.from_iterable(combinations(values, size) for size in sizes)]


def choices() -> dict[str, list[Any]]:
    """Every answer to each of the questions with choices."""
    return {name: options(q) for name, q in questions().items() if "choices" in q}


def possible(answers: Answers) -> bool:
    """Whether some answers can be given together: what is not asked then has its default."""
    asked = questions()
    return all(
        answers[name] == question["default"]
        for name, question in asked.items()
        if name in answers and "when" in question and not is_asked(question["when"], answers)
    )


def is_asked(when: str, answers: Answers) -> bool:
    """Whether a question is asked on a condition; if that is about other questions, it may be."""
    condition = Template(when, undefined=StrictUndefined)
    try:
        return bool(condition.render(answers) == "True")
    except UndefinedError:
        return True


def all_answers() -> Iterator[Answers]:
    """Combinations in which every two answers meet, each with one of the texts in turn.

    All combinations would be hundreds. The first is that of the defaults.
    """
    together, texts = groups(), cycle(TEXTS)
    for numbers in AllPairs([range(len(group)) for group in together]):
        values = (group[number] for group, number in zip(together, numbers, strict=True))
        answers = {name: answer for value in values for name, answer in value.items()}
        yield answers | next(texts)


def groups() -> list[list[Answers]]:
    """What can be answered to each question, together with those that are asked because of it."""
    found: list[list[Answers]] = []
    asked = questions()
    for name, values in choices().items():
        answers = [{name: value} for value in values]
        if "when" in asked[name]:
            group = next(g for g in found if any(other in asked[name]["when"] for other in g[0]))
            group[:] = [
                one | other for one, other in product(group, answers) if possible(one | other)
            ]
        else:
            found.append(answers)
    return found


def name(answers: Answers) -> str:
    """A short name of a combination, for test ids: the answers that are not the default."""
    defaults = {name: question["default"] for name, question in questions().items()}
    different = [
        "+".join(value) or f"no-{key}" if isinstance(value, list) else value
        for key, value in answers.items()
        if "choices" in questions()[key] and value != defaults[key]
    ]
    return ",".join(different) or "defaults"


if __name__ == "__main__":
    for number, answers in enumerate(all_answers(), start=1):
        print(number, name(answers))
