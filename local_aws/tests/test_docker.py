"""`local-aws-docker`, called as the AWS CDK calls it, with real builds."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import until
from docker_process import VERSION, Docker, context, run_image, write
from uv import find_uv_bin

from local_aws.images.images import Images, UnknownImage

DOCKERFILE = f"""\
# syntax=docker/dockerfile:1
ARG PYTHON_IMAGE=python:{VERSION}-slim
FROM ${{PYTHON_IMAGE}}
RUN pip install --no-cache-dir uv==0.13.9
WORKDIR /opt/usecase
COPY pyproject.toml uv.lock ./
RUN uv sync --frozen --no-dev \\
    --no-install-project
COPY usecase.toml ./
COPY src ./src
ENV PATH="/opt/usecase/.venv/bin:$PATH" PYTHONPATH="/opt/usecase/src" BIND_TO_HOST="0.0.0.0"
EXPOSE 8080
ENTRYPOINT ["python", "-m", "usecase"]
"""
SHOW = """\
import json, os, sys
import idna
print(json.dumps([sys.prefix, idna.__file__, __file__, os.getcwd(), os.environ["BIND_TO_HOST"]]))
"""


@pytest.fixture
def docker(tmp_path: Path) -> Docker:
    return Docker(tmp_path / "data")


@pytest.fixture(scope="session")
def locked_project(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A project's pyproject.toml, and its uv.lock as uv makes it."""
    folder = tmp_path_factory.mktemp("locked")
    text = (
        '[project]\nname = "usecase"\nversion = "1"\nrequires-python = ">=3.11"\n'
        'dependencies = ["idna==3.10"]\n'
    )
    (folder / "pyproject.toml").write_text(text)
    subprocess.run([find_uv_bin(), "lock", "--quiet"], cwd=folder, check=True)
    return {"pyproject.toml": text, "uv.lock": (folder / "uv.lock").read_text()}


@pytest.fixture
def project(tmp_path: Path, locked_project: dict[str, str]) -> Path:
    ignored = "*\n!pyproject.toml\n!uv.lock\n!usecase.toml\n!src/**\n**/__pycache__\n"
    files = {
        ".dockerignore": ignored,
        "Dockerfile": DOCKERFILE,
        "src/usecase/__main__.py": SHOW,
        "usecase.toml": "",
    }
    return write(tmp_path / "project", files | locked_project)


def test_a_project_runs_with_what_its_lock_file_says(docker: Docker, project: Path) -> None:
    arguments = ["--tag", "cdkasset-1", "--file", "Dockerfile", "--platform", "linux/amd64"]
    base = f"public.ecr.aws/docker/library/python:{VERSION}-slim@sha256:{'a' * 64}"
    arguments += ["--build-arg", f"PYTHON_IMAGE={base}"]
    docker.run("build", *arguments, ".", cwd=project)

    image = docker.image("cdkasset-1")
    prefix, module, main, cwd, bind = json.loads(run_image(image))
    assert image.root == Path(cwd)
    assert image.root.is_relative_to(docker.data_dir / "images")
    assert Path(prefix) == image.root / ".venv"
    assert Path(module).is_relative_to(prefix)
    assert Path(main) == image.root / "src/usecase/__main__.py"
    assert bind == "0.0.0.0"  # noqa: S104 - the value of a variable, nothing listens


def test_an_unchanged_context_is_done_at_once(docker: Docker, project: Path) -> None:
    docker.run("build", "-t", "a", ".", cwd=project)
    first = docker.image("a")
    layers = docker.layers()

    done = docker.run("build", "-t", "b", ".", cwd=project)

    assert docker.image("b") == first
    assert docker.layers() == layers
    assert "RUN" not in done.stdout


def test_changed_source_is_copied_and_nothing_else(docker: Docker, project: Path) -> None:
    docker.run("build", "-t", "a", ".", cwd=project)
    (project / "src/usecase/__main__.py").write_text("print('changed')")
    assert "idna" in run_image(docker.image("a")), "an image changed with the source tree"

    done = docker.run("build", "-t", "b", ".", cwd=project)

    assert "RUN" not in done.stdout
    assert run_image(docker.image("b")) == "changed\n"
    assert "idna" in run_image(docker.image("a"))
    assert len(docker.layers()) == 3  # one environment, two images
    venvs = {(docker.image(name).root / ".venv").resolve() for name in "ab"}
    assert len(venvs) == 1


def test_a_changed_lock_file_makes_a_new_environment(docker: Docker, project: Path) -> None:
    docker.run("build", "-t", "a", ".", cwd=project)
    lock = project / "uv.lock"
    lock.write_text(lock.read_text() + "\n# changed\n")

    done = docker.run("build", "-t", "a", ".", cwd=project)

    assert "RUN uv sync" in done.stdout
    assert len(docker.layers()) == 4


