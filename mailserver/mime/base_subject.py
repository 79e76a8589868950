"""The base subject by which messages are sorted and threaded (RFC 5256 §2.1).

The steps are those of the RFC, done on positions in one text, so that each octet is looked at a few times however often
`re:` or `[fwd:` stands there.
"""

from __future__ import annotations

import re

__all__ = ["base_subject"]

_SPACE = re.compile(r"[ \t\r\n]+")
_FORWARDED = "(fwd)"
# RFC 5256 §5. A blob has no brackets within, and takes the spaces behind it.
_BLOBS = re.compile(r"(?:\[[^\[\]]*+\] *+)*+")
_REFWD = re.compile(r"(?:re|fwd?+) *+(?:\[[^\[\]]*+\] *+)?+:", re.IGNORECASE | re.ASCII)
_FWD_HEADER = re.compile(r"\[fwd:", re.IGNORECASE | re.ASCII)


def base_subject(text: str) -> tuple[str, bool]:
    """Of a Subject's value without encoded words: the base subject, and whether the message is a reply or forward
    (RFC 5256 §3)."""
    text = _SPACE.sub(" ", text)
    start, end, reply = 0, len(text), False
    while True:
        end, trailer = _without_trailers(text, start, end)
        start, leader = _without_leaders(text, start, end)
        reply = reply or trailer or leader
        if not (_FWD_HEADER.match(text, start, end) and text[end - 1] == "]"):
            return text[start:end], reply
        start, end, reply = start + 5, end - 1, True


def _without_trailers(text: str, start: int, end: int) -> tuple[int, bool]:
    """Step 2: where the text ends now, and whether a `(fwd)` went."""
    found = False
    while end > start:
        if text[end - 1] == " ":
            end -= 1
        elif end - start >= 5 and text[end - 5 : end].lower() == _FORWARDED:
            end, found = end - 5, True
        else:
            break
    return end, found


def _without_leaders(text: str, start: int, end: int) -> tuple[int, bool]:
    """Steps 3 to 5: where the text begins now, and whether a `re:` or the like went."""
    found = False
    while True:
        while start < end and text[start] == " ":
            start += 1
        blobs = _BLOBS.match(text, start, end)
        behind = start if blobs is None else blobs.end()
        refwd = _REFWD.match(text, behind, end)
        if refwd is not None:
            start, found = refwd.end(), True
        elif behind < end:
            # Step 4 takes the blobs away one by one; no `re:` follows the last, so none follows another.
            return behind, found
        else:
            # Nothing but blobs: the last one is the base.
            return _last_blob(text, start, end), found


def _last_blob(text: str, start: int, end: int) -> int:
    opened = text.rfind("[", start, end)
    return start if opened < 0 else opened
