"""Whatever is answered, the project is whole, formatted and lint-free."""

import ast
import json
import re
import sys
import tomllib
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from tests import matrix, template
from tests.conftest import Render
from tests.levels import every_combination

# Of a project with the default answers, and of any other, which may have chosen more.
MOST_FILES = 161
MOST_FILES_EVER = 259

# An f-string may hold such braces too, but not around a keyword of Jinja or the name of a question.
LEFTOVER = re.compile(
    r"\{%-? *(if|el|end|for|set)|\{\{[- ]*(_copier|" + "|".join(matrix.questions()) + ")"
)

PARSERS: dict[str, Callable[[str], Any]] = {
    ".py": ast.parse,
    ".toml": tomllib.loads,
    ".yml": yaml.safe_load,
    ".yaml": yaml.safe_load,
    ".json": json.loads,
}

# What a project must not speak of when the answer was not given. That every version is registered
# with its evaluation as AWS's ModelQuality, whether or not it is watched, may stay.
TRACES = {
    (
        "problem_type",
        "binary_classification",
    ): r"[Bb]inary|probability of 1|decision_threshold|[\"'` ]auc\b",
    (
        "problem_type",
        "multiclass_classification",
    ): r"[Mm]ulticlass|softprob|predicted_label|weighted_f|very_late|decision_w|target\.classes",
    (
        "problem_type",
        "regression",
    ): r"[Rr]egression|squarederror|rmse|arrival_delay",
    ("framework", "xgboost"): r"[Xx][Gg][Bb]",
    ("framework", "lightgbm"): r"[Ll]ight[Gg][Bb][Mm]|\blgb\b|libgomp",
    ("framework", "scikit_learn"): r"[Ss]cikit|sklearn|skops",
    (
        "monitors",
        "data_quality",
    ): r"[\"'`/.]data[-_]quality|[Dd]ata quality|\bDataQuality\b|usecase\.baseline|\bBASELINE",
    (
        "inference_mode",
        "realtime",
    ): r"[Rr]eal-time|DataCaptureConfig",
    (
        "inference_mode",
        "serverless",
    ): r"(?<!MWAA )[Ss]erverless|inference_log|\b[Tt]rials?\b|[Pp]rovisioned",
    (
        "inference_mode",
        "async",
    ): r"[Aa]synchronous (endpoint|inference)|\basync/|\bexchanges\b|[Bb]acklog|/serve_async",
    (
        "inference_mode",
        "batch",
    ): r"[\"'`/_.]batch\b|[Bb]atch (transform|inference)|ops rejected",
    ("batch_start", "new_data"): r"batch-new-data|Predictions are made whenever",
    ("batch_start", "schedule"): r"Predictions are made every day|EXPRESSION = \"cron\(0 0 \*",
    ("public_api", "none"): r"\bpublic_api: none\b",
    ("public_api", "iam"): r"AWS_IAM|awsSigv4|api_callers|api-callers|SigV4Auth",
    ("public_api", "api_key"): r"x-api-key|[Uu]sage[_ ]?[Pp]lan|_per_key\b|\bapi_key\b",
    ("monitors", "model_quality"): r"[\"'`/.]model[-_]quality|[Mm]odel quality",
    ("monitors", "bias"): r"\b[Bb]ias",
    (
        "monitors",
        "feature_attribution",
    ): r"[Ff]eature[-_ ]attribution|\b[Aa]ttributions\b",
    ("explain", "none"): r"\bexplain: none\b",
    ("explain", "contributions"): r"\bexplain=|--explain\b|\bbase_value|\bimport explanations",
    # CI may have pipelines, too.
    ("orchestrator", "sagemaker_pipelines"): r"(?<!\b[Cc]ode)(?<!\bci[-_])[Pp]ipeline",
    ("orchestrator", "step_functions"): r"[Ss]tate machine|[Ss]tep[ _]?[Ff]unctions\b|JSONata",
    ("orchestrator", "airflow"): r"\b[Aa]irflow|\bDAGs?\b|\bMWAA\b|\bdags\b",
    ("triggers", "schedule"): r"[\"'`]schedule[\"'`]|on a schedule|monthly",
    ("triggers", "code_change"): r"code_change|[Cc]ode change|train[-_]if[-_]changed|aws_ssm",
    ("triggers", "new_data"): r"[\"'`/.]new_data|[Nn]ew data|_SUCCESS",
    ("ci", "github"): r"GitHub|[Dd]ependabot|\.github/",
    ("ci", "gitlab"): r"GitLab|[Rr]enovate|gitlab-ci",
    (
        "ci",
        "codepipeline",
    ): r"[Cc]ode([Pp]ipeline|[Bb]uild|[Cc]onnections)|buildspec|ci[-_]pipeline",
    ("environments", "single"): r"[Aa][ -]second[ -]environment",
    (
        "environments",
        "dev_prod",
    ): r"overlay|environments/\w|deploy-(dev|prod)\b|ROLE_(DEV|PROD)|models_from|[Pp]romot",
    ("ci", "none"): r"\bci: none\b",
    ("chat", "none"): r"\bchat: none\b",
    ("chat", "slack"): r"[Ss]lack\b",
    ("chat", "teams"): r"\bTeams\b|\badaptive\b",
    ("bi", "none"): r"\bbi: none\b",
    ("bi", "streamlit"): r"[Ss]treamlit|\b[Dd]ashboard\b|\[costs\]|usecase\.costs",
    ("triggers", "drift"): r"[\"'`/.]drift\b|[Dd]rift (starts|may start)|\bon drift",
}
#: Words of several answers.
SHARED = {
    (
        "inference_mode",
        ("realtime", "serverless", "async"),
    ): r"\b(endpoint|ENDPOINT|[Cc]aptured)\b|capture/|inference ?[Ii]d\b",
    ("inference_mode", ("realtime", "async")): r"RealtimeInference|\"BlueGreen",
    (
        "public_api",
        ("iam", "api_key"),
    ): r"API Gateway|api_?gateway|[Oo]pen ?API|execute-api|\bapi_url\b|\bPublic ?API|\[api\]",
    ("chat", ("slack", "teams")): r"[Ww]ebhook|\b[Cc]hat\b(?!: none)|secrets-?manager",
}
#: Words of answers to two questions.
EITHER = {
    (
        ("monitors", "feature_attribution"),
        ("explain", "contributions"),
    ): r"\bSHAP\b|_shap\b|\b[Cc]ontributions\b",
}
#: Files that may speak of what was not chosen, by question.
ELSEWHERE = {
    "monitors": ("src/usecase/evaluate.py",),
    # scikit-learn's are pipelines of another kind.
    "orchestrator": (
        *("src/usecase/model.py", "docs/ci.md", "infra/ci.py", "tests/test_ci.py"),
        *("infra/codepipeline.py", "infra/codebuild.py", "lambdas/codepipeline.py"),
        *("ops/outside.py", "tests/test_codepipeline.py"),
    ),
    # What an earlier answer has left on AWS is found and deleted.
    # SNS calls what it notifies an endpoint, too.
    "inference_mode": ("ops/outside.py", "infra/chat.py"),
    "bi": ("ops/outside.py",),
}


