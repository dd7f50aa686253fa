"""Shared libraries that a wheel needs and the real base image has not: the build says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from docker_process import VERSION, Docker, write

from local_aws.images.shared_libraries import debian_package, known, missing

# Its wheel needs the system's libgomp.so.1.
INSTALL = "RUN pip install uv\nRUN uv pip install --quiet --system --no-deps lightgbm==4.6.0\n"
APT = "RUN apt-get update && apt-get install -y --no-install-recommends {} && apt-get clean\n"


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Docker:
    return Docker(tmp_path_factory.mktemp("data"))


def build(docker: Docker, folder: Path, tag: str, text: str, status: int = 0) -> tuple[str, str]:
    """Build an image; return what the command prints and its errors."""
    context = write(folder / "context", {"Dockerfile": f"FROM python:{VERSION}{tag}\n{text}"})
    done = docker.run("build", "-t", "a", str(context), status=status)
    return done.stdout, done.stderr


def test_a_library_that_the_base_image_has_not_fails_the_build(tmp_path: Path) -> None:
    docker = Docker(tmp_path / "data")
    for others in ("", APT.format("git libgomp-plugin-nvptx1")):
        _, error = build(docker, tmp_path, "-slim", others + INSTALL, status=1)
        assert f"FROM python:{VERSION}-slim" in error
        assert "libgomp.so.1, which lightgbm 4.6.0 needs" in error
        assert "/lightgbm/lib/lib_lightgbm.so" in error
        assert "apt-get install --yes --no-install-recommends libgomp1" in error
        assert 'LABEL local-aws.unused-libraries="libgomp.so.1"' in error
    assert docker.layers() == set()
    docker.run("inspect", "a", status=1)


def test_a_library_that_apt_get_installs_is_there(docker: Docker, tmp_path: Path) -> None:
    printed, _ = build(docker, tmp_path, "-slim", APT.format("libgomp1") + INSTALL)
    assert "apt-get install libgomp1: left out; this machine's are used" in printed
    # Without it, what was built is not taken for the image.
    build(docker, tmp_path, "-slim", INSTALL, status=1)


def test_a_library_that_nothing_loads_may_be_missing(docker: Docker, tmp_path: Path) -> None:
    label = 'LABEL maintainer="a b" local-aws.unused-libraries="libtbb.so.12 libgomp.so.1"\n'
    build(docker, tmp_path, "-slim-trixie", label + INSTALL)


def test_a_damaged_library_is_named(docker: Docker, tmp_path: Path) -> None:
    write(tmp_path / "context", {"a.so": "\x7fELF and no more"})
    text = "COPY a.so /app/\nRUN python --version\n"
    _, error = build(docker, tmp_path, "-slim", text, status=1)
    assert "/app/a.so: is not a sound shared library" in error


def test_images_that_are_not_known_are_not_checked(docker: Docker, tmp_path: Path) -> None:
    printed, _ = build(docker, tmp_path, "", INSTALL)
    assert f"FROM python:{VERSION}: which shared libraries it has is not known" in printed


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("3.12-slim", True),
        ("3.12.4-slim-bookworm", True),
        ("3.14-slim-trixie", True),
        ("3-slim", True),
        ("3.12", False),
        ("3.12-bookworm", False),
        ("3.12-slim-bullseye", False),
        ("3.12-alpine", False),
        (None, False),
    ],
)
def test_the_slim_images_of_two_releases_are_known(tag: str | None, expected: bool) -> None:
    assert known(tag) is expected


@pytest.mark.parametrize(
    ("library", "package"),
    [
        # As in https://packages.debian.org/trixie/libs/
        ("libgomp.so.1", "libgomp1"),
        ("libX11.so.6", "libx11-6"),
        ("libusb-1.0.so.0", "libusb-1.0-0"),
        ("libgthread-2.0.so.0", "libglib2.0-0"),
        ("libGL.so.1", "libgl1"),
        ("libatomic.so.1", "libatomic1"),
        ("libjvm.so", None),
    ],
)
def test_the_package_of_a_library_is_known_by_its_name(library: str, package: str | None) -> None:
    assert debian_package(library) == package


def test_packages_are_named_as_apt_get_takes_them(docker: Docker, tmp_path: Path) -> None:
    build(docker, tmp_path, "", INSTALL)
    site = docker.image("a").root / "usr/local"
    assert [found.library for found in missing(site, [])] == ["libgomp.so.1"]
    for name in ("libgomp1:amd64", "libgomp1=14.2.0-19", "libgomp1t64"):
        assert missing(site, [name]) == []


def test_a_library_among_the_packages_is_found(docker: Docker, tmp_path: Path) -> None:
    build(docker, tmp_path, "", INSTALL)
    site = docker.image("a").root / "usr/local"
    (needs,) = site.rglob("lib_lightgbm.so")
    (tmp_path / "x/bundled.libs").mkdir(parents=True)
    (tmp_path / "x/lib_lightgbm.so").write_bytes(needs.read_bytes())
    assert missing(tmp_path / "x", [])[0].needed_by is None
    (tmp_path / "x/bundled.libs/libgomp.so.1").write_bytes(b"")
    assert missing(tmp_path / "x", []) == []
