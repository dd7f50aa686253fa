"""Builds an image: folders in which the steps of its Dockerfile have been done.

An image is made in two layers, each kept under the digest of all that it is made from. The first
has everything up to the last RUN. Its paths are in what RUN installs, so it is made where it stays
and is shared by all images that differ only in what comes later. The second has the files that are
copied after that, and links to the first for the rest: when only source code changes, only source
code is copied.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from local_aws.images.environments import (
    Layers,
    find_python,
    host_environment,
    output,
    prefix,
    uv_program,
)
from local_aws.images.images import Image
from local_aws.images.recipe import (
    Copy,
    InstallUv,
    MakeFolder,
    Recipe,
    Run,
    Step,
    SystemPackages,
    map_path,
    map_value,
)

_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class BuildError(Exception):
    """A step of a Dockerfile failed."""


def build(recipe: Recipe, data_dir: Path, fresh: bool = False) -> Image:
    """Build an image, unless the same has been built before.

    Args:
        recipe: What to do.
        data_dir: Folder of the local AWS; the image is in its `images`.
        fresh: Take nothing that has been built before.

    Raises:
        BuildError: A step failed. Nothing of the layer is left.
    """
    folder = data_dir / "images"
    salt = secrets.token_hex() if fresh else ""
    steps = recipe.environment_steps()
    environment = Layers(folder).get(
        recipe.digest(steps, salt), lambda root: _make_environment(root, recipe, steps)
    )
    root, rest = environment, recipe.steps[len(steps) :]
    if rest:
        root = Layers(folder).get(
            recipe.digest(recipe.steps, salt), lambda root: _make_files(root, environment, rest)
        )
    mapped = {name: map_value(value, recipe.owned, root) for name, value in recipe.env.items()}
    ours = [entry for entry in mapped.pop("PATH").split(":") if entry.startswith(f"{root}/")]
    return Image(
        root=Path(f"{root}{recipe.folder}"),
        path=":".join(ours),
        env=mapped,
        entrypoint=[map_path(word, recipe.owned, root) for word in recipe.entrypoint],
        command=[map_path(word, recipe.owned, root) for word in recipe.command],
    )


def _make_environment(root: Path, recipe: Recipe, steps: Sequence[Step]) -> None:
    pip = any(isinstance(step, Run) and step.needs_pip for step in steps)
    python = _make_python(root, recipe, pip)
    for step in steps:
        match step:
            case Run():
                _run(step, root, python)
            case InstallUv():
                _install_uv(step, root)
            case SystemPackages(packages):
                _say(f"apt-get install {' '.join(packages)}: left out; this machine's are used")
            case MakeFolder() | Copy():
                _copy(step, root)
    _check_libraries(root, recipe)


def _check_libraries(root: Path, recipe: Recipe) -> None:
    """Check that what is installed would find its shared libraries in the real image."""
    from local_aws.images import shared_libraries  # noqa: PLC0415 - as with uv's metadata

    if not shared_libraries.known(recipe.tag):
        _say(f"FROM {recipe.image}: which shared libraries it has is not known; not checked")
        return
    try:
        found = shared_libraries.missing(root, recipe.packages)
    except ValueError as error:
        raise BuildError(str(error)) from error
    missing = [each for each in found if each.library not in recipe.unused]
    if missing:
        names = " ".join(each.library for each in missing)
        listed = "\n".join(f"- {each}" for each in missing)
        raise BuildError(
            f"FROM {recipe.image}: on AWS these shared libraries would be missing:\n{listed}\n"
            f'If nothing loads what needs them: LABEL local-aws.unused-libraries="{names}"'
        )


def _make_files(root: Path, environment: Path, steps: Iterable[Step]) -> None:
    _link_entries(environment, root)
    for step in steps:
        if isinstance(step, MakeFolder | Copy):  # a layer without RUN has no other
            _copy(step, root)


def _make_python(root: Path, recipe: Recipe, pip: bool) -> str:
    """Put Python where the official images have it, and return the interpreter it is made from."""
    python = _find_python(recipe)
    seed = ["--seed"] if pip else []
    made = subprocess.run(
        [uv_program(), "venv", "--quiet", "--no-project", *seed, "--python", python, prefix(root)],
        env=host_environment(),
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if made.returncode:
        raise BuildError(f"FROM python: {made.stderr.strip()}")
    return python


def _find_python(recipe: Recipe) -> str:
    if recipe.python is not None:
        python = find_python("--no-project", recipe.python)
        if python is not None:
            return python
    # What pyproject.toml requires still holds.
    has_project = (recipe.context / "pyproject.toml").is_file()
    scope = ["--directory", str(recipe.context)] if has_project else ["--no-project"]
    python = find_python(*scope)
    if python is None:
        raise BuildError(
            f"FROM python: no Python {recipe.python or ''} on this machine; install it"
        )
    if recipe.python is not None:
        used = output([python, "--version"])
        _say(f"FROM: Python {recipe.python} is not on this machine; {used} takes its place")
    return python


def _install_uv(step: InstallUv, root: Path) -> None:
    from importlib import metadata  # noqa: PLC0415 - slow, and an image that is there needs it not

    asked, version = re.search(r"[\d.]+\d", step.asked), metadata.version("uv")
    if asked and asked[0] != version:
        _say(f"{step.asked}: uv {version}, which comes with the local AWS, takes its place")
    programs = Path(prefix(root), "bin")
    for program in (Path(uv_program()), Path(uv_program()).with_name("uvx")):
        link = programs / program.name
        link.unlink(missing_ok=True)
        link.symlink_to(program)


def _copy(step: MakeFolder | Copy, root: Path) -> None:
    if step.folder is not None:
        _own_folder(root, step.folder)
    for source, path in step.files if isinstance(step, Copy) else ():
        folder, _, name = path.rpartition("/")
        target = _own_folder(root, folder) / name
        if target.is_dir() and not target.is_symlink():
            raise BuildError(f"COPY {source.name} {path}: a folder of this name is there")
        target.unlink(missing_ok=True)
        shutil.copy2(source, target, follow_symlinks=False)


def _own_folder(root: Path, path: str) -> Path:
    """Return a folder that may be written to: links into the layer below become folders."""
    folder = root
    for name in filter(None, path.split("/")):
        folder = folder / name
        if folder.is_symlink() and folder.is_dir():
            below = folder.readlink()
            folder.unlink()
            folder.mkdir()
            _link_entries(below, folder)
        elif not folder.is_dir():
            folder.mkdir()
    return folder


def _link_entries(source: Path, target: Path) -> None:
    for entry in source.iterdir():
        (target / entry.name).symlink_to(entry)


def _run(step: Run, root: Path, python: str) -> None:
    _say(f"RUN {step.text}")
    started = time.monotonic()
    folder = Path(f"{root}{step.folder}")
    env = _run_environment(step, root, python)
    for command in step.commands:
        arguments = [_map_argument(word, step, root) for word in command]
        _run_command(step, arguments, env, root, folder)
    _say(f"  done in {time.monotonic() - started:.1f} s")


def _run_environment(step: Run, root: Path, python: str) -> dict[str, str]:
    env = host_environment() | {
        name: map_value(value, step.owned, root) for name, value in step.env.items()
    }
    env["PATH"] = f"{env['PATH']}:{_SYSTEM_PATH}"
    env["UV_PYTHON"] = python
    return env


def _map_argument(word: str, step: Run, root: Path) -> str:
    option, equals, value = word.partition("=")
    if equals and option.startswith("-"):
        return f"{option}={map_value(value, step.owned, root)}"
    return map_path(word, step.owned, root)


def _run_command(
    step: Run, command: list[str], env: dict[str, str], root: Path, folder: Path
) -> None:
    # The machine's own pip and Python are not to be found.
    inside = ":".join(part for part in env["PATH"].split(":") if part.startswith(f"{root}/"))
    program = shutil.which(command[0], path=inside)
    if program is None:
        hint = "; install it before: RUN pip install uv" if command[0] == "uv" else ""
        raise BuildError(f"RUN {step.text}: {command[0]} is not in the image{hint}")
    if command[0] == "uv":
        command, env = _keep_uv_inside(step, command, env, root, folder)
    process = subprocess.Popen(
        [program, *command[1:]],
        env=env,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        close_fds=False,  # the lock is to stay with it
    )
    try:
        status = process.wait()
    except BaseException:  # its session holds all that it started
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    if status:
        raise BuildError(f"RUN {step.text}: failed with status {status}; its output is above")


def _keep_uv_inside(
    step: Run, command: list[str], env: dict[str, str], root: Path, folder: Path
) -> tuple[list[str], dict[str, str]]:
    """Keep uv from the projects, environments and Pythons that it would find around the image."""
    if command[1] == "sync" and not (folder / "pyproject.toml").exists():
        raise BuildError(f"RUN {step.text}: WORKDIR {step.folder} has no pyproject.toml; COPY it")
    if command[1] != "pip":
        return command, env
    own, system = folder / ".venv", prefix(root)
    by_system = "--system" in command or "UV_SYSTEM_PYTHON" in env
    target = env.get("VIRTUAL_ENV", str(own) if own.is_dir() else system)
    inside = {"UV_PYTHON": f"{system if by_system else target}/bin/python"}
    env = {name: value for name, value in env.items() if name != "UV_SYSTEM_PYTHON"} | inside
    return [word for word in command if word != "--system"], env


def _say(line: str) -> None:
    print(line, flush=True)
