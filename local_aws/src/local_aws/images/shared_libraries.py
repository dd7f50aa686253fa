"""Whether an image would have the shared libraries that its packages need.

Here a container runs on this machine and finds the machine's libraries. On AWS it has those of the
base image, those that apt-get has installed, and those that packages bring themselves.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile

_SLIM = re.compile(r"[\w.]+-slim(-bookworm|-trixie)?")
_BASE = frozenset(
    (
        # libc6, libgcc-s1, libstdc++6
        *("libanl.so.1", "libc.so.6", "libdl.so.2", "libm.so.6", "libmvec.so.1", "libnsl.so.1"),
        *("libpthread.so.0", "libresolv.so.2", "librt.so.1", "libthread_db.so.1", "libutil.so.1"),
        *("libgcc_s.so.1", "libstdc++.so.6"),
        # what Python itself needs
        *("libbz2.so.1.0", "libcrypt.so.1", "libcrypto.so.3", "libdb-5.3.so", "libffi.so.8"),
        *("libgdbm.so.6", "libhistory.so.8", "liblzma.so.5", "libreadline.so.8"),
        *("libsqlite3.so.0", "libssl.so.3", "libuuid.so.1", "libz.so.1"),
        *("libncursesw.so.6", "libpanelw.so.6", "libtinfo.so.6"),
        # what the essential packages need
        *("libacl.so.1", "libattr.so.1", "libaudit.so.1", "libblkid.so.1", "libcap.so.2"),
        *("libgmp.so.10", "libhogweed.so.6", "liblz4.so.1", "libmd.so.0", "libmount.so.1"),
        *("libnettle.so.8", "libpam.so.0", "libpcre2-8.so.0", "libseccomp.so.2"),
        *("libselinux.so.1", "libsmartcols.so.1", "libsystemd.so.0", "libudev.so.1"),
        *("libxxhash.so.0", "libzstd.so.1"),
    )
)
"""What every slim image has, on Debian 12 and 13.

The packages are those that https://github.com/docker-library/repo-info lists for
python:3.12-slim-bookworm and python:3.12-slim-trixie, their libraries those that the packages'
`shlibs` and lists of files name.
"""
_LOADER_OR_PYTHON = re.compile(r"ld-linux[\w-]*\.so\.\d|libpython3(\.\d+)?\.so(\.1\.0)?")
_OF_THE_DRIVER = frozenset({"libcuda.so.1", "libnvidia-ml.so.1"})  # hosts with a GPU mount them
_GLIB = re.compile(r"lib(gio|glib|gmodule|gobject|gthread)-2\.0\.so\.0")


@dataclass(frozen=True)
class Missing:
    """A library that is needed and would not be there.

    Attributes:
        library: Its name, as in `libgomp.so.1`.
        file: A file that needs it, relative to the folder that was searched.
        needed_by: Name and version of the package that the file is of; None if it is of none.
    """

    library: str
    file: Path
    needed_by: str | None

    def __str__(self) -> str:
        """Say what is missing, and where it can be had."""
        package = debian_package(self.library)
        hint = "no package of Debian is known for it"
        if package:
            hint = (
                f"by Debian's naming {package} has it: RUN apt-get update && apt-get install --yes "
                f"--no-install-recommends {package}"
            )
        return f"{self.library}, which {self.needed_by or self.file} needs ({self.file}); {hint}"


def known(tag: str | None) -> bool:
    """Tell whether it is known which libraries a tag of Docker's official Python images has.

    The larger images and those of Alpine are not among them.
    """
    return _SLIM.fullmatch(tag or "") is not None


def missing(root: Path, packages: Collection[str]) -> list[Missing]:
    """Find the libraries that files below a folder need and a slim image would not have.

    A library that lies anywhere below the folder counts as found: packages load their own by
    paths relative to their files, or beforehand in Python.

    Args:
        root: Where packages were installed.
        packages: What apt-get has installed, as it was asked to.

    Returns:
        One for each library, in the order of their names.

    Raises:
        ValueError: A file is damaged.
    """
    there: set[str] = set()
    needed: dict[str, Path] = {}
    for file in _libraries(root):
        there.add(file.name)
        for kind, name in _dynamic(file):
            if kind == "DT_SONAME":
                there.add(name)
            else:
                needed.setdefault(name, file)
    installed = {package.split("=")[0].split(":")[0].removesuffix("t64") for package in packages}
    return [
        Missing(library, file.relative_to(root), _distribution(file))
        for library, file in sorted(needed.items())
        if library not in there | _BASE | _OF_THE_DRIVER
        and not _LOADER_OR_PYTHON.fullmatch(library)
        and debian_package(library) not in installed
    ]


def debian_package(library: str) -> str | None:
    """Return the Debian package that has a library; None if its name does not tell.

    It is named after the library and its version, with a hyphen between two digits:
    https://www.debian.org/doc/debian-policy/ch-sharedlibs.html#run-time-shared-libraries. A suffix
    t64, as Debian 13 has it, may be left out.
    """
    if _GLIB.fullmatch(library):
        return "libglib2.0-0"  # five libraries in one package
    name, found, version = library.partition(".so.")
    if not found:
        return None
    hyphen = "-" if name[-1].isdigit() else ""
    return f"{name}{hyphen}{version}".lower().replace("_", "-")


def _libraries(root: Path) -> Iterator[Path]:
    """Yield the shared libraries and extension modules below a folder."""
    for file in sorted(root.rglob("*.so*")):
        if re.search(r"\.so(\.\d+)*$", file.name) and file.is_file():
            yield file


def _dynamic(file: Path) -> Iterator[tuple[str, str]]:
    """Yield what a file needs and is called: DT_NEEDED and DT_SONAME with their names."""
    with file.open("rb") as stream:
        if stream.read(4) != b"\x7fELF":
            return  # a linker's script, or of another system
        try:
            for segment in ELFFile(stream).iter_segments("PT_DYNAMIC"):
                if isinstance(segment, DynamicSegment):
                    for tag in segment.iter_tags():
                        match tag.entry.d_tag:  # pyelftools gives tags of a kind an attribute
                            case "DT_NEEDED":
                                yield "DT_NEEDED", tag.needed  # type: ignore[attr-defined]
                            case "DT_SONAME":
                                yield "DT_SONAME", tag.soname  # type: ignore[attr-defined]
        except ELFError as error:
            raise ValueError(f"{file}: is not a sound shared library: {error}") from error


def _distribution(file: Path) -> str | None:
    """Return name and version of the Python package that has installed a file."""
    for site in file.parents:
        if site.name in ("site-packages", "dist-packages"):
            for found in metadata.distributions(path=[str(site)]):
                if file.relative_to(site) in map(Path, found.files or ()):
                    return f"{found.name} {found.version}"
    return None
