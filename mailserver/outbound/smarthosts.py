"""Smarthosts: who sends through which, and how to log in there.

The address of the sender decides, then its domain, then the smarthost without `senders`. Passwords are read when they
are needed, so a changed file counts from the next connection on; they are in no repr and in no log.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mailserver.model.address import EmailAddress, normalize_domain
from mailserver.model.delivery import Destination
from mailserver.model.errors import MailError
from mailserver.outbound.settings import SmarthostSettings

__all__ = ["Credentials", "Smarthosts"]

_LONGEST_PASSWORD_FILE = 4096


@dataclass(frozen=True, slots=True)
class Credentials:
    """Not to be logged."""

    user: str
    password: str = field(repr=False)


class Smarthosts:
    """The configured ones, by name."""

    def __init__(self, settings: Mapping[str, SmarthostSettings]) -> None:
        self._settings = dict(settings)
        self._by_sender: dict[str, str] = {}
        for name, smarthost in self._settings.items():
            for text in smarthost.senders:
                key = EmailAddress.parse(text).key if "@" in text else normalize_domain(text)
                self._by_sender.setdefault(key, name)
        self._default = next((name for name, smarthost in self._settings.items() if not smarthost.senders), "")

    def for_sender(self, sender: EmailAddress | None, *, ours: bool = True) -> Destination | None:
        """Where this sender's mail goes; None: to the recipients' own servers. Reports (None) take the default.

        Not `ours`: nobody proved to be the sender, so the smarthost of one address is not for this mail.
        """
        name = self._default
        if sender is not None:
            own = self._by_sender.get(sender.key) if ours else None
            name = own or self._by_sender.get(sender.domain) or name
        if not name:
            return None
        smarthost = self._settings[name]
        return Destination(name=smarthost.host, hosts=(smarthost.address,), smarthost=name)

    def settings(self, name: str) -> SmarthostSettings | None:
        """By the name that a Destination has; None: there is none of this name any more."""
        return self._settings.get(name)

    def credentials(self, name: str) -> Credentials | None:
        """None: no login there. Raises MailError (temporary): the password cannot be read."""
        smarthost = self._settings[name]
        if not smarthost.user:
            return None
        try:
            with Path(smarthost.password_file).open("rb") as file:
                line = file.read(_LONGEST_PASSWORD_FILE).split(b"\n", 1)[0].rstrip(b"\r")
            password = line.decode()
        except (OSError, UnicodeDecodeError) as error:
            raise _unreadable(name, str(error)) from None
        if not password:
            raise _unreadable(name, "its first line is empty")
        return Credentials(smarthost.user, password)


def _unreadable(name: str, detail: str) -> MailError:
    return MailError(
        "The password for the smarthost cannot be read", detail=f"smarthosts.{name}.password_file: {detail}",
        status="4.3.5", temporary=True,
    )  # fmt: skip
