"""What a Dockerfile says to do, worked out and checked before any of it is done.

Only what can be done without a container engine is taken: Python, the packages that it installs,
and files of the build context. All else is refused by name.
"""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from local_aws.images.build_context import BuildContext
from local_aws.images.dockerfile import DockerfileError, Instruction, parse, substitute

# Where the official Python images have Python, and their PATH.
PYTHON_PREFIX = "/usr/local"
_BASE_PATH = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
_PYTHON_IMAGE = re.compile(
    r"(?:(?:docker\.io|public\.ecr\.aws/docker)/)?(?:library/)?python"
    r"(?::(?P<tag>[\w.-]+))?(?:@sha256:[0-9a-f]{64})?"
)
_UV_IMAGE = re.compile(r"ghcr\.io/astral-sh/uv(?::[\w.-]+)?(?:@sha256:[0-9a-f]{64})?")
_UV_PACKAGE = re.compile(r"uv(?:[=<>~!].*)?")
# RUN runs on this machine, with its user's rights: only programs that keep to the image's folders.
_PROGRAMS = ("pip", "pip3", "python", "python3", "uv")
_UV_COMMANDS = ("pip", "sync", "venv")
# Packages of the system are left out: what runs here finds the libraries of this machine.
_APT_COMMANDS = ("clean", "install", "update")
_APT_CACHE = ("rm", "-rf", "/var/lib/apt/lists/*")
_UNUSED = "local-aws.unused-libraries"  # a label
_ML = "/opt/ml"  # mounted when a container starts


@dataclass(frozen=True)
class MakeFolder:
    """WORKDIR: a folder of the image."""

    folder: str

    def digest(self) -> str:
        """Return what changes whenever the outcome would."""
        return _digest("folder", self.folder)


@dataclass(frozen=True)
class Copy:
    """COPY: files of the build context, each with its path in the image.

    The folder is the one that they are copied into, or None when one file gets a path of its own.
    """

    folder: str | None
    files: tuple[tuple[Path, str], ...]

    def digest(self) -> str:
        """Return what changes whenever the outcome would."""
        return _digest("copy", self.folder, [[path, _content(file)] for file, path in self.files])


@dataclass(frozen=True)
class InstallUv:
    """The uv that comes with the local AWS, in the place of the one that the Dockerfile names."""

    asked: str

    def digest(self) -> str:
        """Return what changes whenever the outcome would."""
        return _digest("uv")


@dataclass(frozen=True)
class SystemPackages:
    """RUN apt-get install: left to this machine, which may have them or not."""

    packages: tuple[str, ...]

    def digest(self) -> str:
        """Return what changes whenever the outcome would."""
        return _digest("system packages", self.packages)


@dataclass(frozen=True)
class Run:
    """RUN: one program after the other."""

    text: str
    commands: tuple[tuple[str, ...], ...]
    env: dict[str, str]
    folder: str
    owned: frozenset[str]

    def digest(self) -> str:
        """Return what changes whenever the outcome would."""
        return _digest("run", self.commands, self.env, self.folder)

    @property
    def needs_pip(self) -> bool:
        """Whether pip itself has to be there."""
        return any(
            command[0].startswith("pip") or command[1:3] == ("-m", "pip")
            for command in self.commands
        )


Step = MakeFolder | Copy | InstallUv | SystemPackages | Run


@dataclass
class Recipe:
    """All that an image is made of.

    Attributes:
        context: The build context.
        image: What FROM names.
        tag: The tag of that, or None when it has none.
        python: MAJOR.MINOR of FROM, or None when it names none.
        steps: What to do, in order.
        env: The environment that the image sets, PATH among it.
        folder: WORKDIR.
        entrypoint: ENTRYPOINT in exec form.
        command: CMD in exec form.
        owned: Paths of the image, below which all is in the image's folders.
        packages: What apt-get is to install.
        unused: Names of shared libraries that files need which nothing loads.
    """

    context: Path
    image: str = ""
    tag: str | None = None
    python: str | None = None
    steps: list[Step] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=lambda: {"PATH": _BASE_PATH})
    folder: str = "/"
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    owned: set[str] = field(default_factory=lambda: {PYTHON_PREFIX})
    packages: list[str] = field(default_factory=list)
    unused: set[str] = field(default_factory=set)

    def environment_steps(self) -> list[Step]:
        """Return the steps up to the last that runs or installs anything."""
        count = len(self.steps)
        while count and isinstance(self.steps[count - 1], MakeFolder | Copy):
            count -= 1
        return self.steps[:count]

    def digest(self, steps: Iterable[Step], salt: str) -> str:
        """Return what changes whenever the outcome of these steps would, or the salt."""
        base = self.image, sorted(self.unused)
        return _digest(base, [step.digest() for step in steps], salt)[:32]


