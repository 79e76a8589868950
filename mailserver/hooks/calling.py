"""One call of one hook: its timeout, its errors, the type of its answer.

A hook may raise, hang, swallow its cancellation, or return what it must not; none of that reaches the caller, who gets
an answer or HookFailed. What is logged is the plugin, the hook point, the kind of error and where it was raised; never
the text of an exception, which may hold pieces of a message or a password.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import CoroutineType
from typing import Any

import structlog

from mailserver.hooks.registry import HookOptions
from mailserver.model.errors import MailError

__all__ = ["HookCall", "HookFailed", "log_failure", "place_of_error"]

_log = structlog.get_logger()
#: A plugin that has this many calls which neither end nor let themselves be cancelled is not called any more.
MAX_STUCK = 16


class HookFailed(MailError):
    """A plugin could not answer and its `on_error` is "defer": try again later."""

    temporary = True
    status = "4.3.0"

    def __init__(self, plugin: str, point: str, detail: str) -> None:
        super().__init__("try again later", detail=f"plugin {plugin} failed in {point}: {detail}")
        self.plugin = plugin


def place_of_error(error: BaseException) -> str:
    """`TypeName at file:line` of the innermost frame, without the text of the error."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    name = type(error).__name__
    if trace is None:
        return name
    code = trace.tb_frame.f_code
    return f"{name} at {code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}"


def log_failure(plugin: str, point: str, what: str) -> None:
    """The one log line of a plugin's failure; `what` holds no text that came from mail."""
    _log.error("plugin failed", plugin=plugin, hook=point, error=what)


@dataclass(slots=True, eq=False)
class HookCall:
    """A registered function with its plugin's options; `expected` are the types it may return beside None."""

    options: HookOptions
    point: str
    fn: Callable[[Any], Any]
    expected: tuple[type, ...] = ()
    failures: int = 0
    timeouts: int = 0
    _stuck: set[asyncio.Task[Any]] = field(default_factory=set)

    async def __call__(self, ctx: Any) -> Any:
        """The hook's answer.

        Raises:
            HookFailed: it raised, took longer than its timeout, or answered with a wrong type.
        """
        answer = self.begin(ctx)
        return await answer if isinstance(answer, CoroutineType) else answer

    def begin(self, ctx: Any) -> Any:
        """As a call, but a coroutine (of ours, to be awaited at once) only where there is something to wait for."""
        try:
            answer = self.fn(ctx)
        # A plain function cannot be cancelled, so CancelledError and SystemExit are its own doing as well.
        except (Exception, SystemExit, asyncio.CancelledError) as error:
            raise self._failed(place_of_error(error)) from None
        if answer is None:
            return None
        return self._awaited(answer) if hasattr(answer, "__await__") else self._checked(answer)

    async def _awaited(self, answer: Awaitable[Any]) -> Any:
        return self._checked(await self._wait(answer))

    def _checked(self, answer: Any) -> Any:
        if answer is not None and not isinstance(answer, self.expected):
            raise self._failed(f"wrong answer of type {type(answer).__name__}")
        return answer

    async def _wait(self, answer: Awaitable[Any]) -> Any:
        """In a task of its own: a hook that swallows its cancellation is left behind, and nobody waits for it."""
        if len(self._stuck) >= MAX_STUCK:
            if hasattr(answer, "close"):
                answer.close()
            raise self._failed(f"{MAX_STUCK} calls hang already")
        loop = asyncio.get_running_loop()
        task = loop.create_task(_guard(answer))
        # As asyncio.wait, in two thirds of its time: ten hooks wait for something in each message.
        ended = loop.create_future()
        task.add_done_callback(lambda _: _end(ended))
        timer = loop.call_later(self.options.timeout, _end, ended)
        try:
            await ended
        finally:
            timer.cancel()
            if not task.done():
                self._stuck.add(task)
                task.add_done_callback(self._stuck.discard)
                task.add_done_callback(_forget)
                task.cancel()
        if not task.done():
            self.timeouts += 1
            raise self._failed(f"no answer within {self.options.timeout:g} s")
        if task.cancelled():
            raise self._failed("CancelledError")
        error = task.exception()
        if error is not None:
            raise self._failed(place_of_error(error)) from None
        return task.result()

    def _failed(self, what: str) -> HookFailed:
        self.failures += 1
        log_failure(self.options.plugin, self.point, what)
        return HookFailed(self.options.plugin, self.point, what)


class _PluginExit(Exception):
    """A plugin called sys.exit; asyncio would end the process for the original."""


async def _guard(answer: Awaitable[Any]) -> Any:
    try:
        return await answer
    except SystemExit as error:
        raise _PluginExit().with_traceback(error.__traceback__) from None


def _end(ended: asyncio.Future[None]) -> None:
    if not ended.done():
        ended.set_result(None)


def _forget(task: asyncio.Task[Any]) -> None:
    """Fetch the result, so that asyncio does not report an error that nobody waits for."""
    with contextlib.suppress(asyncio.CancelledError):
        task.exception()
