"""What an account's history says of a sender. No I/O.

The narrowest thing that is known decides, and what is wider is not asked then: the address, its domain, the domains
that signed and the network. Only what is proved speaks for a message; what was done with mail that only claimed to be
from an address speaks against others that claim so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from mailserver import api
from mailserver.plugins.reputation.identities import (
    ADDRESS,
    CLAIM,
    DOMAIN,
    NETWORK,
    SIGNER,
    TO,
    TO_DOMAIN,
    Identities,
    Key,
)

__all__ = ["History", "Known", "judge", "wanted_keys"]

CHECK = "reputation"
_DAY = 86_400.0
#: What one wish of the account counts after a half-life, and what three do.
_ONCE, _OFTEN = 0.5, 2.5
#: So many messages over so long a time, and nobody minded.
_SEVERAL, _LONG = 3, 7 * _DAY


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one sender. Times are epoch seconds; `good`, `bad` and `unread` are how often the account
    wanted the mail, did not, and deleted it unread, as much as that counts still."""

    first: float
    last: float
    seen: int
    good: float
    bad: float
    unread: float = 0.0


@dataclass(frozen=True, slots=True)
class History:
    """What the account knows, and whether anybody here has had (proved) mail from the domain. `like` is the domain of
    somebody it wrote to that the sender's is made to look like."""

    known: Mapping[Key, Known]
    anybody: bool
    like: api.Likeness | None = None

    def get(self, kind: str, value: str) -> Known | None:
        """What is known of it."""
        return self.known.get((kind, value))


def wanted_keys(who: Identities) -> list[Key]:
    """What `judge` wants to know."""
    keys = who.keys
    if who.author:
        keys += [(TO, who.author), (TO_DOMAIN, who.domain)]
        keys += [] if who.proof else [(ADDRESS, who.author)]
    return keys


def judge(who: Identities, history: History, now: float) -> list[api.Reason]:
    """The reasons, at most five."""
    if not who.author:
        return _by_way(who, history)
    reasons, decided = _proved_author(who, history, now) if who.proof else _claimed_author(who, history)
    if not decided:
        reasons += _lookalike(who, history)
    if not decided and who.proof:
        found, decided = _domain(who, history)
        reasons += found
    return reasons if decided else [*reasons, *_by_way(who, history)]


def _proved_author(who: Identities, history: History, now: float) -> tuple[list[api.Reason], bool]:
    author, known, written = who.author, history.get(ADDRESS, who.author), history.get(TO, who.author)
    if known is not None and known.bad >= _ONCE and known.bad > known.good:
        points = (5.0 if known.bad >= 3 * _ONCE else 3.0) - (2.0 if written is not None else 0.0)
        text = f"You put mail from {author} into Junk before"
        return [_reason(points, text, "If you want it now, move it out of Junk, and it counts less")], True
    if written is not None:
        return [_reason(-4.0, f"You have written to {author}")], True
    if known is not None and known.good >= _ONCE and known.good > known.bad:
        text = f"You wanted mail from {author} before: you answered it, kept it, or took it out of Junk"
        return [_reason(-3.0, text)], True
    if known is not None and known.unread >= _OFTEN:
        return [_reason(1.0, f"You often delete mail from {author} unread")], True
    if known is not None and known.seen >= _SEVERAL and now - known.first >= _LONG and known.bad < _ONCE:
        since = datetime.fromtimestamp(known.first, UTC).date()
        return [_reason(-1.0, f"Mail from {author} has come to you since {since}")], True
    return [], known is not None and known.seen > 1 and api.is_freemail(who.domain)


def _claimed_author(who: Identities, history: History) -> tuple[list[api.Reason], bool]:
    author, claimed = who.author, history.get(CLAIM, who.author)
    proved, written = history.get(ADDRESS, author), history.get(TO, author)
    if proved is not None and proved.seen >= 2:
        text = f"Mail from {author} was proved to be so until now, and this message is not"
        points = 0.5 if who.listed else 1.5
        return [_reason(points, text, "Ask the sender by another way before you trust what it says")], False
    if claimed is not None and claimed.bad >= _ONCE and claimed.bad > claimed.good:
        points = 2.5 if claimed.bad >= 3 * _ONCE else 1.5
        return [_reason(points, f"You put mail that claims to be from {author} into Junk before")], False
    if written is not None:
        return [_reason(0.0, f"You have written to {author}, but nothing proves that this is the answer")], False
    if claimed is None and proved is None:
        return [_reason(0.5, f"You have never had mail from {author}, and nothing proves that this is")], False
    return [], False


def _lookalike(who: Identities, history: History) -> list[api.Reason]:
    like = history.like
    if like is None:
        return []
    shown = api.readable_domain(who.domain)
    name = who.domain if shown == who.domain else f"{shown} ({who.domain})"
    words = {"same": "looks the same as", "letter": "is one letter away from", "inside": "begins like"}[like.how]
    text = f"The sender's domain {name} {words} {like.domain}, to which you have written, and is another"
    points = 3.0 if like.how == "same" else 1.5
    return [_reason(points, text, "Ask by another way than an answer before you believe it")]


def _domain(who: Identities, history: History) -> tuple[list[api.Reason], bool]:
    """Of others with the same domain. Where anybody gets an address they say nothing."""
    domain = who.domain
    if api.is_freemail(domain):
        new = history.get(ADDRESS, who.author) is None
        return ([_reason(0.5, f"You have never had mail from {who.author}")] if new else []), False
    known, written = history.get(DOMAIN, domain), history.get(TO_DOMAIN, domain)
    if known is not None and known.bad >= _ONCE and known.bad > 3 * known.good:
        points = 2.5 if known.bad >= _OFTEN else 1.0
        return [_reason(points, f"You put mail from others at {domain} into Junk before")], True
    if written is not None:
        return [_reason(-1.5, f"You have written to others at {domain}")], True
    if known is not None and known.good >= 3 * _ONCE and known.good > 3 * known.bad:
        return [_reason(-1.5, f"You wanted mail from others at {domain} before")], True
    if known is not None:
        return [], False
    if history.anybody:
        return [_reason(0.5, f"You have never had mail from {domain}")], False
    return [_reason(1.0, f"Nobody here has ever had mail from {domain}")], False


def _by_way(who: Identities, history: History) -> list[api.Reason]:
    """By whose servers it came, when nothing narrower is known."""
    ways = [(SIGNER, signer, f"mail that {signer} signed") for signer in who.signers]
    ways.append((NETWORK, who.network, "mail that came from the same network"))
    for kind, value, words in ways:
        known = history.get(kind, value)
        if known is not None and known.bad >= _OFTEN and known.bad > 10 * known.good:
            return [_reason(1.5, f"You put {words} into Junk again and again")]
        if known is not None and known.good >= _OFTEN and known.good > 10 * known.bad:
            return [_reason(-0.5, f"You wanted {words} again and again")]
    return []


def _reason(points: float, text: str, advice: str = "") -> api.Reason:
    return api.Reason(CHECK, points, text, advice)
