"""A process of a store that is killed before its n-th file operation."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from mailserver.storage.maildir.index import AccountIndex

__all__ = ["Begin", "Say", "Work", "run_killed"]

#: From now on operations are counted.
Begin = Callable[[], None]
#: A promise was made.
Say = Callable[[str], None]
Work = Callable[[Path, Say, Begin], Coroutine[Any, Any, None]]
_OPERATIONS = ("link", "rename", "unlink", "fsync", "mkdir", "rmdir", "writev")


def run_killed(root: Path, work: Work, last: int) -> tuple[list[str], bool]:
    """What a process that does `work` was heard to promise before it died at operation number `last`; and whether it
    did die there, or came to its end."""
    heard, say = os.pipe()
    child = os.fork()
    if not child:
        left = -1

        def count() -> None:
            nonlocal left
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= left > 0

        def killing(call: Callable[..., Any], *, after: bool = False) -> Callable[..., Any]:
            def counted(*arguments: Any, **options: Any) -> Any:
                count()
                result = call(*arguments, **options)
                if after:
                    count()
                return result

            return counted

        def begin() -> None:
            nonlocal left
            left = last

        def promise(text: str) -> None:
            os.write(say, f"{text}\n".encode())

        for name in _OPERATIONS:
            setattr(os, name, killing(getattr(os, name)))
        # A transaction is all or nothing by itself; what matters is what comes before and after it.
        AccountIndex.run = killing(AccountIndex.run, after=True)  # type: ignore[method-assign]
        code = 1
        try:
            asyncio.run(work(root, promise, begin))
            code = 0
        finally:
            os._exit(code)
    os.close(say)
    _, status = os.waitpid(child, 0)
    with os.fdopen(heard, "r") as promises:
        told = promises.read().splitlines()
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, f"ended with an error after {told}"
    return told, os.WIFSIGNALED(status)
