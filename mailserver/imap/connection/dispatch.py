"""Running one command: its answers go out as they are made, and whatever goes wrong becomes its completion."""

from __future__ import annotations

from contextlib import aclosing

import structlog

from mailserver.imap.capabilities.needs import needed
from mailserver.imap.connection.output import Output
from mailserver.imap.replies import BadArguments, Completion, Refused, bad, from_error, no
from mailserver.imap.session import CommandSpec, Session
from mailserver.imap.slices import Turn
from mailserver.imap.uid_only import UID_REQUIRED, names_numbers
from mailserver.model.errors import MailError

__all__ = ["BROKEN", "may_run", "run_command"]

#: The completion of a command that failed by an error of ours. Nothing of it is the client's to read (RFC 5530).
BROKEN = no("Internal error; it was logged", "SERVERBUG")

log = structlog.get_logger()


def may_run(session: Session, spec: CommandSpec, command: object) -> Completion | None:
    """None, or why it cannot be given: a capability that is not offered, or the session's state (RFC 9051 §3)."""
    if session.off:
        if not session.offers(spec.capability):
            return bad(f"{spec.name} is not offered here")
        for capability in needed(command):
            if not session.offers(capability):
                return bad(f"{capability} is not offered here")
    if session.uid_only and names_numbers(command):
        return bad(*UID_REQUIRED)
    if session.state in spec.states:
        return None
    if session.account is None:
        return bad(f"Log in before {spec.name}")
    return bad(f"{spec.name} is not possible in the {session.state.value} state")


async def run_command(session: Session, spec: CommandSpec, command: object, output: Output) -> Completion:
    """Run it to its end. Raises ConnectionError: the connection cannot go on."""
    completion = Completion("OK", f"{spec.name} completed")
    turn = Turn()
    try:
        async with aclosing(spec.run(session, command)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Completion):
                    completion = piece
                    continue
                output.put(piece)
                if output.full:
                    await output.flush()
                await turn.pass_on()
    except BadArguments as error:
        return bad(str(error), error.code)
    except Refused as refused:
        return refused.completion
    except MailError as error:
        if error.detail:
            log.info("command refused", session=session.facts.session, command=spec.name, detail=error.detail)
        return from_error(error)
    except ConnectionError:
        raise
    except Exception:
        log.exception("command failed", session=session.facts.session, command=spec.name)
        return BROKEN
    return completion
