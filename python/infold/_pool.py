"""The threads of sessions that ask for no number of their own: one pool for all of a process."""

from __future__ import annotations

import os
import threading
from typing import Any

from ._library import create, lib

_lock = threading.Lock()
_pool: Any = None


def shared_pool() -> Any:
    global _pool
    with _lock:
        if _pool is None:
            _pool = create("pool", lib.infold_create_pool, 0)
        return _pool


def _forget() -> None:
    """A forked child has none of its parent's threads."""
    global _lock, _pool
    _lock, _pool = threading.Lock(), None


os.register_at_fork(after_in_child=_forget)
