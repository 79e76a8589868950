"""Signs in the links of a message: one that shows another address than it leads to. No I/O."""

from __future__ import annotations

from collections.abc import Sequence

from mailserver import api

__all__ = ["link_signs"]

CHECK = "phishing"
_BRAND = 0.5
_BE_SURE = "Do not follow links in this message; type the address yourself"
#: Services that put their own address around those in mail that passed through them.
_WRAPPERS = ("safelinks.protection.outlook.com", "urldefense.com", "urldefense.proofpoint.com", "cudasvc.com",
             "mimecast.com", "mimecastprotect.com", "secure-web.cisco.com", "clicktime.symantec.com")  # fmt: skip


def link_signs(links: Sequence[api.HtmlLink], author: str, proved: bool) -> list[api.Reason]:
    """At most one of each kind.

    Args:
        author: the domain in From, "" when there is none.
        proved: whether it is proved. Newsletters count clicks by addresses of others, under the sender's signature.
    """
    found: dict[str, api.Reason] = {}
    for link in links:
        if link.user and "." in link.user:
            text = f"A link begins with {link.user[:80]}, and leads to {link.host}"
            found.setdefault("user", _reason(1.5, text))
        elif _is_number(link.host):
            found.setdefault("number", _reason(1.0, f"A link leads to a bare number in place of a name: {link.host}"))
        elif api.mixes_alphabets(link.host):
            text = f"A link leads to {api.readable_domain(link.host)}, which mixes letters of several alphabets"
            found.setdefault("alphabets", _reason(1.0, text))
        shown = api.shown_host(link.text)
        if shown and _misleads(shown, link.host) and not (proved and _same(shown, author)):
            text = f"A link that shows {shown} leads to {link.host}"
            points = (1.0 if proved else 1.5) if _is_address(link.text) else _BRAND
            if "shown" not in found or found["shown"].points < points:
                found["shown"] = _reason(points, text)
    return list(found.values())


def _is_address(text: str) -> bool:
    """Not only a name such as `example.org`, which newsletters show as they would show `Example`."""
    return "/" in text or text.lower().startswith("www.")


def _is_number(host: str) -> bool:
    """In any of the ways in which browsers read one: `192.0.2.1`, `3221225985`, `0xc0000201`, `[2001:db8::1]`."""
    last = host.rpartition(".")[2]
    return last.isdigit() or last.startswith(("0x", "["))


def _misleads(shown: str, host: str) -> bool:
    return not _same(shown, host) and not any(host == one or host.endswith("." + one) for one in _WRAPPERS)


def _same(one: str, other: str) -> bool:
    return api.base_domain(one) == api.base_domain(other)


def _reason(points: float, text: str) -> api.Reason:
    return api.Reason(CHECK, points, text, _BE_SURE)
