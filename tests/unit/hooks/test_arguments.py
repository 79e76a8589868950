"""What operations are asked with, checked when it is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mailserver.hooks.arguments import account, moment, number, text, texts
from mailserver.model.errors import InvalidInput, NotFound
from tests.helpers.plugins import running


def test_what_is_missing_is_nothing() -> None:
    assert (text({}, "x"), texts({}, "x"), number({}, "x"), moment({}, "x")) == ("", [], 0, None)


@pytest.mark.parametrize(
    ("read", "value", "words"),
    [
        (text, 7, "x must be text"), (text, None, "x must be text"), (texts, "a", "x must be a list of texts"),
        (texts, ["a", 1], "x must be a list of texts"), (number, -1, "x must be a number from 0"),
        (number, True, "x must be a number from 0"), (number, 1 << 62, "x must be a number from 0"),
        (moment, True, "x is a time"), (moment, "now", "x is a time"), (moment, -1, "x is a time"),
    ],
)  # fmt: skip
def test_what_is_of_a_wrong_type_is_said(read: Any, value: object, words: str) -> None:
    with pytest.raises((ValueError, InvalidInput), match=words):
        read({"x": value}, "x")


async def test_an_account_by_its_address(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        await server.add("anna@example.test")
        assert account(server.directory, {"account": "Anna@Example.test"}).account == "anna@example.test"
        with pytest.raises(NotFound, match="see them all: mailserver account list"):
            account(server.directory, {"account": "ben@example.test"})
        for wrong in ("", "anna"):
            with pytest.raises(InvalidInput):
                account(server.directory, {"account": wrong})
        with pytest.raises(ValueError, match="account must be text"):
            account(server.directory, {"account": 7})
