"""Arguments of operations: JSON values from a command, checked when they are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mailserver.model.address import EmailAddress
from mailserver.model.errors import InvalidInput, NotFound
from mailserver.ports.directory import Account, Directory

__all__ = ["Arguments", "account", "account_named", "moment", "number", "text", "texts"]

Arguments = Mapping[str, Any]


def text(arguments: Arguments, name: str) -> str:
    """A text argument, "" when it is missing. Raises ValueError."""
    value = arguments.get(name, "")
    if not isinstance(value, str):
        raise ValueError(f"{name} must be text")
    return value


def texts(arguments: Arguments, name: str) -> list[str]:
    """A list of texts. Raises ValueError."""
    value = arguments.get(name, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"{name} must be a list of texts")
    return value


def account_named(directory: Directory, address: str) -> Account:
    """The account that has this address. Raises InvalidInput, NotFound."""
    parsed = EmailAddress.parse(address)
    found = directory.account(parsed.key)
    if found is None:
        raise NotFound(f"there is no account {parsed}; see them all: mailserver account list")
    return found


def account(directory: Directory, arguments: Arguments) -> Account:
    """The one whose address is the argument `account`. Raises ValueError, InvalidInput, NotFound."""
    return account_named(directory, text(arguments, "account"))


def number(arguments: Arguments, name: str) -> int:
    """A number from 0, 0 when it is missing. Raises InvalidInput."""
    value = arguments.get(name) or 0
    if type(value) is not int or not 0 <= value < 1 << 62:
        raise InvalidInput(f"{name} must be a number from 0")
    return value


def moment(arguments: Arguments, name: str) -> float | None:
    """A time in epoch seconds, None when it is missing. Raises InvalidInput."""
    value = arguments.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e11:
        raise InvalidInput(f"{name} is a time in seconds")
    return float(value)
