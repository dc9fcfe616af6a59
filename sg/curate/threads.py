"""Work on slices of rows by several threads."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

CACHED_ROWS = 256
"""Rows whose float64 copies stay in the cache: passes over them then cost a third of passes over a large block."""


def in_stripes(work: Callable[[slice], None], rows: int, stripe: int = CACHED_ROWS) -> None:
    """Call `work` with slices of `stripe` rows, with one worker thread per torch thread.

    Each worker uses one torch thread: operations this small do not gain from more, and idle threads would spin. The
    setting applies to the whole process, so it is restored at the end.
    """
    import torch

    threads = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            list(pool.map(work, (slice(start, start + stripe) for start in range(0, rows, stripe))))
    finally:
        torch.set_num_threads(threads)
