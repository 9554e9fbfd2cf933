"""Processes that tests start and must see end."""

import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHARED = Path("/dev/shm")


def gone(process_ids: list[int], seconds: float = 10.0) -> bool:
    """Whether processes end in time; a zombie has ended."""
    end = time.monotonic() + seconds
    while alive := [pid for pid in process_ids if is_alive(pid)]:
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return not alive


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
