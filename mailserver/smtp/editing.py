"""A message as plugins change it before it is kept: a change makes a new content, the one that came stays as it is."""

from __future__ import annotations

from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from mailserver.mime.header_changes import changed_header
from mailserver.mime.view import MessageView
from mailserver.model.verdict import Accept, Quarantine
from mailserver.ports.store import Content, MailStore
from mailserver.wire.dotstuff import ContentCheck

__all__ = ["Editing"]

_CHUNK = 1 << 20


class Editing:
    """`content` is the message as it stands, and `view` shows it. Leaving this throws away what was made, so it is left
    after keeping."""

    def __init__(self, store: MailStore, content: Content, view: MessageView) -> None:
        self.content = content
        self.view = view
        self._store = store
        self._made = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._made.aclose()

    async def apply(self, verdict: Accept | Quarantine) -> tuple[Content, MessageView]:
        """The message with what the verdict changes, and its view. Raises MailError (no room)."""
        old, head, end = self.content, self.view.head, self.view.header_size
        new = await self._made.enter_async_context(self._store.begin(old.size))
        header = changed_header(head[:end], verdict.changes)
        await new.write(header)
        if verdict.body is not None:
            if not header.endswith((b"\n\r\n", b"\n\n")) and header not in (b"\r\n", b"\n"):
                await new.write(b"\r\n")
            await self._write_body(new, verdict.body)
        else:
            position = end
            while chunk := await old.read(position, _CHUNK):
                await new.write(chunk)
                position += len(chunk)
        self.content, self.view = new, MessageView(new)
        return new, self.view

    async def _write_body(self, content: Content, body: bytes) -> None:
        """With line ends as on the wire, whatever the plugin wrote: the queue sends what is kept as it is."""
        lines = ContentCheck(normalize=True, longest_line=len(body) + 2)
        for start in range(0, len(body), _CHUNK):
            await content.write(lines.feed(body[start : start + _CHUNK]))
        await content.write(lines.finish())
