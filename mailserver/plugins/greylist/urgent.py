"""Mail that is worth nothing in five minutes: codes for logins, confirmations, new passwords. No I/O."""

from __future__ import annotations

import re

__all__ = ["is_urgent"]

_LONGEST = 1000
#: Words for what such a message brings, in the languages of many mail programs.
_WORDS = re.compile(
    r"\b(?:one[- ]?time|otp|2fa|mfa|pass ?code|pin|tan|codes?|verif\w+|confirm\w*|activat\w+|sign[- ]?in|log[- ]?in"
    r"|einmal\w*|bestätig\w+|anmeld\w+|zugangs\w+|sicherheits\w+|código|códigos|verificaci\w+|codice|verifica|conferma"
    r"|vérifi\w+|connexion|kod|kód|koodi|kode|bekræft\w+|bekreft\w+|weryfik\w+|код\w*|подтвержд\w+)\b"
    r"|验证码|驗證碼|認証|確認コード|인증",
    re.IGNORECASE,
)  # fmt: skip
_CODE = re.compile(r"(?<![\w.,:/-])(?:[A-Z]{1,3}-)?(?:\d{4,8}|\d{3}[ -]\d{3})(?![\w/:-])")
_RESET = re.compile(
    r"(?:reset|forgot\w*|new|change|zurücksetz\w*|neues|vergessen\w*|réinitialis\w+|restablec\w+|reimposta\w*)"
    r".{0,40}\b(?:pass(?:word|wort|wd)|kennwort\w*|mot de passe|contraseña|password)"
    r"|\b(?:pass(?:word|wort)|kennwort)\w*.{0,40}(?:reset|forgot\w*|zurücksetz\w*|vergessen)",
    re.IGNORECASE,
)  # fmt: skip


def is_urgent(subject: str, words: str) -> bool:
    """Does it bring a code, a confirmation or a new password? `words` are its first ones."""
    subject, words = subject[:_LONGEST], words[:_LONGEST]
    if _RESET.search(subject):
        return True
    return bool(_WORDS.search(subject) or _WORDS.search(words)) and bool(_CODE.search(subject) or _CODE.search(words))
