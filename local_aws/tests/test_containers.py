from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import free_port, until

from local_aws.images import containers
from local_aws.images.containers import Container
from local_aws.images.images import Image
from local_aws.settings import Settings

PYTHON = Path(sys.executable).parent


ISOLATIONS = [name for name in ("namespace", "bubblewrap", "environment") if containers.works(name)]
MOUNTING = [name for name in ISOLATIONS if name != "environment"]


@pytest.fixture(params=ISOLATIONS)
def isolation(request: pytest.FixtureRequest) -> str:
    value: str = request.param
    return value


def container(folder: Path, *argv: str, **env: str) -> Container:
    ml = folder / "job" / "ml"
    ml.mkdir(parents=True, exist_ok=True)
    image = Image(root=folder, path=str(PYTHON), env={"FROM_IMAGE": "i"}, entrypoint=[], command=[])
    return Container(image, list(argv), env, ml, folder / "log.txt")


def run(folder: Path, isolation: str, *argv: str, **env: str) -> tuple[int, str]:
    made = container(folder, *argv, **env)
    status = containers.wait(containers.start(made, isolation))
    return status, made.log.read_text()


def gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has reaped yet counts as ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_a_program_writes_its_opt_ml_and_the_host_has_none(tmp_path: Path, isolation: str) -> None:
    before = sorted(path.name for path in Path("/opt").iterdir())
    status, log = run(tmp_path, isolation, "sh", "-c", "echo 1 > /opt/ml/x; ls /opt")
    assert (status, (tmp_path / "job/ml/x").read_text()) == (0, "1\n"), log
    assert sorted(path.name for path in Path("/opt").iterdir()) == before
    assert set(before) <= set(log.split())


@pytest.mark.parametrize("isolation", MOUNTING)
def test_any_folder_can_be_mounted(tmp_path: Path, isolation: str) -> None:
    folder = tmp_path / 'a b\tc\nd\\040"'
    folder.mkdir()
    status, log = run(folder, isolation, "sh", "-c", "echo 1 > /opt/ml/x")
    assert (status, (folder / "job/ml/x").read_text()) == (0, "1\n"), log


@pytest.mark.parametrize("isolation", MOUNTING)
def test_names_of_hosts_are_known(tmp_path: Path, isolation: str) -> None:
    made = replace(
        container(tmp_path, "getent", "hosts", "algo-2"), addresses={"algo-2": "127.1.2.3"}
    )
    assert containers.wait(containers.start(made, isolation)) == 0
    assert made.log.read_text().split() == ["127.1.2.3", "algo-2"]
    known = replace(made, argv=["getent", "hosts", "localhost"])
    assert containers.wait(containers.start(known, isolation)) == 0


def test_the_strongest_isolation_is_chosen() -> None:
    assert containers.detect_isolation() == ISOLATIONS[0]


@pytest.mark.parametrize("isolation", MOUNTING)
def test_a_literal_path_in_a_program_is_its_own(tmp_path: Path, isolation: str) -> None:
    (tmp_path / "program.py").write_text("open('/opt/ml/model', 'w').write('m')")
    status, log = run(tmp_path, isolation, sys.executable, "program.py")
    assert status == 0, log
    assert (tmp_path / "job/ml/model").read_text() == "m"


def test_eight_at_once_see_eight_folders(tmp_path: Path, isolation: str) -> None:
    processes = []
    for number in range(8):
        folder = tmp_path / str(number)
        script = f"echo {number} > /opt/ml/n; sleep 0.2; cat /opt/ml/n"
        made = container(folder, "sh", "-c", script)
        processes.append((containers.start(made, isolation), made.log))
    assert [containers.wait(process) for process, _ in processes] == [0] * 8
    assert [log.read_text().strip() for _, log in processes] == [str(n) for n in range(8)]


def test_nothing_of_the_host_environment_leaks_in(
    tmp_path: Path, isolation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "s")
    monkeypatch.setenv("AWS_PROFILE", "production")
    _, log = run(tmp_path, isolation, "env", FROM_JOB="j", HOME="/home")
    seen = dict(line.split("=", 1) for line in log.splitlines())
    shell = {"PWD", "OLDPWD", "SHLVL", "_"}
    extra = {"SAGEMAKER_BASE_DIR"} if isolation == "environment" else set()
    assert seen.keys() - shell == {"PATH", "FROM_IMAGE", "FROM_JOB", "HOME"} | extra
    assert seen["PATH"].split(":")[0] == str(PYTHON)


def test_without_a_namespace_the_path_is_replaced_where_it_stands_alone(tmp_path: Path) -> None:
    _, log = run(
        tmp_path,
        "environment",
        *("sh", "-c", 'echo "$1 $2 $3 $DIR $SAGEMAKER_BASE_DIR"', "sh"),
        *("/opt/ml/model", "/opt/mlx", "s3://b/opt/ml"),
        DIR="a=/opt/ml",
    )
    ml = tmp_path / "job" / "ml"
    assert log.split() == [f"{ml}/model", "/opt/mlx", "s3://b/opt/ml", f"a={ml}", str(ml)]


def test_the_image_decides_the_working_directory(tmp_path: Path, isolation: str) -> None:
    assert run(tmp_path, isolation, "pwd") == (0, f"{tmp_path}\n")


@pytest.mark.parametrize(("code", "status"), [("exit 3", 3), ("kill -9 $$", 137)])
def test_the_status_is_the_program_s_as_engines_report_it(
    tmp_path: Path, isolation: str, code: str, status: int
) -> None:
    assert run(tmp_path, isolation, "sh", "-c", code)[0] == status


def test_a_missing_program_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        containers.start(container(tmp_path, "nowhere"), "environment")