def expected_files(answers: matrix.Answers) -> set[str]:
    """The files that answers bring, by the table in files.txt."""
    table = (Path(__file__).parent / "files.txt").read_text().splitlines()
    rows = [line.split(maxsplit=1) for line in table if line and not line.startswith("#")]
    return {row[0] for row in rows if len(row) == 1 or holds(row[1], answers)}


def holds(condition: str, answers: matrix.Answers) -> bool:
    """Whether `question: answer or another` was answered, or with `question: any` anything at all.

    With several of them, separated by commas, all have to hold.
    """
    first, _, others = condition.partition(", ")
    if others:
        return holds(first, answers) and holds(others, answers)
    question, _, wanted = condition.partition(": ")
    given: Any = answers[question]
    given = given if isinstance(given, list) else [given]
    return bool(given) if wanted == "any" else any(one in given for one in wanted.split(" or "))


@lru_cache(maxsize=2)
def files(project: Path) -> dict[str, str]:
    """The text of every file of a project."""
    found = sorted(path for path in project.rglob("*") if path.is_file())
    return {path.relative_to(project).as_posix(): path.read_text() for path in found}


@every_combination
def test_exactly_the_expected_files(rendered: Render, answers: matrix.Answers) -> None:
    found = set(files(rendered(answers)))
    expected = expected_files(answers)
    assert found == expected
    default = all(answers[name] == matrix.defaults()[name] for name in matrix.choices())
    assert len(found) < (MOST_FILES if default else MOST_FILES_EVER)


@every_combination
def test_every_file_is_whole(rendered: Render, answers: matrix.Answers) -> None:
    broken = {
        name: problem
        for name, text in files(rendered(answers)).items()
        if (problem := wrong(Path(name).suffix, text))
    }
    assert not broken


