from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from local_aws.sagemaker.core.store import AlreadyExists, Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "a" / "store.sqlite")


def test_a_body_is_found_by_name_and_by_arn(store: Store) -> None:
    store.insert("Model", "m", "arn:m", {"X": [1, {"y": None}]})
    for key in ("m", "arn:m"):
        body = store.get("Model", key)
        assert body is not None
        assert body["X"] == [1, {"y": None}]
        assert body["CreationTime"] == body["LastModifiedTime"] > 1_600_000_000
    assert store.get("Endpoint", "m") is None


def test_a_name_is_there_once(store: Store) -> None:
    store.insert("Model", "m", "arn:m", {"X": 1})
    with pytest.raises(AlreadyExists):
        store.insert("Model", "m", "arn:m", {"X": 2})
    body = store.get("Model", "m")
    assert body is not None
    assert body["X"] == 1


def test_update_merges_and_none_removes(store: Store) -> None:
    store.insert("Model", "m", "arn:m", {"A": 1, "B": 2, "LastModifiedTime": 1.0})
    body = store.update("Model", "arn:m", B=None, C=3)
    assert body == store.get("Model", "m")
    assert {k: body.get(k) for k in "ABC"} == {"A": 1, "B": None, "C": 3}
    assert "B" not in body
    assert body["LastModifiedTime"] > 1.0
    with pytest.raises(KeyError, match="Model other"):
        store.update("Model", "other", A=1)


def test_list_is_newest_first_and_filters(store: Store) -> None:
    for number in range(4):
        store.insert("Model", f"m{number}", f"arn:{number}", {"Parity": number % 2, "N": number})
    store.insert("Model", "bare", "arn:bare", {"N": 4})
    assert [b["N"] for b in store.list("Model")] == [4, 3, 2, 1, 0]
    assert [b["N"] for b in store.list("Model", Parity=1)] == [3, 1]
    assert [b["N"] for b in store.list("Model", Parity=None)] == [4]
    assert [b["N"] for b in store.list("Model", Parity=0, N=2)] == [2]


def test_delete_tells_whether_it_was_there(store: Store) -> None:
    store.insert("Model", "m", "arn:m", {})
    assert store.delete("Model", "arn:m")
    assert not store.delete("Model", "m")


def test_an_exception_undoes_the_whole_transaction(store: Store) -> None:
    store.insert("Model", "m", "arn:m", {"A": 1})

    def change() -> None:
        with store.transaction():
            store.update("Model", "m", A=2)
            with store.transaction():
                store.insert("Model", "n", "arn:n", {})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        change()
    body = store.get("Model", "m")
    assert body is not None
    assert body["A"] == 1
    assert store.get("Model", "n") is None
    store.update("Model", "m", A=3)


def test_concurrent_changes_are_not_lost(store: Store) -> None:
    store.insert("Model", "m", "arn:m", {"N": 0})

    def count() -> None:
        for _ in range(50):
            with store.transaction():
                body = store.get("Model", "m")
                assert body is not None
                store.update("Model", "m", N=body["N"] + 1)

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    body = store.get("Model", "m")
    assert body is not None
    assert body["N"] == 400


def test_what_was_stored_outlives_sigkill(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from local_aws.sagemaker.core.store import Store\n"
        f"store = Store(Path({str(path)!r}))\n"
        "store.insert('Model', 'm', 'arn:m', {'A': 1})\n"
        "store.queue_event('t', {'d': 1}, ['r'])\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ}, check=False, capture_output=True
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    store = Store(path)
    assert store.get("Model", "m") is not None
    event = store.next_event()
    assert event is not None
    assert event[1:] == ("t", {"d": 1}, ["r"])


def test_events_are_kept_in_order_until_sent(store: Store) -> None:
    store.queue_event("first", {}, [])
    store.queue_event("second", {}, [])
    event = store.next_event()
    assert event is not None
    assert event[1] == "first"
    assert store.next_event() == event
    store.event_sent(event[0])
    following = store.next_event()
    assert following is not None
    assert following[1] == "second"