def map_path(text: str, owned: Iterable[str], root: Path) -> str:
    """Replace an absolute path of the image by where it is on this machine.

    Args:
        text: A path, or anything else, which is returned as it is.
        owned: Paths of the image that are in its folder, with all that is below them.
        root: That folder, the image's `/`.
    """
    for path in owned:
        if text == path or text.startswith(f"{path}/"):
            # What is mounted at /opt/ml hides what the image has there, unless it named it itself.
            if text.startswith(_ML) and not path.startswith(_ML):
                continue
            return f"{root}{text}"
    return text


def map_value(text: str, owned: Iterable[str], root: Path) -> str:
    """Replace the paths in a value that may be several, separated by colons, as in PATH."""
    return ":".join(map_path(part, owned, root) for part in text.split(":"))


def read(context: Path, dockerfile: Path, arguments: dict[str, str], outside: Path) -> Recipe:
    """Work out what a Dockerfile says to do.

    Args:
        context: Folder that COPY copies from.
        dockerfile: The Dockerfile.
        arguments: Values for ARG.
        outside: A folder that is never part of the context, even when it is inside.

    Raises:
        DockerfileError: An instruction is wrong or not supported, or a file is not there.
    """
    if not dockerfile.is_file():
        raise DockerfileError(f"{dockerfile}: no such Dockerfile; name it with --file")
    return _Reader(context, dockerfile, arguments, outside).read()


