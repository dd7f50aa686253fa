"""The threads of the service."""

from __future__ import annotations

import threading

import pytest
from conftest import Aws


def test_a_close_waits_for_a_thread_that_is_just_being_started(
    aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[int] = []
    starting, go_on = threading.Event(), threading.Event()
    plain = threading.Thread

    class Slow(threading.Thread):
        def start(self) -> None:
            starting.set()
            assert go_on.wait(10)
            super().start()

    monkeypatch.setattr(threading, "Thread", Slow)
    caller = plain(target=aws.service.submit, args=(done.append, 1))
    caller.start()
    assert starting.wait(10)
    monkeypatch.undo()
    threading.Timer(0.3, go_on.set).start()  # by then the close has come to the threads
    aws.service.close()
    caller.join(10)
    assert done == [1]
