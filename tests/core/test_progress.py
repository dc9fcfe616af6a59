import io
from unittest.mock import patch

from sg.core.progress import Progress, track


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


def test_a_bar_shows_rate_time_left_and_failures() -> None:
    with patch("sg.core.progress.time", Clock()) as clock:
        bar = Progress("render", total=100, unit="videos")
        clock.now = 10.0
        bar.advance(18)
        bar.fail(2)
        assert bar.line() == "render: 20/100 videos, 2.0/s, 0:40 left, 2 failed"


def test_work_of_an_earlier_run_counts_as_done_but_not_in_the_rate() -> None:
    with patch("sg.core.progress.time", Clock()) as clock:
        bar = Progress("render", total=100, unit="videos", done_before=50)
        clock.now = 10.0
        bar.advance(10, note="loss 1.5")
        assert bar.line() == "render: 60/100 videos, 1.0/s, 0:40 left, loss 1.5"


def test_a_log_file_gets_a_line_at_intervals_and_short_work_writes_nothing() -> None:
    stream = io.StringIO()
    with patch("sg.core.progress.time", Clock()) as clock:
        with Progress("render", total=60, unit="videos", stream=stream) as bar:
            for _ in range(60):
                clock.now += 1.0
                bar.advance()
        assert stream.getvalue().count("\n") == 4
        assert "60/60 videos" in stream.getvalue()
        with Progress("short", total=1, stream=stream) as bar:
            bar.advance()
    assert "short" not in stream.getvalue()


def test_tracked_items_pass_unchanged() -> None:
    assert list(track([3, 1, 2], "count")) == [3, 1, 2]