def test_a_missing_lock_file_is_named_with_the_fix(docker: Docker, project: Path) -> None:
    (project / "uv.lock").unlink()

    error = docker.run("build", "-t", "a", ".", cwd=project, status=1).stderr

    assert "uv.lock" in error
    assert "`uv lock`" in error
    assert "line 6" in error
    docker.run("inspect", "a", status=1)


def test_a_failing_run_leaves_nothing(docker: Docker, tmp_path: Path) -> None:
    folder = context(tmp_path, "WORKDIR /app\nRUN python -c \"import sys; sys.exit('told why')\"\n")

    done = docker.run("build", "-t", "a", str(folder), status=1)

    assert "told why" in done.stderr
    assert "status 1" in done.stderr
    assert docker.layers() == set()
    docker.run("inspect", "a", status=1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_ended_build_leaves_nothing_that_counts(
    docker: Docker, tmp_path: Path, number: signal.Signals
) -> None:
    program = (
        "import time; from pathlib import Path\n"
        "Path('begun').touch(); end = time.monotonic() + 60\n"
        "while not Path('../../go-on').exists() and time.monotonic() < end: time.sleep(0.01)\n"
    )
    folder = context(
        tmp_path, "WORKDIR /app\nCOPY go.py ./\nRUN python go.py\n", {"go.py": program}
    )
    build = docker.start("build", "-t", "a", str(folder))
    until(lambda: any((docker.data_dir / "images").glob("*/app/begun")))
    (begun,) = (docker.data_dir / "images").glob("*/app/begun")

    build.send_signal(number)
    build.wait(timeout=30)

    docker.run("inspect", "a", status=1)
    first = begun.stat().st_mtime_ns if begun.exists() else None
    next_build = docker.start("build", "-t", "a", str(folder))
    if number == signal.SIGKILL:  # nobody could tidy up; what still runs keeps the next one waiting
        time.sleep(0.5)
        assert begun.stat().st_mtime_ns == first
    else:
        assert first is None
        assert build.returncode == 128 + number
    (docker.data_dir / "images/go-on").touch()

    assert "RUN python go.py" in next_build.communicate(timeout=30)[0]
    build.communicate(timeout=30)
    assert docker.image("a").root == begun.parent
    assert len(docker.layers()) == 1


def test_builds_of_the_same_context_at_once_make_one_image(docker: Docker, project: Path) -> None:
    builds = [docker.start("build", "-t", f"n{i}", ".", cwd=project) for i in range(3)]
    printed = "".join(build.communicate(timeout=120)[0] for build in builds)

    assert [build.returncode for build in builds] == [0, 0, 0]
    assert printed.count("RUN uv sync") == 1
    assert docker.image("n0") == docker.image("n1") == docker.image("n2")


def test_nothing_of_the_builder_s_environment_comes_in(docker: Docker, tmp_path: Path) -> None:
    code = "import json, os; json.dump(dict(os.environ), open('env.json', 'w'))"
    folder = context(tmp_path, f'WORKDIR /app\nARG A=1\nENV B="$A two"\nRUN python -c "{code}"\n')
    docker.env |= {"AWS_SECRET_ACCESS_KEY": "s", "PYTHONPATH": "/x", "VIRTUAL_ENV": "/y"}
    docker.env |= {"HTTPS_PROXY": docker.env.get("HTTPS_PROXY", ""), "MY_OWN": "x"}

    docker.run("build", "-t", "a", "--build-arg", "A=one", str(folder))

    env = json.loads((docker.image("a").root / "env.json").read_text())
    assert env["B"] == "one two"
    assert env["HTTPS_PROXY"] == docker.env["HTTPS_PROXY"]
    assert not env.keys() & {"AWS_SECRET_ACCESS_KEY", "PYTHONPATH", "VIRTUAL_ENV", "MY_OWN"}
    assert env["PATH"].startswith(f"{docker.image('a').root.parent}/usr/local/bin:")
    assert docker.image("a").env == {"B": "one two"}


def test_the_project_around_the_data_folder_is_left_alone(tmp_path: Path, project: Path) -> None:
    """uv would find pyproject.toml and .venv of the folders above."""
    docker = Docker(project / ".local/aws")
    sync = context(tmp_path, "RUN pip install uv\nWORKDIR /app\nRUN uv sync --no-dev\n")
    error = docker.run("build", "-t", "a", str(sync), status=1).stderr
    assert "WORKDIR /app has no pyproject.toml" in error

    subprocess.run([find_uv_bin(), "venv", "--quiet"], cwd=project, check=True)
    pip = "RUN pip install uv\nWORKDIR /app\nRUN uv pip install --system idna==3.10\n"
    show = 'ENTRYPOINT ["python", "-c", "import idna; print(idna.__file__)"]\n'
    docker.run("build", "-t", "a", str(context(tmp_path, pip + show)))

    image = docker.image("a")
    assert run_image(image).startswith(f"{image.root.parent}/usr/local/lib/")
    assert not list((project / ".venv").rglob("idna"))


def test_pip_installs_into_the_image(docker: Docker, tmp_path: Path) -> None:
    folder = context(
        tmp_path,
        "COPY requirements.txt /tmp/\nRUN pip install --quiet -r /tmp/requirements.txt\n"
        'COPY show.py /opt/program/\nCMD ["python", "/opt/program/show.py"]\n',
        {"requirements.txt": "idna==3.10\n", "show.py": "import idna; print(idna.__file__)"},
    )

    docker.run("build", "-t", "a", str(folder))

    image = docker.image("a")
    assert image.command[1] == f"{image.root}/opt/program/show.py".replace("//", "/")
    assert run_image(image).startswith(str(image.root / "usr/local/lib"))


def test_python_that_is_not_on_this_machine_is_replaced_with_a_word(
    docker: Docker, tmp_path: Path
) -> None:
    folder = write(tmp_path / "c", {"Dockerfile": "FROM python:3.99-slim\nWORKDIR /app\n"})

    done = docker.run("build", "-t", "a", str(folder))

    assert "Python 3.99 is not on this machine" in done.stdout
    assert "3.99" not in run_image(docker.image("a"), "python", "--version")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["build", "-t", "a", "--secret", "id=b", "."], "--secret"),
        (["build", "-t", "a", "--target", "b", "."], "--target"),
        (["build", "-t", "a", "--build-arg", "B", "."], "--build-arg B"),
        (["build", "-t", "a", "--output", "type=tar", "."], "type=tar"),
        (["build", "-t", "a", "--output", "type=docker,push=true", "."], "push=true"),
        (["build", "-t", "a", "--output", "oci-mediatypes=false", "."], "type=docker"),
        (["build", "-t", "a", "-o", "type=docker", "-o", "type=image", "."], "only one output"),
        (["build", "."], "--tag"),
        (["run", "a"], "'run'"),
        (["images", "--filter", "label=a"], "label=a"),
    ],
)
def test_wrong_use_is_told_with_status_2(docker: Docker, arguments: list[str], told: str) -> None:
    assert told in docker.run(*arguments, status=2).stderr


