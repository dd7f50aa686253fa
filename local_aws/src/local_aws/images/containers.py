"""Containers without a container engine: a process that sees its own `/opt/ml`.

Three ways, the first that the host allows:

`namespace`
    A private mount namespace (util-linux `unshare`) in which the job's folder is mounted at
    `/opt/ml`.
`bubblewrap`
    The same through `bwrap`, for hosts where only that may make namespaces.
`environment`
    No mount: `/opt/ml` is replaced in arguments and environment, and SAGEMAKER_BASE_DIR names the
    folder. A literal `/opt/ml` in the program's own code is not found. For macOS, and hosts that
    forbid user namespaces.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from local_aws.images.images import Image

if TYPE_CHECKING:
    from local_aws.settings import Settings

_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ML_PATH = re.compile(r"(?<![\w.-])/opt/ml(?![\w.-])")  # not the key of s3://bucket/opt/ml
_POLL_SECONDS = 0.01
_HOSTS = Path("/etc/hosts")

# One process makes all mounts: a process for each would take longer than the mounts.
_MOUNT_SCRIPT = 'set -e; mount --all --fstab "$1"; shift; exec "$@"'
_FSTAB_ESCAPES = str.maketrans({" ": "\\040", "\t": "\\011", "\n": "\\012", "\\": "\\134"})


@dataclass(frozen=True)
class Container:
    """What to run, and with what.

    Attributes:
        image: What stands for the container image: working directory, programs, environment.
        argv: Program and arguments.
        env: Environment beside the image's.
        ml: Folder that becomes `/opt/ml`.
        log: File that standard output and error are appended to.
        addresses: IP addresses of host names that it is to know. `environment` cannot tell it.
    """

    image: Image
    argv: list[str]
    env: dict[str, str]
    ml: Path
    log: Path
    addresses: Mapping[str, str] = field(default_factory=dict)


def base_environment(settings: Settings, home: Path) -> dict[str, str]:
    """Return what every container's environment holds, so that its AWS clients find this AWS."""
    return {
        **settings.client_environment(),
        "HOME": str(home),
        "LANG": "C.UTF-8",
        # A container's output reaches the logs line by line; Python would hold back 8 KB of it.
        "PYTHONUNBUFFERED": "1",
    }


