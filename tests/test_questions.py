"""The questions: their defaults work, and a bad answer is refused with the way to fix it."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import copier
import pytest
import yaml
from jinja2 import Template

from tests import matrix, template
from tests.conftest import Render

COPIER = Path(sys.executable).with_name("copier")

REFUSED: list[tuple[str, Any, str]] = [
    ("project_name", " ", "Give the use case a name"),
    ("project_name", "x" * 61, "Shorten it to 60 characters; it has 61"),
    ("project_name", 'the "best"', "Leave out double quotes"),
    ("project_slug", "flight_delays", "lower-case letters, digits and single hyphens"),
    ("project_slug", "Flight-Delays", "for example: flight-delays"),
    ("project_slug", "flight--delays", "single hyphens"),
    ("project_slug", "2013-flights", "with a letter first"),
    ("project_slug", "flights-", "single hyphens"),
    ("project_slug", "flights\n", "single hyphens"),
    ("project_slug", "", "single hyphens"),
    ("project_slug", "f" * 33, "Shorten it to 32 characters, for example: flight-delays"),
    ("description", "", "Say in one sentence"),
    ("description", "x" * 201, "Shorten it to 200 characters; it has 201"),
    ("description", "one\ntwo", "line breaks"),
    ("description", "a\\b", "backslashes"),
    ("aws_region", "Tokyo", "Give the region's code, for example: ap-northeast-1"),
    ("aws_region", "ap-northeast-1a", "Give the region's code"),
    ("notification_email", "ml-team", "Give one address such as ml-team@example.com"),
    ("notification_email", "a@example.com, b@example.com", "Give one address"),
    ("problem_type", "clustering", "is not in \\['binary_classification', 'multiclass"),
    ("traffic", "rush_hour", "is not in \\['steady', 'intermittent', 'bursts', 'scheduled'"),
    ("max_payload_mb", "0", "Give the MB of one request as a number above 0"),
    ("max_payload_mb", "-1", "a number above 0"),
    ("max_payload_mb", "a lot", "for example: 0.1, 1 or 20"),
    ("max_payload_mb", "nan", "a number above 0"),
    ("inference_mode", "carrier_pigeon", "is not in \\['realtime', 'serverless', 'async', 'batch'"),
    ("public_api", "everybody", "is not in \\['none', 'iam', 'api_key'"),
    ("orchestrator", "cron", "is not in \\['sagemaker_pipelines'"),
    ("monitors", [], "Choose at least one monitor"),
    ("monitors", ["data_quality", "weather"], "'weather' is not in"),
    ("triggers", ["full_moon"], "'full_moon' is not in"),
    ("environments", "staging", "is not in \\['single', 'dev_prod'"),
]


@pytest.mark.parametrize(("question", "answer", "message"), REFUSED)
def test_bad_answer_is_refused(
    source: Path, tmp_path: Path, question: str, answer: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message) as error:
        template.render(source, tmp_path / "project", {question: answer})
    assert question in str(error.value)
    assert not (tmp_path / "project").exists()


def test_two_environments_need_room_in_the_short_name(source: Path, tmp_path: Path) -> None:
    answers = {"environments": "dev_prod", "project_slug": "f" * 28}
    with pytest.raises(ValueError, match="leaves no room for -prod"):
        template.render(source, tmp_path / "project", answers)


def test_command_line_refuses_and_leaves_nothing(source: Path, tmp_path: Path) -> None:
    result = subprocess.run(
        [COPIER, "copy", "--defaults", "-d", "project_slug=a_b", source, tmp_path / "project"],
        capture_output=True,
        text=True,
        check=False,
        env=template.environment(),
    )
    assert result.returncode
    assert result.stderr.rstrip().endswith("with a letter first, for example: flight-delays")
    assert list(tmp_path.iterdir()) == []


# What is answered to traffic and max_payload_mb, and the mode that is best for it.
RECOMMENDED = [
    ("steady", "1", "realtime"),
    ("steady", "6", "realtime"),
    ("steady", "6.01", "async"),
    ("intermittent", "4", "serverless"),
    ("intermittent", "4.01", "realtime"),
    ("intermittent", "20", "async"),
    ("bursts", "0.1", "async"),
    ("bursts", "1024", "async"),
    ("bursts", "1025", "batch"),
    ("scheduled", "1", "batch"),
    ("scheduled", "5000", "batch"),
]
SENTENCES = {
    "realtime": "recommended is a real-time endpoint: requests of up to 6 MB",
    "serverless": "recommended is a serverless endpoint: requests of up to 4 MB",
    "async": "recommended is an asynchronous endpoint: requests of up to 1 GB",
    "batch": "recommended is batch transform: data of any size",
}


@pytest.mark.parametrize(("traffic", "size", "best"), RECOMMENDED)
def test_traffic_and_payload_recommend_a_mode(
    tmp_path: Path, traffic: str, size: str, best: str
) -> None:
    help_ = matrix.questions()["inference_mode"]["help"]
    stub = template.stub(tmp_path / "stub", matrix.document(), {"shown.txt.jinja": help_})
    answers = {"traffic": traffic, "max_payload_mb": size}
    project = template.render(stub, tmp_path / "project", answers)
    shown = (project / "shown.txt").read_text()
    recorded = answers_of(project)
    assert (recorded["traffic"], recorded["max_payload_mb"]) == (traffic, size)
    assert recorded["inference_mode"] == best
    assert SENTENCES[best] in " ".join(shown.split())


def lines(text: str) -> list[str]:
    """The lines in which a text is shown, with the answers that make the longest."""
    answers = matrix.defaults() | {"max_payload_mb": "20.48"}
    return [
        line
        for mode in SENTENCES
        for advice in [matrix.worked_out("advice", recommended_mode=mode)]
        for line in Template(text).render(answers | {"advice": advice}).splitlines()
    ]


def test_no_line_is_longer_than_a_terminals() -> None:
    for name, question in matrix.questions().items():
        assert not [line for line in lines(question["help"]) if len(line) > 77], name
        for label, choice in question.get("choices", {}).items():
            against = choice["validator"] if isinstance(choice, dict) else ""
            shown = lines(f"{label} ({against})" if against else label)
            assert not [line for line in shown if len(line) > 75], name


def test_documentation_has_the_same_table(tmp_path: Path) -> None:
    text = (template.ROOT / "docs" / "inference-modes.md").read_text()
    rows = re.findall(r"^\| `(\w+)`: .*?((?: \| [a-z-]+)+) \|$", text, re.MULTILINE)
    assert [traffic for traffic, _ in rows] == matrix.offered(matrix.questions()["traffic"])
    stub = template.stub(
        tmp_path / "stub", matrix.document(), {"best.txt.jinja": "{{ recommended_mode }}"}
    )
    names = {"realtime": "real-time", "async": "asynchronous"}
    for traffic, cells in rows:
        for size, told in zip(("4", "6", "1024", "1025"), cells.split(" | ")[1:], strict=True):
            answers = {"traffic": traffic, "max_payload_mb": size}
            project = template.render(stub, tmp_path / f"{traffic}-{size}", answers)
            best = (project / "best.txt").read_text()
            assert names.get(best, best) == told, f"{traffic}, {size} MB"


@pytest.mark.parametrize("size", ["6.01", "50", "1025"])
def test_realtime_that_cannot_work_is_refused(source: Path, tmp_path: Path, size: str) -> None:
    answers = {"inference_mode": "realtime", "max_payload_mb": size}
    better = "async, which takes up to 1 GB, or batch" if size != "1025" else "batch"
    with pytest.raises(ValueError, match=f"up to 6 MB, not {size}: choose") as error:
        template.render(source, tmp_path / "project", answers)
    assert f"not {size}: choose {better}, which splits" in " ".join(str(error.value).split())
    assert not (tmp_path / "project").exists()


@pytest.mark.parametrize(
    ("mode", "size", "instead"),
    [
        ("serverless", "4.01", "4 MB, not 4.01: choose\\s+a real-time endpoint \\(up to 6 MB\\)"),
        ("serverless", "6.01", "4 MB, not 6.01: choose\\s+async \\(up to 1 GB\\)"),
        ("serverless", "1024.5", "4 MB, not 1024.5: choose\\s+batch \\(any size\\)"),
        ("async", "1024.5", "1 GB, not 1024.5 MB: choose batch"),
    ],
)
def test_mode_that_cannot_work_is_refused(
    source: Path, tmp_path: Path, mode: str, size: str, instead: str
) -> None:
    answers = {"inference_mode": mode, "max_payload_mb": size}
    with pytest.raises(ValueError, match=f"up to {instead}"):
        template.render(source, tmp_path / "project", answers)
    assert not (tmp_path / "project").exists()


def test_limit_of_async_is_the_servers(source: Path) -> None:
    server = (source / "template" / "src" / "usecase" / "serve_async.py.jinja").read_text()
    assert "MAX_BYTES = 1024**3" in server


def test_limit_of_realtime_is_awss_and_the_servers(source: Path) -> None:
    runtime = boto3.client("sagemaker-runtime", region_name="us-east-1")
    shape = runtime.meta.service_model.operation_model("InvokeEndpoint").input_shape
    assert shape.members["Body"].metadata["max"] == 6 * 1024**2
    server = (source / "template" / "src" / "usecase" / "serve_endpoint.py.jinja").read_text()
    assert "MAX_BYTES = 6 * 1024**2" in server


def test_what_only_recommends_brings_no_files(rendered: Render) -> None:
    plain = template.contents(rendered({}))
    for traffic in matrix.offered(matrix.questions()["traffic"]):
        answers = {"traffic": traffic, "max_payload_mb": "0.5", "inference_mode": "realtime"}
        found = template.contents(rendered(answers))
        different = {name for name in found | plain if found.get(name) != plain.get(name)}
        assert different == {".copier-answers.yml"}


def test_batches_explain_nothing_whatever_an_endpoint_did_before(rendered: Render) -> None:
    """Copier hands on an answer to a question that is not asked any more."""
    batch = {"inference_mode": "batch", "framework": "scikit_learn"}
    explained = template.contents(rendered({**batch, "explain": "contributions"}))
    assert explained == template.contents(rendered(batch))


def groups() -> dict[str, str]:
    """The group of each question that is not asked of everybody."""
    found = {}
    for name, question in matrix.questions().items():
        if condition := question.get("ask"):
            group = re.fullmatch(r"\{\{ '(\w+)' in decide \}\}", condition)
            assert group, f"{name}: ask names no group of decide"
            found[name] = group[1]
    return found


def test_everybody_is_asked_ten_questions_at_most() -> None:
    assert len(matrix.questions().keys() - groups()) <= 10


def test_each_group_has_a_question() -> None:
    assert set(groups().values()) == set(matrix.offered(matrix.questions()["decide"]))


def test_terminal_asks_the_essentials_and_the_groups_that_were_opened(
    repository: Path, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    # Enter everywhere; of the groups, the cursor goes down to the fourth and space takes it.
    keys = {"decide": "\x1b[B\x1b[B\x1b[B \r"}
    shown = at_terminal([COPIER, "copy", repository, project], keys)
    opened = {name for name, group in groups().items() if group == "monitoring"}
    closed = groups().keys() - opened
    for name, question in matrix.questions().items():
        first_line = Template(question["help"]).render({"advice": ""}).splitlines()[0]
        expected = name not in closed
        assert (first_line in shown) == expected, name
    found = answers_of(project)
    assert found["decide"] == ["monitoring"]
    assert found["triggers"] == matrix.defaults()["triggers"]
    assert "trainings started by schedule, new_data, drift" in shown


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        (
            {},
            [
                "by a real-time endpoint",
                "started by schedule, new_data, drift",
                "by GitHub Actions\n\n  and not bias, feature_attribution, code_change.",
            ],
        ),
        ({"public_api": "iam"}, ["endpoint, and by an API to which requests are signed"]),
        ({"ci": "none"}, ["no CI\n\n  and not bias, feature_attribution, code_change."]),
        (
            {
                "monitors": ["data_quality", "model_quality", "bias", "feature_attribution"],
                "triggers": ["schedule", "new_data", "drift", "code_change"],
            },
            ["checks and deployment by GitHub Actions\n\n  Another"],
        ),
        (
            {"triggers": []},
            ["started by people alone", "and not bias, feature_attribution, schedule, new_data"],
        ),
        (
            {"inference_mode": "batch", "monitors": ["data_quality"], "triggers": ["drift"]},
            [
                "by batch transform, whenever data",
                "and not model_quality, bias, feature_attribution, schedule, new_data, code",
            ],
        ),
    ],
)
def test_summary_tells_what_was_chosen_and_left_out(
    source: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    answers: matrix.Answers,
    told: list[str],
) -> None:
    copier.run_copy(str(source), tmp_path / "project", dict(answers), defaults=True)
    shown = capsys.readouterr().err
    assert not [text for text in told if text.replace("\n  ", "\n") not in shown]


@pytest.mark.parametrize(
    ("project_name", "slug"),
    [
        ("Flight delays", "flight-delays"),
        ("  2013: R&D's *churn*  ", "r-d-s-churn"),
        (
            "Demand forecasting for the northern distribution hub",
            "demand-forecasting-for-the-north",
        ),
        ("Predicting the monthly sales of a store", "predicting-the-monthly-sales-of"),
        ("架け橋", "ml-use-case"),
    ],
)
def test_slug_follows_from_the_name(
    source: Path, tmp_path: Path, project_name: str, slug: str
) -> None:
    project = template.render(source, tmp_path / "project", {"project_name": project_name})
    assert answers_of(project)["project_slug"] == slug


def test_every_question_has_help_and_a_default_that_is_valid(source: Path, tmp_path: Path) -> None:
    questions = matrix.questions()
    assert all(question["help"] and "default" in question for question in questions.values())
    answers = answers_of(template.render(source, tmp_path / "project", {}))
    asked = {
        name for name, q in questions.items() if matrix.is_asked(q.get("when", "True"), answers)
    }
    assert {key for key in answers if not key.startswith("_")} == asked


def test_command_line_needs_no_trust_and_records_its_origin(
    repository: Path, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    answers = ["-d", "triggers=[drift]", "-d", "notification_email=ml-team@example.com"]
    template.run([COPIER, "copy", "--defaults", *answers, repository, project], tmp_path)
    found = answers_of(project)
    head = template.run(["git", "rev-parse", "HEAD"], repository)
    assert found["_src_path"] == str(repository)
    assert head.startswith(found["_commit"])
    assert found["triggers"] == ["drift"]
    assert found["notification_email"] == "ml-team@example.com"


@pytest.mark.wide
def test_relative_path_of_the_template_is_found_again(repository: Path, tmp_path: Path) -> None:
    project = tmp_path / "projects" / "late"
    template.run([COPIER, "copy", "--defaults", ".", project], repository)
    assert answers_of(project)["_src_path"] == str(repository)
    template.commit(project, "Start from Kakehashi")
    template.run([COPIER, "update", "--defaults", "-d", "triggers=[drift]"], project)
    assert answers_of(project)["_src_path"] == str(repository)
    assert answers_of(project)["triggers"] == ["drift"]


def test_template_runs_no_code() -> None:
    assert not {"_tasks", "_migrations", "_jinja_extensions"} & matrix.document().keys()


def at_terminal(command: list[str | Path], keys: dict[str, str]) -> str:
    """Run a command that asks the questions at a terminal, and answer each.

    Args:
        command: The command.
        keys: What is typed for a question; Enter for all others.

    Returns:
        What it has shown, without the codes that move the cursor.
    """
    here, there = pty.openpty()
    process = subprocess.Popen(
        command,
        stdin=there,
        stdout=there,
        stderr=there,
        env=template.environment({"TERM": "xterm", "COLUMNS": "200", "PROMPT_TOOLKIT_NO_CPR": "1"}),
        close_fds=True,
    )
    os.close(there)
    starts = {
        Template(question["help"]).render({"advice": ""}).splitlines()[0]: keys.get(name, "\r")
        for name, question in matrix.questions().items()
    }
    shown = ""
    while True:
        try:
            shown += os.read(here, 65536).decode(errors="replace")
        except OSError:  # the other end is closed: the command has ended
            break
        for start in [start for start in starts if start in shown]:
            os.write(here, starts.pop(start).encode())
    os.close(here)
    assert process.wait() == 0, shown
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)


def answers_of(project: Path) -> dict[str, Any]:
    """The answers that a project has recorded."""
    found: dict[str, Any] = yaml.safe_load((project / ".copier-answers.yml").read_text())
    return found
