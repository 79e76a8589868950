"""AUTH (RFC 4954): carries the exchange of `net/login.py` over SMTP lines."""

from __future__ import annotations

import binascii
from abc import abstractmethod
from collections.abc import Callable

from mailserver.model.errors import MailError
from mailserver.model.reply import Reply
from mailserver.net.login import LoginOk, LoginRefused, SaslChallenge
from mailserver.smtp.commands import CommandBase
from mailserver.smtp.stream import Stream
from mailserver.smtp.transaction import refusal
from mailserver.wire.sasl import SaslError, decode_initial, decode_response

__all__ = ["AuthCommand"]

_SUCCESS = Reply(235, "2.7.0", "Authentication succeeded").encode()
_NOT_HERE = Reply(502, "5.5.1", "AUTH is not offered here").encode()
_TWICE = Reply(503, "5.5.1", "Already authenticated").encode()
_SYNTAX = Reply(501, "5.5.4", "Syntax: AUTH mechanism [initial-response]").encode()
_NEVER_ENDS = Reply(501, "5.5.2", "The exchange does not end").encode()
_TLS_FIRST = Reply(538, "5.7.11", "Encryption is required to log in").encode()
_UNKNOWN = Reply(504, "5.5.4", "The mechanism is not supported").encode()
_MOST_STEPS = 8


class AuthCommand(CommandBase):
    """One exchange per command. The client may abort it with `*`; nothing of it is ever logged."""

    stream: Stream
    _forget_login: Callable[[], None] | None = None

    @abstractmethod
    async def read_answer(self) -> bytes:
        """The client's next line, without its line end."""
        ...

    @abstractmethod
    def end(self, reason: str) -> None:
        """Say goodbye soon: the account's credentials changed."""
        ...

    async def smtp_AUTH(self, argument: bytes) -> bytes:  # noqa: N802
        """RFC 4954 §4."""
        if not self.receiver.with_auth:
            return _NOT_HERE
        if self.session.facts.account is not None:
            return _TWICE
        out_of_order = refusal("AUTH", self.transaction.state)
        if out_of_order is not None:
            return out_of_order
        words = argument.split(b" ")
        if not words[0] or len(words) > 2 or not words[0].isascii():
            return _SYNTAX
        login = self.receiver.parts.login
        if not login.mechanisms(self.session.facts):
            return _TLS_FIRST
        try:
            exchange = login.start(words[0].decode("ascii"), self.session.facts)
        except MailError as error:
            return _TLS_FIRST if error.status == "5.7.11" else _UNKNOWN
        try:
            response = decode_initial(words[1]) if len(words) == 2 else None
            for _ in range(_MOST_STEPS):
                result = await exchange.step(response)
                if isinstance(result, SaslChallenge):
                    self.stream.push(b"334 " + binascii.b2a_base64(result.data, newline=False) + b"\r\n")
                    response = decode_response(await self.read_answer())
                elif isinstance(result, LoginOk):
                    self.session.logged_in(result.account)
                    self._forget_login = login.register(result.account, self.end, self.session.facts.peer)
                    return _SUCCESS
                else:
                    return result.reply.encode()
        except SaslError as error:
            return LoginRefused(error.text, error.status).reply.encode()
        return _NEVER_ENDS

    def forget_login(self) -> None:
        """The connection ends, or STARTTLS began a new session."""
        if self._forget_login is not None:
            self._forget_login()
            self._forget_login = None