@pytest.mark.parametrize("isolation", MOUNTING)
def test_a_missing_program_is_a_status_in_a_namespace(tmp_path: Path, isolation: str) -> None:
    status, log = run(tmp_path, isolation, "nowhere")
    assert status == 127
    assert "nowhere" in log


def test_an_unknown_isolation_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'docker': use namespace, bubblewrap or environment"):
        containers.start(container(tmp_path, "true"), "docker")


CHILD = "sleep 600 & echo $! > /opt/ml/child; "


def test_what_a_program_leaves_running_ends_with_it(tmp_path: Path, isolation: str) -> None:
    status, _ = run(tmp_path, isolation, "sh", "-c", CHILD + "exit 0")
    assert status == 0
    child = int((tmp_path / "job/ml/child").read_text())
    until(lambda: gone(child), 5)


def test_stop_lets_a_program_end_by_itself(tmp_path: Path, isolation: str) -> None:
    code = "trap 'echo saved > /opt/ml/model; exit 0' TERM; " + CHILD + "echo up; wait"
    made = container(tmp_path, "sh", "-c", code)
    process = containers.start(made, isolation)
    until(lambda: "up" in made.log.read_text())
    statuses: list[int] = []
    waiter = threading.Thread(target=lambda: statuses.append(containers.wait(process)))
    waiter.start()
    begun = time.monotonic()
    containers.stop(process, 30)
    waiter.join()
    assert time.monotonic() - begun < 5
    assert statuses == [0]
    assert (made.ml / "model").read_text() == "saved\n"
    until(lambda: gone(int((made.ml / "child").read_text())), 5)


def test_stop_kills_what_does_not_end(tmp_path: Path, isolation: str) -> None:
    code = "trap '' TERM; echo up; while :; do sleep 0.1; done"
    made = container(tmp_path, "sh", "-c", code)
    process = containers.start(made, isolation)
    until(lambda: "up" in made.log.read_text())
    begun = time.monotonic()
    containers.stop(process, 0.3)
    assert 0.3 <= time.monotonic() - begun < 5
    assert containers.wait(process) == 128 + signal.SIGKILL
    containers.stop(process, 0.3)


def test_an_orphan_is_ended_but_never_a_stranger_with_its_number(
    tmp_path: Path, isolation: str
) -> None:
    process = containers.start(container(tmp_path, "sleep", "600"), isolation)
    started = containers.start_time(process.pid)
    assert started
    other = containers.start(container(tmp_path / "other", "sleep", "600"), isolation)
    containers.kill_orphan(process.pid, started + "0")
    containers.kill_orphan(other.pid, containers.start_time(other.pid))
    assert other.wait(timeout=5) == -signal.SIGKILL
    assert process.poll() is None
    containers.kill_orphan(process.pid, started)
    assert process.wait(timeout=5) == -signal.SIGKILL
    assert containers.start_time(process.pid) is None
    containers.kill_orphan(process.pid, started)


def test_what_was_not_written_down_is_found_by_its_home(tmp_path: Path, isolation: str) -> None:
    if not Path("/proc/self/environ").exists():
        pytest.skip("this host does not show the environment of processes")
    mine, other = tmp_path / "jobs", tmp_path / "jobs-of-another"
    started = []
    for home in (mine / "one", other / "one"):
        made = container(home, "sh", "-c", CHILD + "wait", HOME=str(home))
        started.append((containers.start(made, isolation), made.ml / "child"))
    until(lambda: all(child.exists() and child.read_text().strip() for _, child in started))
    containers.kill_lost(mine)
    (lost, its_child), (stranger, _) = started
    assert lost.wait(timeout=5) == -signal.SIGKILL
    until(lambda: gone(int(its_child.read_text())), 5)
    assert stranger.poll() is None
    containers.stop(stranger, 0)


def test_start_times_differ() -> None:
    first = subprocess.Popen(["sleep", "60"])
    time.sleep(0.05)
    second = subprocess.Popen(["sleep", "60"])
    try:
        times = {containers.start_time(first.pid), containers.start_time(second.pid)}
        assert len(times - {None}) == 2
    finally:
        for process in (first, second):
            process.kill()
            process.wait()


def test_every_container_finds_the_local_aws(tmp_path: Path) -> None:
    port = free_port()
    env = containers.base_environment(Settings(tmp_path, port, "eu-west-1"), tmp_path / "home")
    assert env["AWS_ENDPOINT_URL"] == f"http://127.0.0.1:{port}"
    assert env["AWS_REGION"] == env["AWS_DEFAULT_REGION"] == "eu-west-1"
    assert env["HOME"] == str(tmp_path / "home")


def test_an_opt_ml_that_the_host_has_is_covered(tmp_path: Path) -> None:
    if "namespace" not in MOUNTING:
        pytest.skip("this host allows no mount namespace")
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "nested.py").write_text(
        "import sys\n"
        "from pathlib import Path\n"
        "from local_aws.images import containers\n"
        "from local_aws.images.images import Image\n"
        "assert Path('/opt/ml').is_dir()\n"
        "folder = Path(sys.argv[1])\n"
        "image = Image(root=folder, path='', env={}, entrypoint=[], command=[])\n"
        "argv = ['sh', '-c', 'echo inner > /opt/ml/x']\n"
        "made = containers.Container(image, argv, {}, folder / 'ml', folder / 'log')\n"
        "made.ml.mkdir()\n"
        "sys.exit(containers.wait(containers.start(made, 'namespace')))\n"
    )
    path = os.pathsep.join(sys.path)
    status, log = run(
        tmp_path, "namespace", sys.executable, "nested.py", str(inner), PYTHONPATH=path
    )
    assert status == 0, log
    assert (inner / "ml" / "x").read_text() == "inner\n"
    assert not (tmp_path / "job/ml/x").exists()
