"""The folder that COPY copies from, less what .dockerignore leaves out.

Reference: https://docs.docker.com/build/concepts/context/#dockerignore-files
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from local_aws.images.dockerfile import DockerfileError

_WILDCARD = re.compile(r"[*?\[]")


class BuildContext:
    """The files that COPY may copy."""

    def __init__(self, folder: Path, dockerfile: Path, outside: Path) -> None:
        """Read .dockerignore.

        Args:
            folder: The build context.
            dockerfile: The Dockerfile, which may have a `.dockerignore` of its own.
            outside: A folder that is never part of the context, even when it is inside.

        Raises:
            DockerfileError: The context is not a folder.
        """
        if not folder.is_dir():
            raise DockerfileError(f"{folder}: the build context is not a folder")
        self._folder = folder.resolve()
        self._outside = outside.resolve()
        self._ignored = _Ignored.of(folder, dockerfile)

    def sources(self, source: str) -> list[Path]:
        """Return the files and folders that a source of COPY names, which may have wildcards.

        Raises:
            DockerfileError: There is none, or it is outside the context.
        """
        pattern = posixpath.normpath(source.lstrip("/") or ".")
        if pattern.startswith(".."):
            raise DockerfileError(f"{source}: is outside the build context {self._folder}")
        if pattern == ".":
            return [self._folder]
        if _WILDCARD.search(pattern):
            matches = sorted(self._folder.glob(pattern))
        else:
            matches = [p for p in [self._folder / pattern] if p.exists() or p.is_symlink()]
        kept = [match for match in matches if self._kept(match)]
        if not kept:
            fix = "; make it with `uv lock`" if pattern == "uv.lock" and not matches else ""
            why = "left out by .dockerignore" if matches else f"not in {self._folder}"
            raise DockerfileError(f"{source}: {why}{fix}")
        return kept

    def files(self, source: Path) -> Iterator[tuple[Path, str]]:
        """Return a file, or the files of a folder, each with its path below the source.

        Raises:
            DockerfileError: A link leads out of the context.
        """
        target = self._inside(source)  # a source that is a link stands for what it leads to
        if target.is_dir():
            for file in self._walk(target):
                self._inside(file)
                yield file, file.relative_to(target).as_posix()
        else:
            yield target, source.name

    def _inside(self, path: Path) -> Path:
        target = path.resolve()
        if not target.is_relative_to(self._folder):
            raise DockerfileError(f"{path}: a link leads out of the build context")
        return target

    def _walk(self, folder: Path) -> Iterator[Path]:
        for entry in sorted(folder.iterdir()):
            if _is_folder(entry):
                if not self._skipped(entry):
                    yield from self._walk(entry)
            elif self._kept(entry) and (entry.is_file() or entry.is_symlink()):
                yield entry

    def _kept(self, path: Path) -> bool:
        if self._name(path) not in self._ignored:
            return path != self._outside
        # Of a folder that is left out, files may be brought back.
        return _is_folder(path) and not self._skipped(path) and any(self._walk(path))

    def _skipped(self, folder: Path) -> bool:
        return folder == self._outside or self._ignored.whole(self._name(folder))

    def _name(self, path: Path) -> str:
        return path.relative_to(self._folder).as_posix()


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


class _Ignored:
    """Which files of a build context .dockerignore leaves out; the last rule that fits decides.

    A rule is about a file when it fits its path in the context or a folder that it is in.
    """

    def __init__(self, text: str) -> None:
        self._rules: list[tuple[bool, re.Pattern[str]]] = []
        for line in text.splitlines():
            rule = line.strip()
            if rule and not rule.startswith("#"):
                brings_back = rule.startswith("!")
                self._rules.append((brings_back, _pattern(rule.removeprefix("!"))))

    @classmethod
    def of(cls, context: Path, dockerfile: Path) -> _Ignored:
        """Read the rules: those of `<Dockerfile>.dockerignore` come before the context's."""
        own = dockerfile.with_name(f"{dockerfile.name}.dockerignore")
        for file in (own, context / ".dockerignore"):
            if file.is_file():
                try:
                    return cls(file.read_text())
                except re.error as error:
                    raise DockerfileError(f"{file}: [{error.pattern!s}]: {error.msg}") from error
        return cls("")

    def __contains__(self, path: str) -> bool:
        """Tell whether a file, by its path in the context with slashes, is left out."""
        ignored = False
        for brings_back, pattern in self._rules:
            if ignored == brings_back and pattern.fullmatch(path):
                ignored = not brings_back
        return ignored

    def whole(self, folder: str) -> bool:
        """Tell whether nothing of a folder can be in the image, so that it need not be read."""
        return folder in self and not any(brings_back for brings_back, _ in self._rules)


def _pattern(rule: str) -> re.Pattern[str]:
    """Translate a rule as Go's filepath.Match reads it, with `**` for any number of folders."""
    parts = [part for part in rule.strip().split("/") if part not in ("", ".")]
    expression = ""
    for part in parts:
        if part == "**":
            expression += r"(?:[^/]+/)*"
            continue
        for piece in re.findall(r"\*|\?|\\.|\[\^?[^]]+\]|.", part):
            if piece == "*":
                expression += r"[^/]*"
            elif piece == "?":
                expression += r"[^/]"
            elif piece.startswith("[") and len(piece) > 1:
                expression += piece
            else:
                expression += re.escape(piece.removeprefix("\\") or piece)
        expression += "/"
    if parts and parts[-1] == "**":
        return re.compile(f"{expression}.+", re.DOTALL)
    # A file is left out with the folder that it is in.
    return re.compile(f"{expression.removesuffix('/')}(?:/.*)?", re.DOTALL)
