"""Write cookiecutter.json, the questions of copier.yml as Cookiecutter asks them: `make questions`.

What Cookiecutter has no means for:

- several choices: they are written as a list, as in `copier copy --data monitors=[data_quality]`
- a question that depends on another answer: it is always asked, and its prompt says when it counts
- a group of questions that stays closed: each is asked, and its prompt says that Enter will do
- a default among choices that is worked out, and a help that tells why: both are one more choice,
  `choice: why`, the first; the hook takes the choice
- checking what is typed: Copier does it when the hook calls it

Format: https://cookiecutter.readthedocs.io/en/stable/advanced/
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, TemplateError, meta

from tools import questionnaire

ROOT = Path(__file__).parents[1]
FILE = ROOT / "cookiecutter.json"

# What both Copier and Cookiecutter can render: no filter of an extension, but for the one by which
# a default tells a project that is updated. Where Cookiecutter asks there is none yet.
JINJA = Environment(autoescape=False)  # noqa: S701  renders answers, not HTML
JINJA.filters["fileglob"] = lambda _: []

# The question that opens groups of others, and where a question names the group that asks it.
GROUPS = "decide"
GROUP = re.compile(r"'(\w+)' in decide")

# The question that is worked out to say what other answers recommend, and where a help says it.
ADVICE = "advice"
HINT = " From what you have said,\n{{ advice }}"

Questions = dict[str, dict[str, Any]]


def cookiecutter_json() -> str:
    """The text of cookiecutter.json.

    Raises:
        ValueError: When a question in copier.yml cannot be asked by Cookiecutter; says why.
    """
    settings = questionnaire.load()
    questions: Questions = {
        name: question for name, question in settings.items() if not name.startswith("_")
    }
    asked = {
        name: question
        for name, question in questions.items()
        if is_asked(question) and name != GROUPS
    }
    used = names_used(asked, questions) | {ADVICE} & questions.keys()
    used |= names_used({name: questions[name] for name in used}, questions)
    context: dict[str, Any] = {
        name if name in asked else f"__{name}": variable(name, questions)
        for name in questions
        if name in asked or name in used
    }
    # The folder's name is rendered before the hook can refuse it: no `/` or `..` may be in it.
    context["__folder"] = "{{ (cookiecutter.project_slug | slugify) or 'project' }}"
    context["_recommended"] = [name for name, one in asked.items() if is_worked_out(one)]
    context["_multiselect"] = [name for name, one in asked.items() if one.get("multiselect")]
    context["_conditional"] = [name for name, one in asked.items() if "when" in one]
    context["_min_copier_version"] = settings["_min_copier_version"]
    context["__prompts__"] = {name: prompt(question) for name, question in asked.items()}
    return json.dumps(context, ensure_ascii=False, indent=2) + "\n"


def is_worked_out(question: Mapping[str, Any]) -> bool:
    """Whether the default of a question with choices depends on other answers."""
    return "choices" in question and "{" in fresh(question["default"])


def fresh(default: object) -> str:
    """A default as it is for a new project, where it asks for that alone."""
    text = str(default)
    return JINJA.from_string(text).render(_copier_conf={}) if "fileglob" in text else text


def offered(question: Mapping[str, Any]) -> dict[str, str]:
    """The choices of a question by what is shown, those that Copier may refuse as well."""
    return {
        label: choice if isinstance(choice, str) else choice["value"]
        for label, choice in question.get("choices", {}).items()
    }


def is_asked(question: Mapping[str, Any]) -> bool:
    """Whether people are asked, if only where they open a group: not for a derived answer."""
    return bool(question.get("when", True)) and bool(question.get("ask", True))


def names_used(asked: Questions, questions: Questions) -> set[str]:
    """The questions that the defaults of the asked ones depend on, directly or not."""
    used: set[str] = set()
    left = set(asked)
    while left:
        default = questions[left.pop()]["default"]
        names = meta.find_undeclared_variables(JINJA.parse(str(default))) & set(questions)
        left |= names - used
        used |= names
    return used


def variable(name: str, questions: Questions) -> bool | str | list[str]:
    """The default of a question, or its choices with the default first.

    Raises:
        ValueError: When Cookiecutter could not render it.
    """
    question = questions[name]
    default = question["default"]
    if question.get("multiselect"):
        return "[" + ", ".join(default) + "]"
    if "choices" in question:
        values = list(offered(question).values())
        if is_worked_out(question):
            advice = renamed(f"{{{{ {ADVICE}.split() | join(' ') }}}}", questions)
            return [f"{rendered(name, default, questions)}: {advice}", *values]
        default = fresh(default)
        if default not in values:
            raise ValueError(f"{name}: {default!r} must be one of its choices")
        return [default, *(value for value in values if value != default)]
    if isinstance(default, bool):
        return default
    return rendered(name, default, questions)


def rendered(name: str, default: object, questions: Questions) -> str:
    """A default for Cookiecutter to render.

    Raises:
        ValueError: When it cannot.
    """
    try:
        JINJA.from_string(str(default))
    except TemplateError as error:
        raise ValueError(f"{name}: Cookiecutter cannot render its default: {error}") from None
    return renamed(str(default), questions)


def renamed(template: str, questions: Questions) -> str:
    """Jinja for Copier as Jinja for Cookiecutter, where answers are parts of `cookiecutter`."""
    text, before = "", ""
    for _, kind, value in JINJA.lex(template):
        if kind == "name" and value in questions and before != ".":
            private = "" if is_asked(questions[value]) else "__"
            text += f"cookiecutter.{private}{value}"
        else:
            text += value
        before = value if value.strip() else before
    return text


def prompt(question: Mapping[str, Any]) -> str | dict[str, str]:
    """What Cookiecutter shows for a question.

    Raises:
        ValueError: When the help has Jinja, which Cookiecutter would show as it is.
    """
    text = " ".join(question["help"].replace(HINT, "").split())
    if "{{" in text or "{%" in text:
        raise ValueError(f"{text}: Cookiecutter shows Jinja in a help as it is")
    if condition := question.get("when"):
        text += f" (counts only if {condition.strip('{} ')})"
    if group := GROUP.search(str(question.get("ask", ""))):
        text += f" ({group[1]}; Enter keeps the default)"
    labels = {value: escaped(label) for label, value in offered(question).items()}
    if question.get("multiselect"):
        lines = [f"    [bold magenta]{value}[/] - {label}" for value, label in labels.items()]
        none = "" if "validator" in question else ", or \\[] for none"
        return "\n".join([escaped(text), *lines, f"    A list{none}"])
    return {"__prompt__": escaped(text), **labels} if labels else escaped(text)


def escaped(text: str) -> str:
    """Text in which Rich, which Cookiecutter prints with, finds no markup."""
    return re.sub(r"\[(?=[a-zA-Z#/@])", r"\\[", text)


if __name__ == "__main__":
    FILE.write_text(cookiecutter_json())
    print(f"{FILE.name} is written")
