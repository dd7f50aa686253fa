"""The table of images: what is registered is found, by others and at the same time too."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from local_aws.images.images import Image, Images, UnknownImage, locked

URI = "000000000000.dkr.ecr.eu-west-1.amazonaws.com/toy"


def test_what_is_registered_is_found_by_another_table(tmp_path: Path) -> None:
    image = Image(tmp_path, "/bin", {"A": "1"}, ["python", "-m", "toy"], ["train"])
    Images(tmp_path).register(f"{URI}:1", image)

    assert Images(tmp_path).resolve(f"{URI}:1") == image
    assert Images(tmp_path).uris() == [f"{URI}:1"]


def test_a_later_image_takes_the_place_of_an_earlier(tmp_path: Path) -> None:
    images = Images(tmp_path)
    images.register(f"{URI}:1", Image(Path("/a")))
    images.register(f"{URI}:1", Image(Path("/b")))

    assert images.resolve(f"{URI}:1").root == Path("/b")


@pytest.mark.parametrize("name", ["toy", "localhost:5000/toy", URI])
def test_no_tag_means_latest(tmp_path: Path, name: str) -> None:
    images = Images(tmp_path)
    images.register(name, Image(Path("/a")))

    assert images.resolve(f"{name}:latest") == images.resolve(name) == Image(Path("/a"))


def test_an_unknown_image_is_named_with_the_way_to_push_it(tmp_path: Path) -> None:
    with pytest.raises(UnknownImage) as caught:
        Images(tmp_path).resolve(f"{URI}:2")

    assert f"{URI}:2" in str(caught.value)
    assert "local-aws-docker push" in str(caught.value)


def test_none_is_lost_when_processes_register_at_once(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from local_aws.images.images import Image, Images\n"
        "images = Images(Path(sys.argv[1]))\n"
        "for i in range(50): images.register(f'{sys.argv[2]}:{i}', Image(Path('/')))\n"
    )
    names = ["a", "b", "c"]
    processes = [subprocess.Popen([sys.executable, "-c", program, tmp_path, n]) for n in names]

    assert [process.wait(timeout=60) for process in processes] == [0, 0, 0]
    assert sorted(Images(tmp_path).uris()) == sorted(f"{n}:{i}" for n in names for i in range(50))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["images.json", "images.lock"]


def test_a_lock_keeps_other_threads_out(tmp_path: Path) -> None:
    order: list[str] = []

    def other() -> None:
        with locked(tmp_path / "lock"):
            order.append("other")

    with locked(tmp_path / "lock"):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(timeout=0.2)
        order.append("first")
    thread.join(timeout=10)

    assert order == ["first", "other"]
