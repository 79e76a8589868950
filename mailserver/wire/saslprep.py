"""SASLprep (RFC 4013): the one form in which passwords are hashed and compared.

Code points that Unicode 3.2 does not know are let through and left as they are, as RFC 4013 §2.5 has it for queries; we
do so for stored passwords too, since today's emoji and scripts would be refused otherwise. The same form is used when a
password is set and when it is checked, so both sides agree.
"""

from __future__ import annotations

import re
import stringprep
import unicodedata

from mailserver.model.errors import InvalidInput

__all__ = ["saslprep"]

_PLAIN = re.compile(r"[\x20-\x7e]*")
_PROHIBITED = (
    stringprep.in_table_c12, stringprep.in_table_c21_c22, stringprep.in_table_c3, stringprep.in_table_c4,
    stringprep.in_table_c5, stringprep.in_table_c6, stringprep.in_table_c7, stringprep.in_table_c8,
    stringprep.in_table_c9,
)  # fmt: skip


def saslprep(text: str) -> str:
    """The prepared string.

    Raises:
        InvalidInput: the text has control or other prohibited characters (§2.3), or mixes directions (§2.4).
    """
    if _PLAIN.fullmatch(text):
        return text
    # §2.1: spaces of all kinds become SPACE, what is "commonly mapped to nothing" goes. §2.2: NFKC of Unicode 3.2.
    mapped = "".join(" " if stringprep.in_table_c12(c) else c for c in text if not stringprep.in_table_b1(c))
    prepared = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    if any(prohibited(c) for c in prepared for prohibited in _PROHIBITED):
        raise InvalidInput("the text has characters that are not allowed in passwords (RFC 4013)")
    if any(stringprep.in_table_d1(c) for c in prepared) and (
        any(stringprep.in_table_d2(c) for c in prepared)
        or not (stringprep.in_table_d1(prepared[0]) and stringprep.in_table_d1(prepared[-1]))
    ):
        raise InvalidInput("the text mixes writing directions (RFC 3454 §6)")
    return prepared