@pytest.mark.parametrize("value", ["", "relative/data"])
def test_the_data_folder_has_to_be_named(docker: Docker, value: str) -> None:
    docker.env["LOCAL_AWS_DATA_DIR"] = value
    # Not 1, which the AWS CDK takes for an image that is not there yet.
    assert "LOCAL_AWS_DATA_DIR" in docker.run("inspect", "a", status=2).stderr


def test_no_cache_does_every_step_again(docker: Docker, tmp_path: Path) -> None:
    folder = context(tmp_path, 'RUN python -c "print(1 + 1)"\n')
    docker.run("build", "-t", "a", str(folder))
    assert "RUN" not in docker.run("build", "-t", "a", str(folder)).stdout
    before = docker.image("a")

    assert "\n2\n" in docker.run("build", "-t", "a", "--no-cache", str(folder)).stdout
    assert docker.image("a") != before
    assert before.root.is_dir()  # something may run in it


def test_names_are_given_and_listed_as_the_cdk_asks(docker: Docker, tmp_path: Path) -> None:
    docker.run("build", "--tag", "cdkasset-1", str(context(tmp_path, "WORKDIR /app\n")))
    docker.run("--config", str(tmp_path), "tag", "cdkasset-1", "registry/assets:1")

    listing = ["images", "--format", "{{.Repository}}:{{.Tag}}", "--filter"]
    assert docker.run(*listing, "reference=*/*:1").stdout == "registry/assets:1\n"
    assert docker.run(*listing, "reference=*/*:2").stdout == ""
    assert docker.image("registry/assets:1") == docker.image("cdkasset-1:latest")
    docker.run("tag", "unknown", "b", status=1)
    # Only what is pushed can be run.
    with pytest.raises(UnknownImage):
        Images(docker.data_dir).resolve("registry/assets:1")


def test_an_image_whose_folder_was_removed_is_not_there(docker: Docker, tmp_path: Path) -> None:
    docker.run("build", "-t", "a", str(context(tmp_path, "WORKDIR /app\n")))
    docker.image("a").root.rmdir()

    docker.run("inspect", "a", status=1)


def test_login_takes_the_password(docker: Docker) -> None:
    docker.run("login", "--username", "AWS", "--password-stdin", "registry", stdin="secret")