@cache
def wrong(suffix: str, text: str) -> str:
    """What is wrong with a file, which most projects share; nothing, if all is well."""
    try:
        PARSERS.get(suffix, str)(text)
    except (SyntaxError, ValueError, yaml.YAMLError) as error:
        return f"cannot be parsed: {error}"
    if text and (not text.endswith("\n") or text.endswith("\n\n")):
        return "does not end in one line break"
    if "\n\n\n\n" in text:
        return "has three empty lines"
    return "has Jinja left" if LEFTOVER.search(text) else ""


def predicts_on(answers: matrix.Answers) -> str | None:
    """What batch inference starts on."""
    return answers["batch_start"] if answers["inference_mode"] == "batch" else None


@every_combination
def test_no_trace_of_what_was_not_chosen(rendered: Render, answers: matrix.Answers) -> None:
    one = {(question, (answer,)): words for (question, answer), words in TRACES.items()}
    for (question, any_of), words in (one | SHARED).items():
        # What starts a training and what starts a prediction are told in the same words.
        if any(a in answers[question] or a == predicts_on(answers) for a in any_of):
            continue
        traces = lines_of(rendered(answers), words, ELSEWHERE.get(question, ()))
        assert not traces, f"{' or '.join(any_of)} was not chosen:\n" + "\n".join(traces)
    for either, words in EITHER.items():
        if not any(answer in answers[question] for question, answer in either):
            traces = lines_of(rendered(answers), words)
            assert not traces, f"none of {either} was chosen:\n" + "\n".join(traces)


def lines_of(project: Path, words: str, but: Sequence[str] = ()) -> list[str]:
    """The lines of a project that hold some words, but for those of some files."""
    return [
        f"{name}:{line}"
        for name, text in files(project).items()
        if name not in but
        for line in lines_with(words, text)
    ]


@cache
def lines_with(words: str, text: str) -> list[str]:
    """The lines of a file, which most projects share, that hold some words."""
    return [
        f"{number}: {line.strip()}"
        for number, line in enumerate(text.splitlines(), start=1)
        if re.search(words, line)
    ]


def test_trace_of_every_answer_is_looked_for(rendered: Render) -> None:
    questions = matrix.questions()
    several = {
        (name, value)
        for name in matrix.choices()
        for value in matrix.offered(questions[name])
        if len(matrix.offered(questions[name])) > 1
    }
    assert several == {each for each in TRACES if " or " not in each[1]}
    for (question, answer), words in TRACES.items():
        every_one, one = matrix.offered(questions[question]), answer.partition(" or ")[0]
        chosen = {question: every_one if questions[question].get("multiselect") else one}
        asked = questions[question].get("when", "True")
        if not matrix.is_asked(asked, matrix.defaults() | chosen):
            chosen["inference_mode"] = "batch"
        project = rendered(matrix.standard() | chosen)
        everything = "\n".join(files(project).values())
        assert re.search(words, everything), f"{words} is never written"


@pytest.mark.parametrize("version", matrix.offered(matrix.questions()["airflow_version"]))
def test_airflow_has_the_packages_of_mwaas_image(rendered: Render, version: str) -> None:
    project = rendered({"orchestrator": "airflow", "airflow_version": version})
    pins = template.ROOT / f"local_aws/src/local_aws/mwaa/pins/{version}.txt"
    (wanted,) = (
        Requirement(line)
        for line in (project / "dags" / "requirements.txt").read_text().splitlines()
        if not line.startswith("#")
    )
    assert f"{wanted.name}{wanted.specifier}" in pins.read_text().splitlines()
    assert f'AIRFLOW_VERSION = "{version}"' in files(project)["workflows/airflow/__init__.py"]


@pytest.mark.parametrize("texts", matrix.TEXTS[1:], ids=["special-characters", "japanese"])
def test_texts_come_out_as_typed(rendered: Render, texts: matrix.Answers) -> None:
    project = files(rendered(matrix.standard() | texts))
    pyproject = tomllib.loads(project["pyproject.toml"])
    assert pyproject["project"]["name"] == texts["project_slug"]
    assert pyproject["project"]["description"] == texts["description"]
    assert texts["description"] in project["README.md"]
    assert project["README.md"].startswith(f"# {texts['project_name']}\n")


@every_combination
def test_ruff_finds_nothing_and_would_change_nothing(
    rendered: Render, answers: matrix.Answers
) -> None:
    project, ruff = rendered(answers), Path(sys.executable).with_name("ruff")
    template.run([ruff, "check", "--no-cache", "--output-format=concise"], project)
    template.run([ruff, "format", "--check", "--no-cache"], project)
