"""Signs in the names that a message shows: of its author, of where answers go, of its files. No I/O."""

from __future__ import annotations

import re
from collections.abc import Collection

from mailserver import api

__all__ = ["file_signs", "name_signs"]

CHECK = "phishing"
_ADDRESS = re.compile(r"[^\s<>()\"',;:@]{1,64}@((?:[\w-]{1,63}\.){1,10}[\w-]{2,63})")
_LONGEST = 500
_TRICKS = {
    "turned": "has marks that turn the direction of writing, so that it reads as something else",
    "unseen": "has characters that nobody sees, so that filters do not recognise it",
}
_BE_SURE = "Ask by another way than an answer before you believe it"


def name_signs(message: api.MessageView, findings: api.Findings, own: Collection[str]) -> list[api.Reason]:
    """Of the header; `own` are the domains that the message goes to."""
    authors, listed = message.authors, message.value(b"list-id") is not None
    if not authors or authors[0].address is None:
        return []
    name, address = authors[0].name, authors[0].address
    found = _author_signs(name, address, own, listed=listed)
    found += _claim_signs(address, findings, own, listed=listed)
    subject = message.value(b"subject")
    for what, text in (("The sender's name", name), ("The subject", api.decode_words(subject or b""))):
        trick = api.tricks(text)
        if trick:
            found.append(_reason(0.5 if trick == "unseen" and text is not name else 1.5, f"{what} {_TRICKS[trick]}"))
    if not listed:
        found += _answer_signs(message, address)
    return found


def _author_signs(
    name: str, address: api.EmailAddress, own: Collection[str], *, listed: bool
) -> list[api.Reason]:
    """Of the name that mail programs show in place of the address."""
    if listed:
        # Lists put the author's address beside their own name.
        return []
    shown = _ADDRESS.search(name[:_LONGEST])
    if shown is not None and not _related(shown[1], address.domain):
        text = f"The sender's name shows {shown[0]}, but it is from {address.key}"
        return [_reason(1.5, text, _BE_SURE)]
    folded = name[:_LONGEST].casefold()
    for domain in own:
        named = re.search(rf"(?<![\w.-]){re.escape(domain)}(?![\w-])", folded)
        if named is not None and not _related(domain, address.domain):
            text = f"The sender's name mentions {domain}, but it is from {address.key}"
            return [_reason(1.5, text, _BE_SURE)]
    return []


def _claim_signs(
    address: api.EmailAddress, findings: api.Findings, own: Collection[str], *, listed: bool
) -> list[api.Reason]:
    """Of the author's domain."""
    domain, found = address.domain, []
    if domain in own and not findings.proves(domain):
        points = 0.5 if listed else 1.5
        text = f"It claims to be from {domain}, where you are yourself, and nothing proves that"
        found.append(_reason(points, text, _BE_SURE))
    elif domain not in own:
        likeness = api.KnownDomains(own).like(domain)
        found += [] if likeness is None else [_likeness_sign(domain, likeness)]
    if api.mixes_alphabets(domain):
        shown = api.readable_domain(domain)
        found.append(_reason(1.5, f"The sender's domain {shown} ({domain}) mixes letters of several alphabets"))
    return found


def _likeness_sign(domain: str, likeness: api.Likeness) -> api.Reason:
    shown = domain if domain == api.readable_domain(domain) else f"{api.readable_domain(domain)} ({domain})"
    text = {
        "same": f"The sender's domain {shown} is made to look like your own {likeness.domain}, and is another",
        "letter": f"The sender's domain {shown} is one letter away from your own {likeness.domain}",
        "inside": f"The sender's domain {shown} begins like your own {likeness.domain}, and is somebody else's",
    }[likeness.how]
    return _reason(3.0 if likeness.how == "same" else 1.5, text, _BE_SURE)


def _answer_signs(message: api.MessageView, address: api.EmailAddress) -> list[api.Reason]:
    """Of where an answer would go."""
    for answer in message.named_in(b"reply-to"):
        if answer.address is None or _related(answer.address.domain, address.domain):
            continue
        if api.looks_like(answer.address.domain, address.domain):
            text = f"Answers go to {answer.address.key}, which only looks like the sender's domain {address.domain}"
            return [_reason(1.5, text, _BE_SURE)]
        if api.is_freemail(answer.address.domain) and not api.is_freemail(address.domain):
            text = f"Answers do not go to {address.domain}, but to a private address: {answer.address.key}"
            return [_reason(0.7, text)]
    return []


def file_signs(names: Collection[str]) -> list[api.Reason]:
    """Of attached files."""
    if any(api.tricks(name) == "turned" for name in names):
        return [_reason(1.5, f"The name of an attached file {_TRICKS['turned']}", "Do not open it")]
    return []


def _related(one: str, other: str) -> bool:
    return api.base_domain(one.lower()) == api.base_domain(other)


def _reason(points: float, text: str, advice: str = "") -> api.Reason:
    return api.Reason(CHECK, points, text, advice)