class _Reader:
    def __init__(
        self, context: Path, dockerfile: Path, arguments: dict[str, str], outside: Path
    ) -> None:
        self._context = BuildContext(context, dockerfile, outside)
        self._dockerfile = dockerfile
        self._given = arguments
        self._recipe = Recipe(context.resolve())
        self._arguments: dict[str, str] = {}  # ARG, from its line on
        self._global: dict[str, str] = {}  # ARG before FROM
        self._in_stage = False

    def read(self) -> Recipe:
        handlers: dict[str, Callable[[Instruction], None]] = {
            "ARG": self._arg,
            "CMD": self._cmd,
            "COPY": self._copy,
            "ENTRYPOINT": self._entrypoint,
            "ENV": self._env,
            "FROM": self._from,
            "LABEL": self._label,
            "RUN": self._run,
            "WORKDIR": self._workdir,
        }
        # They say what only an engine acts on.
        handlers |= dict.fromkeys(("EXPOSE", "USER"), lambda _: None)
        for instruction in parse(self._dockerfile.read_text()):
            handler = handlers.get(instruction.name)
            if handler is None:
                raise instruction.error(f"is not supported; known are {', '.join(handlers)}")
            if not self._in_stage and instruction.name not in ("ARG", "FROM"):
                raise instruction.error("comes before FROM python:VERSION")
            handler(instruction)
        if not self._in_stage:
            raise DockerfileError("The Dockerfile has no FROM python:VERSION")
        unknown = self._given.keys() - self._arguments.keys() - self._global.keys()
        if unknown:
            raise DockerfileError(f"--build-arg {min(unknown)}: the Dockerfile has no such ARG")
        return self._recipe

    def _from(self, instruction: Instruction) -> None:
        _refuse_flags(instruction, "platform")
        if self._in_stage:
            raise instruction.error("a second time: only one build stage is supported")
        image = substitute(instruction.words()[0], self._global)
        match = _PYTHON_IMAGE.fullmatch(image)
        if match is None:
            raise instruction.error(f"{image}: only images python:VERSION are supported")
        self._recipe.image, self._recipe.tag = image, match["tag"]
        version = re.match(r"\d+(?:\.\d+)?", match["tag"] or "")
        self._recipe.python = version[0] if version else None
        self._in_stage = True

    def _arg(self, instruction: Instruction) -> None:
        for word in instruction.words():
            name, _, default = word.partition("=")
            value = self._given.get(name, self._global.get(name, self._expand(default)))
            (self._arguments if self._in_stage else self._global)[name] = value

    def _env(self, instruction: Instruction) -> None:
        # All values of one instruction see the variables as they were before it.
        pairs = {name: self._expand(value) for name, value in instruction.pairs().items()}
        self._recipe.env.update(pairs)

    def _label(self, instruction: Instruction) -> None:
        # All but one say what only an engine acts on.
        self._recipe.unused.update(self._expand(instruction.pairs().get(_UNUSED, "")).split())

    def _workdir(self, instruction: Instruction) -> None:
        path = self._path(self._expand(" ".join(instruction.words())))
        self._recipe.folder = path
        if path != "/":
            self._recipe.owned.add(path)
        self._recipe.steps.append(MakeFolder(path))

    def _entrypoint(self, instruction: Instruction) -> None:
        self._recipe.entrypoint = instruction.exec_form()
        self._recipe.command = []  # an ENTRYPOINT takes a CMD before it back

    def _cmd(self, instruction: Instruction) -> None:
        self._recipe.command = instruction.exec_form()

    def _run(self, instruction: Instruction) -> None:
        for name, value in instruction.flags:
            if name != "mount" or "type=cache" not in value.split(","):  # the host's caches serve
                raise instruction.error(f"--{name}={value} is not supported")
        variables = self._arguments | self._recipe.env
        commands = []
        for words in instruction.commands():
            shell = not instruction.is_exec_form()
            command = tuple(substitute(word, variables) if shell else word for word in words)
            verb, *packages = [word for word in command[1:] if not word.startswith("-")] or [""]
            if command[0] == "apt-get" and verb in _APT_COMMANDS:
                if packages:
                    self._recipe.steps.append(SystemPackages(tuple(packages)))
                    self._recipe.packages += packages
                continue
            if command == _APT_CACHE:
                continue
            self._check_command(instruction, command)
            if command[0] in ("pip", "pip3") and (asked := _only_uv(command)):
                self._recipe.steps.append(InstallUv(asked))
            else:
                commands.append(command)
        if commands:
            text = " ".join(instruction.value.split())
            owned = frozenset(self._recipe.owned)
            run = Run(text, tuple(commands), variables, self._recipe.folder, owned)
            self._recipe.steps.append(run)

    def _check_command(self, instruction: Instruction, command: tuple[str, ...]) -> None:
        program = command[0]
        if program not in _PROGRAMS:
            raise instruction.error(
                f"{program}: there is no container that it could run in; only "
                f"{', '.join(_PROGRAMS)} are supported. Install packages with pip or uv, make "
                "folders with WORKDIR, set variables with ENV"
            )
        if program == "uv" and (len(command) == 1 or command[1] not in _UV_COMMANDS):
            raise instruction.error(
                f"{' '.join(command[:2])}: of uv only {', '.join(_UV_COMMANDS)} are supported"
            )
        for word in command[1:]:
            path = word.partition("=")[2] if word.startswith("-") else word
            if path.startswith("/") and path == map_path(path, self._recipe.owned, Path("/image")):
                raise instruction.error(f"{path}: is not in the image; name it in WORKDIR or COPY")

    def _copy(self, instruction: Instruction) -> None:
        # A file belongs to whoever builds, and links instead of copies are an engine's affair.
        _refuse_flags(instruction, "chown", "from", "link")
        words = [self._expand(word) for word in instruction.words()]
        if len(words) < 2:
            raise instruction.error("needs a source and a destination")
        *sources, destination = words
        origin = dict(instruction.flags).get("from")
        if origin is not None:
            if not _UV_IMAGE.fullmatch(origin) or not {*sources} <= {"/uv", "/uvx"}:
                raise instruction.error(f"--from={origin} is supported for /uv of uv's image only")
            self._recipe.steps.append(InstallUv(origin))
            return
        try:
            found = [file for source in sources for file in self._context.sources(source)]
            files = [file for source in found for file in self._context.files(source)]
        except DockerfileError as error:
            raise instruction.error(str(error)) from error
        target = self._path(destination)
        into = destination.endswith(("/", "/.")) or destination == "." or self._is_folder(target)
        if into or any(source.is_dir() for source in found):
            self._add_copy(target, [(file, posixpath.join(target, name)) for file, name in files])
        elif len(files) > 1:
            raise instruction.error(f"{destination}: for several files it must end with /")
        else:
            self._add_copy(None, [(files[0][0], target)])

    def _add_copy(self, folder: str | None, files: list[tuple[Path, str]]) -> None:
        self._recipe.steps.append(Copy(folder, tuple(files)))
        if folder is not None and folder != "/":
            self._recipe.owned.add(folder)
        elif folder is None:
            self._recipe.owned.update(path for _, path in files)
        else:
            self._recipe.owned.update("/" + path.split("/")[1] for _, path in files)

    def _is_folder(self, path: str) -> bool:
        made = [step.folder for step in self._recipe.steps if isinstance(step, MakeFolder | Copy)]
        return path == "/" or any(f"{folder}/".startswith(f"{path}/") for folder in made if folder)

    def _path(self, text: str) -> str:
        path = posixpath.normpath(posixpath.join(self._recipe.folder, text))
        return "/" + path.lstrip("/")  # POSIX keeps two leading slashes

    def _expand(self, text: str) -> str:
        variables = self._arguments | self._recipe.env if self._in_stage else self._global
        return substitute(text, variables)


def _refuse_flags(instruction: Instruction, *known: str) -> None:
    for name, _ in instruction.flags:
        if name not in known:
            raise instruction.error(f"--{name} is not supported")


def _only_uv(command: tuple[str, ...]) -> str | None:
    if command[1:2] != ("install",):
        return None
    packages = [word for word in command[2:] if not word.startswith("-")]
    return packages[0] if len(packages) == 1 and _UV_PACKAGE.fullmatch(packages[0]) else None


def _content(file: Path) -> list[str]:
    if file.is_symlink():
        return ["link", str(file.readlink())]
    executable = "program" if os.access(file, os.X_OK) else "file"
    return [executable, hashlib.sha256(file.read_bytes()).hexdigest()]


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
