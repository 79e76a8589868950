"""Signs that a message wants to be taken for another's: in names, domains, links and files.

Each is a small reason that can be told in a sentence. What they have in common with honest mail (newsletters count
clicks, lists change names) is left out as far as it can be told.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mailserver import api
from mailserver.plugins.phishing.links import link_signs
from mailserver.plugins.phishing.names import file_signs, name_signs

__all__ = ["plugin"]

#: Octets of HTML that are looked at, of one part each, and parts.
_HTML, _PAGES, _PARTS = 256 << 10, 2, 200
#: Domains of recipients that a sender's is compared with.
_DOMAINS = 20


def check(ctx: api.MessageContext) -> api.Verdict | None:
    """The hook `on_message`."""
    if not ctx.session.from_stranger:
        return None
    message = ctx.message
    own = dict.fromkeys(recipient.address.domain for recipient in ctx.envelope.recipients)
    pages, files = _contents(message)
    reasons = name_signs(message, ctx.findings, list(own)[:_DOMAINS]) + file_signs(files)
    author = message.author.domain if message.author is not None else ""
    links = [link for page in pages for link in api.html_links(page)]
    reasons += link_signs(links, author, bool(author and ctx.findings.proves(author)))
    return api.Accept(findings=api.Findings((), tuple(reasons))) if reasons else None


def _contents(message: api.MessageView) -> tuple[list[str], list[str]]:
    """The HTML that is shown, and the names of files."""
    pages: list[str] = []
    files: list[str] = []
    for number, part in enumerate(message.structure.walk()):
        if number >= _PARTS:
            break
        name = part.file_name
        if name:
            files.append(name)
        if part.media_type == "text/html" and not part.children and len(pages) < _PAGES:
            pages.append(message.text(part, _HTML))
    return pages, files


@asynccontextmanager
async def _setup(registry: api.Registry, settings: api.PluginSettings, host: api.Host) -> AsyncIterator[None]:
    registry.on_message(check)
    yield


plugin = api.Plugin(
    name="phishing",
    on_error="skip",
    setup=_setup,
    doc="Signs that a message wants to be taken for another's.",
)
