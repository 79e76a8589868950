"""The commands of plugins (`hooks/imap.py`) as commands of this server."""

from __future__ import annotations

from dataclasses import dataclass

from mailserver.hooks.imap import Argument, ImapCommand, ImapContext, ImapReply
from mailserver.imap.replies import Completion, Responses
from mailserver.imap.session import CommandSpec, Session, State
from mailserver.wire.imap.lexer import MAX_NESTING, Lexer, ParseError
from mailserver.wire.imap.parse import Parser

__all__ = ["PluginCommand", "adapted"]

_LOGGED_IN = frozenset({State.AUTHENTICATED, State.SELECTED})


@dataclass(frozen=True, slots=True)
class PluginCommand:
    """How the arguments are read, and what runs."""

    spec: CommandSpec
    parser: Parser


def adapted(name: str, command: ImapCommand, capability: str) -> PluginCommand:
    """The plugin's command under this name; where the capability is switched off, it is refused."""

    async def run(session: Session, arguments: tuple[Argument, ...]) -> Responses:
        context = ImapContext(
            session=session.facts, arguments=arguments, account=session.account, mail=session.store,
            selected=session.selected.mailbox.name if session.selected is not None else None,
        )  # fmt: skip
        async for piece in command.run(context):
            yield Completion(piece.status, piece.text, piece.code) if isinstance(piece, ImapReply) else piece

    states = frozenset(State) if command.before_login else _LOGGED_IN
    return PluginCommand(CommandSpec(name=name, run=run, states=states, capability=capability), _arguments)


def _arguments(lexer: Lexer) -> tuple[Argument, ...]:
    found: list[Argument] = []
    while lexer.skip(b" "):
        found.append(_argument(lexer, 1))
    return tuple(found)


def _argument(lexer: Lexer, depth: int) -> Argument:
    if depth > MAX_NESTING:
        raise ParseError(f"lists are nested at most {MAX_NESTING} deep")
    if lexer.data.startswith(b"(", lexer.at):
        return tuple(lexer.items_or_none(lambda: _argument(lexer, depth + 1)))
    return lexer.astring().decode("utf-8", "replace")
