"""Work done a few pieces at a time in threads."""

import threading
from contextlib import closing

import pytest

from penumbra.threads import (
    FRAMES_HOLD,
    PIXEL_TAKES,
    for_each,
    frames_at_once,
    in_order,
    share_of_threads,
    thread_count,
)

HD = 1280 * 720  # pixels


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


@pytest.mark.parametrize(
    ("cores", "pixels", "frames"),
    [(1, HD, 2), (2, HD, 2), (3, 9 * HD, 3), (16, HD, 8), (16, 9 * HD, 4), (16, 36 * HD, 2)],
)
def test_frames_at_once_are_as_many_as_cores_and_memory_allow(
    monkeypatch: pytest.MonkeyPatch, cores: int, pixels: int, frames: int
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    monkeypatch.setattr("penumbra.threads.core_count", lambda: cores)
    assert frames_at_once(pixels) == frames
    assert PIXEL_TAKES * pixels * frames <= FRAMES_HOLD or frames == 2
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert frames_at_once(pixels) == 2


@pytest.mark.parametrize(("cores", "asked"), [(2, ""), (7, ""), (7, "4")])
def test_pieces_done_at_once_share_the_cores(monkeypatch: pytest.MonkeyPatch, cores: int, asked: str) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    monkeypatch.setattr("penumbra.threads.core_count", lambda: cores)
    there = int(asked or cores)
    assert share_of_threads() == there
    for threads in (1, 2, 3):
        shares = list(in_order(lambda index: share_of_threads(), 6, threads))
        assert shares == [-(-there // threads)] * 6
    assert share_of_threads() == there


def test_pieces_of_a_piece_share_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    monkeypatch.setattr("penumbra.threads.core_count", lambda: 24)
    shares: list[int] = []

    def work(index: int) -> None:
        for_each(lambda piece: shares.append(share_of_threads()), range(6), 3)

    list(in_order(work, 4, 2))
    assert shares == [4] * 24
