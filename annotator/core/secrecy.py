"""What a process must not leave behind when it dies: its memory holds keys and faces."""

import ctypes
import resource
import sys

_PR_SET_DUMPABLE = 4  # linux/prctl.h


def forbid_dumps() -> None:
    """Forbids core dumps of this process, and other users' looks into its memory.

    The limit alone does not do: where the system pipes dumps to a program (``systemd-coredump``),
    Linux does not ask it. Neither survives ``exec``, so every program of ours calls this first.
    """
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, most))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
