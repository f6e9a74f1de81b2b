"""Which thread of a process computes on several cores: one, the model's.

OpenMP gives every thread that computes in parallel a pool of its own. Where the pools together hold more threads than there
are cores, their workers no longer stay awake between two operations; a model's step is a thousand small ones and takes up
to 1.7 times as long. So whoever computes beside a model does it on one core.
"""

from __future__ import annotations

import ctypes
import threading
from functools import cache
from pathlib import Path
from typing import Any

import torch

ALL = torch.get_num_threads()
"""As torch chose, by the processor and by OMP_NUM_THREADS."""
_lock = threading.Lock()
_others = ALL
"""Of threads that have not computed yet; one that has keeps the pool it made."""


def compute_here(threads: int = 0) -> int:
    """The calling thread computes on so many cores, 0 for all; a thread that begins to compute after this does it on one.
    Gives how many they are."""
    global _others
    with _lock:
        _others = 1
        return _set(threads or ALL)


def make_way() -> None:
    """The calling thread computes on one core, where another has taken all."""
    with _lock:
        if _others == 1 != torch.get_num_threads():
            _set(1)


@cache
def openmp() -> Any:
    """GNU OpenMP, where torch computes on its threads; None where it computes on others'."""
    try:
        # By way of torch's own library, so that it is the very OpenMP that this one found.
        library = ctypes.CDLL(str(Path(torch.__file__).with_name("lib") / "libtorch_cpu.so"))
        library.GOMP_parallel.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
        library.GOMP_parallel.restype = None
    except (OSError, AttributeError):
        return None
    return library


def _set(threads: int) -> int:
    # torch keeps a number for each thread, and one for those to come, which is the last that anybody set. A thread's own is
    # taken from that one when it is first asked for, even where it was set before.
    torch.get_num_threads()
    torch.set_num_threads(threads)
    setting = threading.Thread(target=torch.set_num_threads, args=(_others,))
    setting.start()
    setting.join()
    return threads
