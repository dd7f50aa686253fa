"""What a Dockerfile may say, and what it does: each is built by `local-aws-docker`."""

from __future__ import annotations

from pathlib import Path

import pytest
from docker_process import Docker, context, run_image, write

from local_aws.images.images import Images, UnknownImage


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Docker:
    """One data folder for all, so that Python is set up once; tests use names of their own."""
    return Docker(tmp_path_factory.mktemp("data"))


@pytest.mark.parametrize(
    ("dockerfile", "told"),
    [
        ("FROM ubuntu:24.04", "ubuntu:24.04"),
        ("FROM python:3.12\nADD a b", "line 2: ADD is not supported"),
        ("FROM python:3.12\nHEALTHCHECK NONE", "HEALTHCHECK is not supported"),
        ("FROM python:3.12 AS a\nFROM python:3.12", "one build stage"),
        ("FROM python:3.12\nRUN apt-get source a", "apt-get: there is no container"),
        ("FROM python:3.12\nRUN rm -rf /var", "rm: there is no container"),
        ("FROM python:3.12\nRUN pip install a; rm b", "only && is supported"),
        ("FROM python:3.12\nRUN pip install $(cat a)", "only && is supported"),
        ("FROM python:3.12\nRUN pip install a > b", "only && is supported"),
        ("FROM python:3.12\nRUN pip install -r /etc/a", "/etc/a: is not in the image"),
        ("FROM python:3.12\nRUN python -m venv --x=/etc/a", "/etc/a: is not in the image"),
        ("FROM python:3.12\nRUN --mount=type=secret,id=a pip install b", "--mount"),
        ("FROM python:3.12\nRUN uv python install 3.12", "uv python"),
        ("FROM python:3.12\nRUN uv venv", "RUN pip install uv"),
        ("FROM python:3.12\nCMD python a.py", "needs a JSON list"),
        ("FROM python:3.12\nENTRYPOINT [1]", "needs a JSON list"),
        ("FROM python:3.12\nCOPY ../a /b", "outside the build context"),
        ("FROM python:3.12\nCOPY missing /b", "COPY missing: not in "),
        ("FROM python:3.12\nCOPY ignored.txt /b", "left out by .dockerignore"),
        ("FROM python:3.12\nCOPY away /b", "leads out of the build context"),
        ("FROM python:3.12\nCOPY --from=node:22 /a /b", "--from=node:22"),
        ("FROM python:3.12\nCOPY one", "needs a source and a destination"),
        ("FROM python:3.12\nENV A=1 B", "B: needs name=value"),
        ("FROM python:3.12\nENV A='$B'", "single quotes"),
        ("FROM python:3.12\nENV A=${B%c}", "only $NAME"),
        ("FROM python:3.12\nWORKDIR", "WORKDIR needs arguments"),
        ("# escape=`\nFROM python:3.12", "escape="),
        ("RUN pip install a", "before FROM"),
        ("# nothing", "no instruction"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(
    docker: Docker, tmp_path: Path, dockerfile: str, told: str
) -> None:
    folder = write(tmp_path / "c", {"Dockerfile": dockerfile, "a": "", "ignored.txt": ""})
    (folder / ".dockerignore").write_text("*.txt\n")
    (folder / "away").symlink_to(tmp_path)

    assert told in docker.run("build", "-t", tmp_path.name, str(folder), status=1).stderr
    with pytest.raises(UnknownImage):
        Images(docker.data_dir / "images").resolve(tmp_path.name)


def test_an_argument_that_no_arg_takes_is_refused(docker: Docker, tmp_path: Path) -> None:
    folder = context(tmp_path, "WORKDIR /app\n")
    error = docker.run("build", "-t", "a", "--build-arg", "B=1", str(folder), status=1).stderr
    assert "--build-arg B" in error


def copied(docker: Docker, folder: Path) -> list[str]:
    docker.run("build", "-t", "copied", str(folder))
    root = docker.image("copied").root
    found = (f for f in root.rglob("*") if not f.is_relative_to(root / "usr") and not f.is_dir())
    return sorted(file.relative_to(root).as_posix() for file in found)


@pytest.mark.parametrize(
    ("copy", "expected"),
    [
        ("COPY a.py /b.py", ["b.py"]),
        ("COPY a.py /d/", ["d/a.py"]),
        ("COPY a.py f /d/", ["d/a.py", "d/g/h.txt", "d/i.py"]),
        ("COPY f /d", ["d/g/h.txt", "d/i.py"]),
        ("COPY f/g/../i.py /d/x/y.py", ["d/x/y.py"]),
        ("COPY *.py f/*.py /d/", ["d/a.py", "d/i.py", "d/link.py"]),
        ('COPY ["a.py", "/d/e f.py"]', ["d/e f.py"]),
        ("COPY a.py /d/\nCOPY f/i.py /d", ["d/a.py", "d/i.py"]),
        ("COPY --chown=app:app a.py /", ["a.py"]),
        ("ARG TO=/d\nCOPY a.py ${TO}/${NOT:-e}/", ["d/e/a.py"]),
        ("COPY . /", [".dockerignore", "Dockerfile", "a.py", "f/g/h.txt", "f/i.py", "link.py"]),
    ],
)
def test_copy_copies_as_docker_does(
    docker: Docker, tmp_path: Path, copy: str, expected: list[str]
) -> None:
    files = {"a.py": "", "f/g/h.txt": "", "f/i.py": "", "data/x": "", "f/no.pyc": ""}
    folder = context(tmp_path, copy, files)
    (folder / ".dockerignore").write_text("data\n**/*.pyc\n")
    (folder / "link.py").symlink_to("a.py")

    assert copied(docker, folder) == expected


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ("", ["Dockerfile", "a.txt", "b/a.txt", "b/c/a.txt", "b/c/d.md"]),
        ("a.txt", ["Dockerfile", "b/a.txt", "b/c/a.txt", "b/c/d.md"]),
        ("*/a.txt", ["Dockerfile", "a.txt", "b/c/a.txt", "b/c/d.md"]),
        ("**/a.txt", ["Dockerfile", "b/c/d.md"]),
        ("b\n!b/c/d.md", ["Dockerfile", "a.txt", "b/c/d.md"]),
        ("# b\n/b/\n", ["Dockerfile", "a.txt"]),
        ("*\n!b/**\n**/d.?d", ["b/a.txt", "b/c/a.txt"]),
        ("[a-b]*\n", ["Dockerfile"]),
    ],
)
def test_dockerignore_means_what_it_means_to_docker(
    docker: Docker, tmp_path: Path, rules: str, expected: list[str]
) -> None:
    files = {"a.txt": "", "b/a.txt": "", "b/c/a.txt": "", "b/c/d.md": ""}
    folder = context(tmp_path, "COPY . .", files)
    (folder / "Dockerfile.dockerignore").write_text(f"{rules}\n*.dockerignore\n")

    assert copied(docker, folder) == expected


def test_the_data_folder_is_not_copied_into_an_image(tmp_path: Path) -> None:
    folder = context(tmp_path, "COPY . /app\n", {"a.py": ""})
    docker = Docker(folder / ".local/aws")
    copied(docker, folder)  # makes the folder

    assert copied(docker, folder) == ["app/Dockerfile", "app/a.py"]


def test_later_files_take_the_place_of_those_below(docker: Docker, tmp_path: Path) -> None:
    folder = context(
        tmp_path,
        "WORKDIR /app\nCOPY a.py b.py p/\nRUN python -m compileall -q p\nCOPY new.py p/a.py\n",
        {"a.py": "old", "b.py": "b = 1", "new.py": "new"},
    )
    (folder / "a.py").write_text("old = 1")
    docker.run("build", "-t", "a", str(folder))

    root = docker.image("a").root
    assert (root / "p/a.py").read_text() == "new"
    assert (root / "p/b.py").read_text() == "b = 1"
    below = [file.read_text() for file in (docker.data_dir / "images").glob("*/app/p/a.py")]
    assert sorted(below) == ["new", "old = 1"]


def test_uv_of_its_own_image_is_the_one_at_hand(docker: Docker, tmp_path: Path) -> None:
    folder = context(
        tmp_path,
        "COPY --from=ghcr.io/astral-sh/uv:0.1.2 /uv /uvx /bin/\n"
        "RUN --mount=type=cache,target=/var/cache/uv uv pip install --system idna==3.10\n"
        'CMD ["python", "-c", "import idna; print(idna.__file__)"]\n',
    )

    done = docker.run("build", "-t", "uv", str(folder))

    assert "ghcr.io/astral-sh/uv:0.1.2: uv " in done.stdout
    image = docker.image("uv")
    assert run_image(image).startswith(str(image.root))


def test_packages_of_the_system_are_named_and_left_out(docker: Docker, tmp_path: Path) -> None:
    folder = context(
        tmp_path,
        "RUN apt-get update && apt-get -y install --no-install-recommends libgomp1 git \\\n"
        " && rm -rf /var/lib/apt/lists/*\n"
        'CMD ["python", "-c", "print(1)"]\n',
    )

    done = docker.run("build", "-t", "system", str(folder))

    assert "apt-get install libgomp1 git: left out; this machine's are used" in done.stdout
    assert run_image(docker.image("system")) == "1\n"
