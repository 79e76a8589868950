"""Exit codes of sysexits(3), and which of them a refusal by the server becomes."""

from __future__ import annotations

__all__ = [
    "CONFIG", "DATA", "NO_HOST", "NO_PERMISSION", "NO_USER", "SOFTWARE", "TEMPORARY", "UNAVAILABLE", "USAGE", "Stopped",
    "of_reply",
]  # fmt: skip

USAGE, DATA, NO_USER, NO_HOST, UNAVAILABLE, SOFTWARE = 64, 65, 67, 68, 69, 70
TEMPORARY, NO_PERMISSION, CONFIG = 75, 77, 78

#: Enhanced codes (RFC 3463) by their beginning; the first that fits.
_BY_STATUS = (
    ("5.7.", NO_PERMISSION), ("5.1.2", NO_HOST), ("5.1.1 ", NO_USER), ("5.1.6", NO_USER), ("5.1.10", NO_USER),
    ("5.2.1", NO_USER), ("5.1.", DATA), ("5.3.4", DATA), ("5.5.", DATA), ("5.6.", DATA),
)  # fmt: skip


class Stopped(Exception):
    """The program ends with `code`, and says `text` on standard error."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def of_reply(code: int, text: str) -> int:
    """The exit code for a reply that refuses; `text` begins with the enhanced code, if there is one."""
    if code < 500:
        return TEMPORARY
    for status, found in _BY_STATUS:
        if f"{text} ".startswith(status):
            return found
    return UNAVAILABLE
