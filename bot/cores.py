"""Which thread of a process computes on several cores: one, the model's.

OpenMP gives every thread that computes in parallel a pool of its own. Where the pools together hold more threads than there
are cores, their workers no longer stay awake between two operations; a model's step is a thousand small ones and takes up
to 1.7 times as long. So whoever computes beside the model does it on one core.
"""

from __future__ import annotations

import threading

import torch

ALL = torch.get_num_threads()
"""As torch chose, by the processor and by OMP_NUM_THREADS."""
_others = ALL
"""Of threads that have not computed yet."""


def compute_here(threads: int = 0) -> int:
    """The calling thread computes on so many cores, 0 for all; a thread that begins to compute after this does it on one.
    Gives how many they are."""
    global _others
    _others = 1
    return _set(threads or ALL)


def compute_alone() -> None:
    """The calling thread computes on one core."""
    _set(1)


def _set(threads: int) -> int:
    # torch keeps a number for each thread, and one for those to come, which is the last that anybody set.
    torch.set_num_threads(threads)
    setting = threading.Thread(target=torch.set_num_threads, args=(_others,))
    setting.start()
    setting.join()
    return threads
