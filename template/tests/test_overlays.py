"""What differs by environment: environments/*.toml, over usecase.toml."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.templates import ACCOUNT
from typer.testing import CliRunner

from ops import __main__ as command_line
from ops import aws, doctor
from usecase import config
from usecase.errors import UseCaseError
from workflows import names, overlays

OTHER_ACCOUNT = "210987654321"
Written = Callable[[str], Path]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """Writes the environment dev of a project with this usecase.toml."""

    def write(text: str) -> Path:
        shutil.copy("usecase.toml", tmp_path)
        folder = tmp_path / overlays.FOLDER
        folder.mkdir(exist_ok=True)
        (folder / "dev.toml").write_text(text)
        return tmp_path

    return write


@pytest.mark.parametrize("environment", ["dev", "prod"])
def test_environments_of_this_project_are_whole(environment: str) -> None:
    assert environment in overlays.known()
    overlays.use_case(environment)


def test_only_what_the_environment_has_otherwise_is_another(written: Written) -> None:
    root = written('[instances]\ntraining = "ml.m5.4xlarge"\n')
    plain, merged = config.load(root / "usecase.toml"), overlays.use_case("dev", root)
    assert merged.instances.training == "ml.m5.4xlarge"
    assert merged.instances.processing == plain.instances.processing
    assert merged.features == plain.features
    assert overlays.use_case("", root) == plain


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[instances]\ntrainin = "x"', r"instances\.trainin: unknown key; did you mean training"),
        ("[approval]\nthreshold = 0.1", "approval: unknown key"),  # the image holds it
        ("instances = 2", r"instances: is 2, must be a \[section\]"),
        ('account = "1234"', "account: is '1234', must be 12 digits"),
        ('models_from = "dev"', "models_from: is 'dev', must be another environment: there is"),
        ("account = 123456789012", "account: is 123456789012, must be text"),
        ("[instances]\ninference_count = 0", "inference_count"),
        ("[instances", "environments/dev.toml: "),
    ],
)
def test_wrong_file_is_refused_with_the_key(written: Written, text: str, message: str) -> None:
    root = written(text)
    with pytest.raises(UseCaseError, match=message) as error:
        overlays.use_case("dev", root)
    assert str(error.value).startswith("environments/dev.toml: ")


def test_unknown_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(names.ENVIRONMENT, "test")
    with pytest.raises(UseCaseError, match=r"there is no environments/test\.toml; there are: dev"):
        names.current()


def test_credentials_of_another_account_are_refused(written: Written) -> None:
    root = written(f'account = "{ACCOUNT}"')
    overlays.require_account("dev", ACCOUNT, root)
    overlays.require_account("", OTHER_ACCOUNT, root)
    with pytest.raises(UseCaseError, match=f"dev belongs to account {ACCOUNT} .*{OTHER_ACCOUNT}"):
        overlays.require_account("dev", OTHER_ACCOUNT, root)


@pytest.fixture
def of_another_account(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials of prod's account, and the environment dev."""
    root = written(f'account = "{ACCOUNT}"')
    load = overlays.load
    monkeypatch.setattr(overlays, "load", lambda environment, _=None: load(environment, root))
    monkeypatch.setattr(aws, "account", lambda: OTHER_ACCOUNT)
    monkeypatch.setenv(names.ENVIRONMENT, "dev")


@pytest.mark.usefixtures("of_another_account")
def test_no_command_begins_with_another_accounts_credentials() -> None:
    answer = CliRunner().invoke(command_line.app, ["models", "list"])
    assert isinstance(answer.exception, UseCaseError)
    assert f"dev belongs to account {ACCOUNT}" in str(answer.exception)


@pytest.mark.usefixtures("of_another_account")
def test_doctor_tells_of_another_accounts_credentials() -> None:
    wrong, _ = doctor.identity()
    assert (wrong.state, wrong.text[:23]) == ("wrong", "environment dev belongs")


def synthesise(root: Path, environment: str) -> subprocess.CompletedProcess[str]:
    """Run the app as CDK does, with credentials of an account."""
    variables = {names.ENVIRONMENT: environment, "CDK_DEFAULT_ACCOUNT": OTHER_ACCOUNT}
    return subprocess.run(
        [sys.executable, "-m", "infra.app"],
        cwd=root,
        env={**os.environ, **variables, "CDK_OUTDIR": str(root / "cdk.out"), "PYTHONPATH": "src:."},
        capture_output=True,
        text=True,
        check=False,
    )


def test_app_synthesises_nothing_for_another_account(written: Written) -> None:
    root = written(f'account = "{ACCOUNT}"')
    for name in ("src", "workflows", "lambdas", "infra"):
        shutil.copytree(name, root / name)
    for name in ("cdk.json", ".python-version", "pyproject.toml"):
        shutil.copy(name, root)
    for environment, message in (("dev", f"belongs to account {ACCOUNT}"), ("test", "there is no")):
        made = synthesise(root, environment)
        assert made.returncode == 1
        assert made.stderr.startswith("error: environment ")
        assert message in made.stderr
        assert not (root / "cdk.out").exists()


def test_environment_has_its_region(written: Written) -> None:
    root = written('region = "eu-west-1"')
    assert overlays.region("dev", root) == "eu-west-1"
    assert overlays.region("", root) == overlays.region("test", root) == ""
