"""Work done a few pieces at a time in threads."""

import threading
from contextlib import closing

import pytest

from penumbra.threads import in_order, thread_count


def test_threads_are_those_given_to_us(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert thread_count() == 3
    for nothing in ("", "0", "many"):
        monkeypatch.setenv("OMP_NUM_THREADS", nothing)
        assert thread_count() >= 1


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("count", [0, 1, 7])
def test_results_come_in_order(threads: int, count: int) -> None:
    assert list(in_order(lambda index: index**2, count, threads)) == [index**2 for index in range(count)]


def test_pieces_are_done_at_once_and_no_more_wait_than_are_asked_for() -> None:
    both, begun = threading.Barrier(2, timeout=20), []

    def work(index: int) -> int:
        begun.append(index)
        if index < 2:
            both.wait()
        return index

    results = in_order(work, 10, 2)
    assert next(results) == 0
    assert len(begun) <= 4
    results.close()
    assert len(begun) <= 4


def test_where_one_fails_those_in_flight_are_finished() -> None:
    slow, finished = threading.Event(), []

    def work(index: int) -> None:
        if index == 0:
            slow.set()
            raise ValueError("no")
        slow.wait(20)
        finished.append(index)

    with pytest.raises(ValueError, match="no"):
        list(in_order(work, 10, 2))
    assert finished == [1, 2]


def test_closing_finishes_those_in_flight() -> None:
    slow, finished = threading.Event(), []

    def work(index: int) -> int:
        if index:
            slow.wait(20)
        finished.append(index)
        return index

    with closing(in_order(work, 10, 2)) as results:
        assert next(results) == 0
        threading.Timer(0.2, slow.set).start()
    assert sorted(finished) == [0, 1, 2]
