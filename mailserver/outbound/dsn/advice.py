"""What the sender of a message and the administrator can do about a refusal.

The causes come from `wire/refusal.py`; here is who refused: a provider or a block list has its own door to knock at.
"""

from __future__ import annotations

from mailserver.model.delivery import Result
from mailserver.outbound.dsn.language import Advice, Language
from mailserver.wire.refusal import Cause, cause_of

__all__ = ["advise", "source_of"]

#: Name (a key of `Language.sources`), ends of host names, fragments of the answer. Block lists come before providers:
#: what helps is removal from the list that a provider uses.
_SOURCES: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("spamhaus", (), ("spamhaus",)),
    ("spamcop", (), ("spamcop",)),
    ("barracuda", (), ("barracuda",)),
    ("uceprotect", (), ("uceprotect",)),
    ("abusix", (), ("abusix",)),
    ("cloudmark", (), ("cloudmark",)),
    ("proofpoint", (".pphosted.com",), ("proofpoint",)),
    ("mimecast", (".mimecast.com",), ("mimecast.",)),
    ("cisco", (".iphmx.com",), ("senderbase", "talosintelligence")),
    ("google", (".google.com", ".googlemail.com"), (" gsmtp",)),
    ("microsoft", (".outlook.com", ".hotmail.com", ".office365.us"), ("prod.outlook.com", "sender.office.com")),
    ("yahoo", (".yahoodns.net", ".yahoo.com"), ("yahooinc.com",)),
    ("apple", (".icloud.com", ".apple.com"), ()),
    ("united internet", (".gmx.net", ".web.de", ".kundenserver.de", ".ionos.com"), ("postmaster.gmx", "web.de/")),
    ("t-online", (".t-online.de",), ("rx.t-online",)),
)

#: Where the standing of our server or domain is the matter, so that the refuser's door is worth naming.
_ABOUT_US = frozenset(
    {
        Cause.BLOCK_LIST, Cause.TOO_FAST, Cause.SPAM, Cause.UNAUTHENTICATED, Cause.REVERSE_DNS, Cause.POLICY,
        Cause.RESTRICTED,
    }
)  # fmt: skip


def advise(result: Result, domain: str, language: Language) -> Advice:
    """The advice on what became of a recipient in `domain`."""
    cause = cause_of(result.status, result.code, result.reply)
    known = language.causes[cause]
    source = source_of(result) if cause in _ABOUT_US else ""
    hint = f" {language.sources[source]}" if source else ""
    return Advice(known.meaning.replace("{domain}", domain), known.remedy, known.administrator + hint)


def source_of(result: Result) -> str:
    """Who refused, "" when it is nobody that is known."""
    if not result.code:
        return ""
    host, words = "." + result.remote.lower().rstrip("."), result.reply.lower()
    for name, ends, fragments in _SOURCES:
        if (ends and host.endswith(ends)) or any(fragment in words for fragment in fragments):
            return name
    return ""