def start(container: Container, isolation: str) -> subprocess.Popen[bytes]:
    """Start a container in a session and process group of its own.

    Nothing of this process's environment is passed on.

    Args:
        container: What to run.
        isolation: `namespace`, `bubblewrap` or `environment`.

    Raises:
        OSError: The program or the working directory is not there. Only `environment` tells of a
            missing program in this way; the others exit with status 127 as a shell does.
        ValueError: An argument or variable contains a null character, or isolation is unknown.
    """
    ml = container.ml.resolve()
    env = {"PATH": _SYSTEM_PATH, **container.image.env, **container.env}
    env["PATH"] = f"{container.image.path}:{env['PATH']}" if container.image.path else env["PATH"]
    argv = container.argv
    if isolation == "namespace":
        flags = ["-m"] if os.geteuid() == 0 else ["-Urm"]
        shell = ["/bin/sh", "-c", _MOUNT_SCRIPT, "container"]
        argv = [
            _tool("unshare"),
            *flags,
            *shell,
            str(_write_fstab(ml, _write_hosts_file(container))),
            *argv,
        ]
    elif isolation == "bubblewrap":
        argv = _bubblewrap(ml, _write_hosts_file(container), argv)
    elif isolation == "environment":
        argv = [_ML_PATH.sub(str(ml), argument) for argument in argv]
        env = {name: _ML_PATH.sub(str(ml), value) for name, value in env.items()}
        env["SAGEMAKER_BASE_DIR"] = str(ml)
    else:
        raise ValueError(f"isolation {isolation!r}: use namespace, bubblewrap or environment")
    with container.log.open("ab") as log:
        return subprocess.Popen(
            argv,
            env=env,
            cwd=container.image.root,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def wait(process: subprocess.Popen[bytes]) -> int:
    """Wait for a container and end what it leaves running, as an engine does when process 1 ends.

    Returns:
        Its exit status; 128 + N when signal N ended it, as container engines report it.
    """
    if hasattr(os, "waitid"):
        with contextlib.suppress(ChildProcessError):  # reaped by stop() in another thread
            # Not reaped yet, the group keeps its number and the signal cannot hit a stranger.
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            _signal(process, signal.SIGKILL)
    status = process.wait()
    return status if status >= 0 else 128 - status


def stop(process: subprocess.Popen[bytes], grace_seconds: float) -> None:
    """End a container: SIGTERM to all of it and, if it does not end in time, SIGKILL.

    May be called while another thread is in `wait`.
    """
    stop_all([process], grace_seconds)


def stop_all(processes: Sequence[subprocess.Popen[bytes]], grace_seconds: float) -> None:
    """End several containers as `stop` ends one; they have the grace period together."""
    for process in processes:
        _signal(process, signal.SIGTERM)
    deadline = time.monotonic() + grace_seconds
    while not all(map(_exited, processes)) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    for process in processes:
        _signal(process, signal.SIGKILL)
        process.wait()


def start_time(pid: int) -> str | None:
    """Return what tells a running process from any other that gets its number, or None."""
    if Path("/proc/self/stat").exists():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return fields[19]  # field 22 of proc(5), counted after the command: start in clock ticks
    shown = subprocess.run(
        ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return shown.stdout.strip() or None


def kill_orphan(pid: int, started: str) -> None:
    """End the container of a former local AWS, unless its number now belongs to another process."""
    if start_time(pid) == started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


def kill_lost(folder: Path) -> None:
    """End the containers of a former local AWS that was killed before it had written their numbers.

    They are known by their HOME. Only Linux shows the environment of processes.

    Args:
        folder: Folder that their homes are in.
    """
    signs = tuple(b"HOME=" + os.fsencode(path) + b"/" for path in (folder, folder.resolve()))
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes()
        except OSError:  # another user's, or gone
            continue
        if any(variable.startswith(signs) for variable in environment.split(b"\0")):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(int(process.name), signal.SIGKILL)


def works(isolation: str) -> bool:
    """Tell whether this host allows an isolation, by trying it."""
    with tempfile.TemporaryDirectory() as folder:
        ml = Path(folder, "ml")
        ml.mkdir()
        image = Image(root=Path(folder), path="", env={}, entrypoint=[], command=[])
        container = Container(image, ["touch", "/opt/ml/seen"], {}, ml, Path(folder, "log"))
        try:
            return wait(start(container, isolation)) == 0 and (ml / "seen").exists()
        except OSError:
            return False


def detect_isolation() -> str:
    """Return the strongest isolation that works on this host."""
    return next(filter(works, ("namespace", "bubblewrap")), "environment")


def _write_hosts_file(container: Container) -> Path | None:
    """Write what the container is to see as /etc/hosts: its own names, then those of this host."""
    if not container.addresses:
        return None
    names = "".join(f"{address} {name}\n" for name, address in container.addresses.items())
    path = container.ml.resolve().with_name("hosts")
    path.write_text(names + (_HOSTS.read_text() if _HOSTS.exists() else ""))
    return path


def _write_fstab(ml: Path, hosts: Path | None) -> Path:
    """Write the mounts of a container's namespace, in the format of fstab(5).

    Where the host has no /opt/ml, and none may be made, a folder takes the place of /opt, with all
    that is in it mounted into the folder.
    """
    mounts: list[tuple[Path, Path]] = []
    if hosts and _HOSTS.exists():
        mounts.append((hosts, _HOSTS))
    if Path("/opt/ml").is_dir():
        mounts.append((ml, Path("/opt/ml")))
    else:
        stage = ml.with_name("opt")
        (stage / "ml").mkdir(parents=True, exist_ok=True)
        for entry in Path("/opt").iterdir() if Path("/opt").is_dir() else ():
            copy = stage / entry.name
            if entry.is_symlink():
                with contextlib.suppress(FileExistsError):
                    copy.symlink_to(entry.readlink())
            elif entry.is_dir():
                copy.mkdir(exist_ok=True)
                mounts.append((entry, copy))
            elif entry.exists():
                copy.touch()
                mounts.append((entry, copy))
        mounts += [(ml, stage / "ml"), (stage, Path("/opt"))]
    path = ml.with_name("fstab")
    lines = [f"{_escaped(source)} {_escaped(target)} none rbind\n" for source, target in mounts]
    path.write_text("".join(lines))
    return path


def _escaped(path: Path) -> str:
    return str(path).translate(_FSTAB_ESCAPES)


def _bubblewrap(ml: Path, hosts: Path | None, argv: list[str]) -> list[str]:
    binds = ["--bind-try", str(hosts), "/etc/hosts"] if hosts else []
    for entry in sorted(Path("/opt").iterdir()):
        if entry.is_symlink():
            binds += ["--symlink", str(entry.readlink()), str(entry)]
        elif entry.name != "ml":
            binds += ["--dev-bind", str(entry), str(entry)]
    # bwrap stays as the parent of the program and would die of the SIGTERM that is the program's to
    # act on; so it ignores it, and the program gets the default back.
    return [
        *[_tool("env"), "--ignore-signal=TERM", _tool("bwrap"), "--dev-bind", "/", "/"],
        *["--tmpfs", "/opt", *binds, "--bind", str(ml), "/opt/ml", "--"],
        *[_tool("env"), "--default-signal=TERM", *argv],
    ]


def _tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise FileNotFoundError(f"{name} is not installed; choose another isolation")
    return path


def _exited(process: subprocess.Popen[bytes]) -> bool:
    if process.returncode is not None:
        return True
    if not hasattr(os, "waitid"):
        return process.poll() is not None
    try:
        flags = os.WEXITED | os.WNOWAIT | os.WNOHANG
        return os.waitid(os.P_PID, process.pid, flags) is not None
    except ChildProcessError:  # reaped by wait() in another thread
        return True


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
