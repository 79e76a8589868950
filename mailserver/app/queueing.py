"""`mailserver queue` and `mailserver why`: what waits, what is to be done with it, and what became of it."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import fields
from typing import Any

import orjson

from mailserver.app.application import Application
from mailserver.app.waiting import describe_item
from mailserver.hooks.arguments import Arguments, moment, texts
from mailserver.model.errors import InvalidInput, NotFound
from mailserver.model.ids import QueueId
from mailserver.ports.queue import QueuedMessage
from mailserver.queue.control import Filter, QueueControl, Status
from mailserver.queue.mirror import listed
from mailserver.queue.state import Item

__all__ = ["queue_operations"]

_Operation = Callable[[Arguments], Awaitable[Any]]
_LISTED = tuple(one.name for one in fields(QueuedMessage))
_LONGEST_PATTERN, _LONGEST_NAME = 1000, 100


def queue_operations(app: Application) -> dict[str, _Operation]:
    """Name → operation."""
    work = _Queue(app)
    return {
        "queue.list": work.listing,
        "queue.show": work.show,
        "queue.hold": work.hold,
        "queue.release": work.release,
        "queue.retry": work.retry,
        "queue.reschedule": work.reschedule,
        "queue.drop": work.drop,
        "queue.flush": work.flush,
        "why": work.why,
    }


class _Queue:
    """Arguments that choose messages: `from`, `to`, `domain`, `status`, `before`, `ids`; see `queue.control.Filter`.

    Those that change something want at least one of them, or `all`; they return the ids of what they `changed`, and of
    what matched and stays as it is (`left`). `by`: who wants it, for the history.
    """

    def __init__(self, app: Application) -> None:
        self._app = app
        self._control = QueueControl(app.queue, app.runner, app.clock)

    async def listing(self, arguments: Arguments) -> Any:
        """What matches, oldest first. Each row is JSON already: encoding a hundred thousand at once, and having the
        garbage collector look at them, would hold everybody else up."""
        found = [(item.new.arrived, item.queue_id, self._row(item)) async for item in self._matching(arguments)]
        return [orjson.Fragment(row) for _, _, row in sorted(found)]

    def _row(self, item: Item) -> bytes:
        message, status = listed(item), self._control.status(item.queue_id)
        held = message.held_until if status is Status.HELD else 0.0
        row = {name: getattr(message, name) for name in _LISTED} | {
            "status": status.value, "account": item.envelope.account or "",
            "held_until": None if math.isinf(held) else held, "next_attempt": self._control.next_attempt(item),
        }  # fmt: skip
        # A copy: what orjson returns keeps the room (1 KiB and more) in which it was made.
        return memoryview(orjson.dumps(row)).tobytes()

    async def show(self, arguments: Arguments) -> Any:
        """One message, with what is known of each recipient."""
        await self._app.runner.survey()
        await self._app.queue.recovered()
        wanted = arguments.get("queue_id", "")
        try:
            return self._shown(QueueId(str(wanted)))
        except NotFound:
            raise NotFound(
                f"no message {wanted} waits in the queue; see them all: mailserver queue list; what became of it:"
                f" mailserver why {wanted}"
            ) from None

    async def hold(self, arguments: Arguments) -> Any:
        """Until `until` (epoch seconds), or for good."""
        chosen = await self._chosen(arguments)
        until = moment(arguments, "until")
        return _answer(chosen, await self._control.hold(chosen, until, by=_who(arguments)))

    async def release(self, arguments: Arguments) -> Any:
        """Hold them no longer, and try them now."""
        chosen = await self._chosen(arguments)
        return _answer(chosen, await self._control.release(chosen, by=_who(arguments)))

    async def retry(self, arguments: Arguments) -> Any:
        """Now; those that are held stay so."""
        chosen = await self._chosen(arguments)
        return _answer(chosen, await self._control.retry(chosen, by=_who(arguments)))

    async def reschedule(self, arguments: Arguments) -> Any:
        """At `at` (epoch seconds); those that are held stay so."""
        at = moment(arguments, "at")
        if at is None:
            raise InvalidInput("say when the next attempt is to be made")
        chosen = await self._chosen(arguments)
        return _answer(chosen, await self._control.reschedule(chosen, at, by=_who(arguments)))

    async def flush(self, arguments: Arguments) -> Any:
        """Everything now that is not held."""
        await self._app.runner.survey()
        chosen = await self._control.select(Filter())
        return _answer(chosen, await self._control.flush())

    async def drop(self, arguments: Arguments) -> Any:
        """Throw them away; nobody is told."""
        chosen = await self._chosen(arguments)
        return _answer(chosen, await self._control.drop(chosen, by=_who(arguments)))

    async def why(self, arguments: Arguments) -> Any:
        """The whole story of a message, or of the newest ones of a sender: what the history says, and what waits."""
        await self._app.runner.survey()
        await self._app.queue.recovered()
        name = str(arguments.get("id", "")).strip("<> ")
        story = self._contributed("history.story")
        messages: list[dict[str, Any]] = await story({"id": name}) if story is not None else []
        if all(message["queue_id"] != name for message in messages):
            # Not in the history yet, or no longer: what waits knows itself.
            messages.append({"queue_id": name})
        found = []
        for message in messages:
            waiting = None
            with suppress(NotFound):
                waiting = self._shown(QueueId(message["queue_id"]))
            if waiting is not None or "events" in message:
                found.append({"events": [], "judged": [], **message, "waiting": waiting})
        if not found:
            reason = "the history is switched off"
            if story is not None:
                reason = "it may be older than the history (plugins.history.keep)"
            raise NotFound(f"nothing is known of {name or 'that'}: {reason}")
        return found

    def _shown(self, queue_id: QueueId) -> dict[str, Any]:
        """Raises NotFound."""
        item = self._app.queue.item(queue_id)
        return describe_item(
            item, self._control.status(queue_id), self._app.runner.schedule.units(queue_id),
            self._app.loaded.config.queue.max_age, self._app.runner.timetable.wall,
        )  # fmt: skip

    def _contributed(self, name: str) -> _Operation | None:
        for contribution in self._app.hooks.contributions("operation"):
            if contribution.name == name:
                found: _Operation = contribution.value
                return found
        return None

    async def _chosen(self, arguments: Arguments) -> list[QueueId]:
        _check_chosen(arguments)
        wanted = _filter(arguments)
        await self._app.runner.survey()
        return await self._control.select(wanted)

    async def _matching(self, arguments: Arguments) -> AsyncIterator[Item]:
        wanted = _filter(arguments)
        await self._app.runner.survey()
        async for item in self._control.matching(wanted):
            yield item


def _who(arguments: Arguments) -> str:
    """Whoever may ask for this is believed who they are."""
    by = arguments.get("by", "")
    if not isinstance(by, str) or len(by) > _LONGEST_NAME:
        raise InvalidInput(f"by must be a name of at most {_LONGEST_NAME} characters")
    return by


def _check_chosen(arguments: Arguments) -> None:
    """Nobody changes everything by leaving something out."""
    if not any(arguments.get(name) for name in ("from", "to", "domain", "status", "before", "ids", "all")):
        raise InvalidInput("say which messages are meant")


def _filter(arguments: Arguments) -> Filter:
    """Raises InvalidInput."""
    patterns = {}
    for name in ("from", "to", "domain", "status"):
        value = arguments.get(name) or ""
        if not isinstance(value, str) or len(value) > _LONGEST_PATTERN:
            raise InvalidInput(f"{name} must be text of at most {_LONGEST_PATTERN} characters")
        patterns[name] = value
    try:
        status = Status(patterns["status"]) if patterns["status"] else None
    except ValueError:
        raise InvalidInput(f"the status is one of {', '.join(one.value for one in Status)}") from None
    return Filter(
        sender=_address(patterns["from"]), recipient=_address(patterns["to"]), domain=patterns["domain"],
        status=status, before=moment(arguments, "before"), ids=frozenset(map(QueueId, texts(arguments, "ids"))),
    )  # fmt: skip


def _address(text: str) -> str:
    """What stands for an address: one, a pattern, "<>", or a domain for all its addresses."""
    if not text or text == "<>" or "*" in text or "?" in text:
        return text
    return text if "@" in text.lstrip("@") else f"*@{text.lstrip('@')}"


def _answer(chosen: list[QueueId], changed: list[QueueId]) -> dict[str, Any]:
    done = set(changed)
    return {"changed": changed, "left": [queue_id for queue_id in chosen if queue_id not in done]}
