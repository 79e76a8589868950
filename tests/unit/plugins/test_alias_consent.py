"""aliases: whom an alias forwards to has to agree first."""

from __future__ import annotations

import email
import email.policy
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from mailserver.hooks.contexts import LocalMailbox, MessageContext, Resolution, ResolveContext, Unresolvable
from mailserver.mime.automatic import automatic_sign
from mailserver.mime.preview import preview
from mailserver.model.address import EmailAddress
from mailserver.model.envelope import Envelope, Recipient
from mailserver.model.errors import AlreadyExists, LimitReached, MailError, NotPermitted, StorageFailure
from mailserver.model.ids import QueueId
from mailserver.plugins.aliases.meaning import Meaning, meaning_of
from mailserver.plugins.aliases.tokens import is_token, make_pending, make_token
from mailserver.storage.directory import SqliteDirectory
from mailserver.storage.directory_settings import DomainSettings
from tests.helpers.content import BytesContent
from tests.helpers.plugins import Server, make_session, running

DOMAINS = {"example.test": DomainSettings(), "second.test": DomainSettings()}
INFO, FAR, MORE = "info@example.test", "bert@far.test", "cleo@far.test"
SECTIONS = {"aliases": {"trusted_domains": ["Trusted.test"]}}
HOUR, DAY = 3600, 86400


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running(tmp_path, domains=DOMAINS, sections=SECTIONS) as server:
        await server.add("anna@example.test")
        yield server


async def do(server: Server, name: str, **arguments: Any) -> Any:
    (operation,) = [c.value for c in server.hooks.contributions("operation") if c.name == name]
    return await operation(arguments)


async def add(server: Server, address: str, *targets: str, **arguments: Any) -> Any:
    return await do(server, "alias.add", address=address, targets=list(targets), **arguments)


async def pending(server: Server) -> dict[str, list[str]]:
    rows = await do(server, "alias.list")
    return {row["address"]: [one["target"] for one in row["pending"]] for row in rows if row["pending"]}


async def resolve(server: Server, address: str) -> list[str] | str:
    answer = await server.hooks.resolve(ResolveContext(address=EmailAddress.parse(address)))
    if isinstance(answer, Unresolvable):
        return f"{answer.reply.code} {answer.reply.status}"
    assert isinstance(answer, Resolution)
    return [
        place.account if isinstance(place, LocalMailbox) else str(place.address) for place in answer.destinations
    ]


def letter(server: Server, number: int = -1) -> EmailMessage:
    parsed = email.message_from_bytes(server.queue.items[number].message, policy=email.policy.default)
    assert isinstance(parsed, EmailMessage)
    return parsed


def token(server: Server, number: int = -1) -> str:
    return str(letter(server, number)["Reply-To"]).strip("<>")


async def answer(
    server: Server, to: str, *, sender: str = "bert@home.test", header: str = "", text: str = "Yes."
) -> None:
    """What a person writes; from another address than he was written to."""
    content = BytesContent(f"From: <{sender}>\r\nSubject: Re: hello\r\n{header}\r\n{text}\r\n".encode())
    envelope = Envelope(
        sender=EmailAddress.parse(sender) if sender else None, recipients=(Recipient(address=EmailAddress.parse(to)),)
    )
    await server.hooks.message(
        MessageContext(session=make_session(), queue_id=QueueId("0123456789abcdef"), envelope=envelope, content=content)
    )


async def test_nothing_is_forwarded_before_the_owner_agreed(server: Server) -> None:
    done = await add(server, INFO, "anna@example.test", FAR, "x@second.test", "me@trusted.test")
    assert [one["target"] for one in done["asked"]] == [FAR]
    assert await resolve(server, INFO) == ["anna@example.test", "x@second.test", "me@trusted.test"]
    assert await pending(server) == {INFO: [FAR]}

    (item,) = server.queue.items
    assert [str(one.address) for one in item.envelope.recipients] == [FAR]
    assert str(item.envelope.sender) == "postmaster@example.test"
    assert item.envelope.own
    assert item.envelope.hold_until is None
    message = letter(server)
    assert message["From"] == "Postmaster <postmaster@example.test>"
    assert message["Auto-Submitted"] == "auto-generated"
    text = message.get_content()
    for words in (INFO, FAR, "mail.example.test", token(server), "this message with the word YES", "January 2027"):
        assert words in text
    assert "://" not in text

    await answer(server, token(server))
    assert await resolve(server, INFO) == ["anna@example.test", FAR, "x@second.test", "me@trusted.test"]
    assert await pending(server) == {}
    assert letter(server)["Subject"] == f"You get the mail for {INFO} from now on"
    assert letter(server)["Auto-Submitted"] == "auto-replied"
    assert server.queue.items[-1].envelope.sender is None


async def test_an_alias_that_nobody_gets_is_refused_for_now(server: Server) -> None:
    await add(server, INFO, FAR, MORE)
    assert await resolve(server, INFO) == "450 4.2.1"
    await answer(server, token(server, 1))
    assert await resolve(server, INFO) == [MORE]


async def test_it_is_seen_through_other_aliases_and_catch_alls(server: Server) -> None:
    await add(server, INFO, FAR)
    await add(server, "team@example.test", INFO, "anna@example.test")
    await add(server, "one@example.test", INFO)
    await add(server, "a@example.test", "b@example.test")
    await add(server, "b@example.test", "a@example.test")
    assert await resolve(server, "team@example.test") == ["anna@example.test"]
    assert await resolve(server, "one@example.test") == "450 4.2.1"
    # A circle is none of our business.
    assert await resolve(server, "a@example.test") == ["b@example.test"]
    await do(server, "alias.confirm", address=INFO, target=FAR)
    assert await resolve(server, "team@example.test") == [INFO, "anna@example.test"]
    assert await resolve(server, "one@example.test") == [INFO]


async def test_an_answer_counts_once_and_for_its_alias_only(server: Server) -> None:
    await add(server, INFO, FAR)
    await add(server, "sales@second.test", FAR)
    first, second = token(server, 0), token(server, 1)
    assert first.endswith("@example.test")
    assert second.endswith("@second.test")
    request, mac = second.partition("@")[0].split(".")
    for wrong in (
        f"{request}.{first.partition('@')[0].partition('.')[2]}@second.test",
        f"{request}.{mac}@example.test",
        f"{request}.{'0' * 32}@second.test",
        f"confirm+{'0' * 16}.{mac}@second.test",
    ):
        await answer(server, wrong)
        assert await resolve(server, wrong) == "550 5.1.1"
    assert await pending(server) == {INFO: [FAR], "sales@second.test": [FAR]}
    await answer(server, first.upper().replace("@EXAMPLE.TEST", "@example.test"))
    assert await pending(server) == {"sales@second.test": [FAR]}
    # The alias is gone and comes back: what was answered before is void.
    await do(server, "alias.remove", address=INFO)
    await do(server, "alias.remove", address="sales@second.test")
    await add(server, "sales@second.test", FAR)
    await answer(server, first)
    await answer(server, second)
    assert await pending(server) == {"sales@second.test": [FAR]}
    assert len([item for item in server.queue.items if item.envelope.sender is None]) == 1


def test_an_address_to_answer_to_is_of_one_alias_and_one_target() -> None:
    asked = make_pending(EmailAddress.parse(FAR), 0.0)
    made = [
        make_token(EmailAddress.parse(alias), replace(asked, target=EmailAddress.parse(target)))
        for alias in (INFO, "sales@example.test") for target in (FAR, MORE)
    ]  # fmt: skip
    assert len(set(made)) == 4
    assert all(len(one.local) <= 64 and is_token(one) for one in made)


async def test_an_answer_reaches_a_person(server: Server) -> None:
    await add(server, INFO, FAR)
    assert await resolve(server, token(server)) == ["postmaster@example.test"]
    await answer(server, token(server))
    assert await resolve(server, token(server, 0)) == "550 5.1.1"


async def test_without_anybody_here_the_answer_goes_back(tmp_path: Path) -> None:
    async with running(tmp_path, domains=DOMAINS) as server:
        await add(server, INFO, FAR)
        assert await resolve(server, token(server)) == [FAR]
        # The postmaster himself is one who did not agree yet.
        await add(server, "postmaster@second.test", MORE)
        assert await resolve(server, token(server)) == [MORE]
        await do(server, "alias.confirm", address="postmaster@second.test", target=MORE)
        await add(server, "info@second.test", "x@far.test")
        assert await resolve(server, token(server)) == ["postmaster@second.test"]


async def test_an_answer_may_come_to_an_account_of_that_name(server: Server) -> None:
    await server.add("confirm@example.test")
    await add(server, INFO, FAR)
    assert await resolve(server, token(server)) == ["confirm@example.test"]
    await answer(server, token(server))
    assert await pending(server) == {}


async def test_a_question_is_void_after_a_week_and_may_be_asked_again(server: Server) -> None:
    await add(server, INFO, FAR)
    first = token(server)
    server.clock.advance(6 * DAY)
    done = await add(server, INFO, FAR)
    assert done["asked"][0]["until"] == server.clock.time() + 7 * DAY
    assert token(server) == first
    server.clock.advance(7 * DAY)
    await answer(server, first)
    assert await resolve(server, first) == "550 5.1.1"
    assert await pending(server) == {INFO: [FAR]}
    assert await resolve(server, INFO) == "450 4.2.1"
    await add(server, INFO, FAR)
    assert token(server) != first
    await answer(server, first)
    assert await pending(server) == {INFO: [FAR]}
    await answer(server, token(server))
    assert await pending(server) == {}


async def test_an_address_gets_one_letter_an_hour(server: Server) -> None:
    await add(server, INFO, FAR)
    server.clock.advance(600)
    with pytest.raises(LimitReached, match="try again in 50 minutes"):
        await add(server, INFO, FAR)
    done = await add(server, "sales@example.test", "Bert@FAR.test")
    now = server.clock.time()
    assert done["asked"] == [
        {"target": "Bert@far.test", "at": now + 3000, "until": now + 3000 + 7 * DAY}
    ]
    assert server.queue.items[-1].envelope.hold_until == now + 3000
    # Taking it away and adding it again does not help, nor does a restart.
    await do(server, "alias.remove", address=INFO)
    done = await add(server, INFO, FAR)
    assert done["asked"][0]["at"] == now + 3000 + HOUR
    for number in range(22):
        await add(server, f"a{number}@example.test", FAR)
    with pytest.raises(LimitReached, match="tomorrow"):
        await add(server, "last@example.test", FAR)
    assert server.directory.alias("last@example.test") is None
    server.clock.advance(2 * DAY)
    await add(server, "last@example.test", FAR)
    assert server.queue.items[-1].envelope.hold_until is None


async def test_the_administrator_may_know(server: Server) -> None:
    await add(server, INFO, FAR, confirmed=True)
    assert await resolve(server, INFO) == [FAR]
    assert server.queue.items == []
    await add(server, "sales@example.test", FAR, MORE)
    await add(server, "sales@example.test", MORE, confirmed=True)
    assert await pending(server) == {"sales@example.test": [FAR]}
    with pytest.raises(MailError, match="there is no alias"):
        await do(server, "alias.confirm", address="no@example.test", target=FAR)
    with pytest.raises(MailError, match="waits for no answer"):
        await do(server, "alias.confirm", address=INFO, target=FAR)


async def test_other_targets_are_another_alias(server: Server) -> None:
    await add(server, INFO, FAR)
    for targets in ([MORE], [FAR, MORE]):
        with pytest.raises(AlreadyExists, match="remove it first"):
            await add(server, INFO, *targets)
    await do(server, "alias.confirm", address=INFO, target=FAR)
    with pytest.raises(AlreadyExists):
        await add(server, INFO, FAR)


async def test_a_letter_that_cannot_be_kept_leaves_no_alias(server: Server) -> None:
    server.queue.failure = StorageFailure("the disk is full")
    with pytest.raises(StorageFailure):
        await add(server, INFO, FAR)
    assert server.directory.aliases() == []
    server.queue.failure = None
    done = await add(server, INFO, FAR)
    assert done["asked"][0]["at"] == server.clock.time()
    # He agreed, thanks or not.
    server.queue.failure = StorageFailure("the disk is full")
    await answer(server, token(server))
    assert await pending(server) == {}


async def test_strange_names_are_asked(server: Server) -> None:
    await add(server, INFO, '"a b"@far.test', "жанна@far.test")
    assert [item.envelope.smtputf8 for item in server.queue.items] == [False, True]
    for number in (0, 1):
        await answer(server, token(server, number))
    assert await pending(server) == {}


AUTOMATIC = [
    "Auto-Submitted: auto-replied",
    "Auto-Submitted: auto-generated; x=y",
    "auto-submitted:\r\n Auto-Notified",
    "Precedence: bulk",
    "Precedence: Junk",
    "List-Id: <list.far.test>",
    "X-Autoreply: yes",
    "X-Failed-Recipients: x@y.test",
    "Content-Type: multipart/report; report-type=delivery-status; boundary=x",
]


@pytest.mark.parametrize("header", AUTOMATIC)
async def test_programs_do_not_agree(server: Server, header: str) -> None:
    await add(server, INFO, FAR)
    await answer(server, token(server), header=f"{header}\r\n")
    assert await pending(server) == {INFO: [FAR]}
    # The person who reads it later may still.
    await answer(server, token(server), header="Auto-Submitted: no\r\nPrecedence: first-class\r\n")
    assert await pending(server) == {}


@pytest.mark.parametrize(
    "sender", ["", "MAILER-DAEMON@far.test", "no-reply@far.test", "list-bounces@far.test", "bounces+x=y@far.test"]
)
async def test_bounces_do_not_agree(server: Server, sender: str) -> None:
    await add(server, INFO, FAR)
    await answer(server, token(server), sender=sender)
    assert await pending(server) == {INFO: [FAR]}


@pytest.mark.parametrize(
    ("subject", "automatic"),
    [
        ("Out of Office: Re: Do you want", True), ("Automatic reply: Do you", True), ("Abwesenheitsnotiz", True),
        ("Auto: Re: Do you want", True), ("Re: Do you want the mail", False), ("Automobile", False), ("", False),
        ("AW: Do you want", False),
    ],
)  # fmt: skip
def test_what_programs_write_in_the_subject(subject: str, automatic: bool) -> None:
    head = f"Subject: {subject}\r\n\r\nAuto-Submitted: auto-replied\r\n".encode()
    assert bool(automatic_sign(EmailAddress.parse(FAR), head)) is automatic


async def test_a_no_is_a_no(server: Server) -> None:
    await add(server, INFO, FAR)
    await answer(server, token(server), text="No, thank you.\r\n\r\nOn Monday Postmaster wrote:\r\n> YES to\r\n")
    assert await resolve(server, INFO) == "450 4.2.1"
    assert len(server.queue.items) == 1
    await answer(server, token(server))
    (row,) = await do(server, "alias.list")
    assert [one["declined"] for one in row["pending"]] == [True]
    server.clock.advance(2 * HOUR)
    with pytest.raises(NotPermitted, match="said no"):
        await add(server, INFO, FAR)
    await do(server, "alias.confirm", address=INFO, target=FAR)
    assert await resolve(server, INFO) == [FAR]


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("Yes", Meaning.YES), ("YES!", Meaning.YES), ("I agree.", Meaning.YES), ("ok, thanks", Meaning.YES),
        ("Ja bitte", Meaning.YES), ("Hello, yes please", Meaning.YES),
        ("Yes.\r\n\r\nBert Example\r\nIf you are not the intended recipient, delete this", Meaning.YES),
        ("no", Meaning.NO), ("Nein, ich will das nicht", Meaning.NO), ("Please don't", Meaning.UNCLEAR),
        ("Don’t send me this", Meaning.NO), ("STOP", Meaning.NO), ("No problem, yes", Meaning.UNCLEAR),
        ("Yes, I said no", Meaning.UNCLEAR), ("Who are you?", Meaning.UNCLEAR), ("", Meaning.UNCLEAR),
        ("Yesterday I was away", Meaning.UNCLEAR), ("I do not agree", Meaning.UNCLEAR), ("1234 :-)", Meaning.UNCLEAR),
        ("> yes", Meaning.YES), ("Si vous continuez", Meaning.UNCLEAR),
    ],
)  # fmt: skip
def test_what_an_answer_means(text: str, meaning: Meaning) -> None:
    message = f"Subject: Re\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n".encode()
    assert meaning_of(preview(message)) is meaning


async def test_an_unclear_answer_asks_for_a_yes(server: Server) -> None:
    await add(server, INFO, FAR)
    first = token(server)
    for text in ("Who are you?", "", "On Monday Postmaster wrote:\r\n> Mail for\r\n> answer YES"):
        await answer(server, first, text=text)
        assert await resolve(server, INFO) == "450 4.2.1"
        assert letter(server)["Subject"].endswith("Please answer YES")
        assert letter(server)["Reply-To"] is None
        assert server.queue.items[-1].envelope.sender is None
    await answer(server, first)
    assert await resolve(server, INFO) == [FAR]


async def test_what_was_asked_is_known_after_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path, domains=DOMAINS) as server:
        await server.add("anna@example.test")
        await add(server, INFO, '"a b"@far.test', MORE)
        first, asked = token(server, 0), server.directory.asked(EmailAddress.parse(MORE))
    async with running(tmp_path, domains=DOMAINS) as server:
        assert server.directory.asked(EmailAddress.parse(MORE)) == asked > 0
        assert await resolve(server, INFO) == "450 4.2.1"
        await answer(server, first)
        assert await pending(server) == {INFO: [MORE]}
    directory = SqliteDirectory(tmp_path / "accounts.db", DOMAINS)
    alias = directory.alias(INFO)
    assert alias is not None
    assert [str(one.target) for one in alias.pending] == [MORE]
    directory.close()


async def test_targets_of_older_databases_stay_in_use(tmp_path: Path) -> None:
    path = tmp_path / "accounts.db"
    directory = SqliteDirectory(path, DOMAINS)
    await directory.add_alias(EmailAddress.parse(INFO), [EmailAddress.parse(FAR)])
    directory.close()
    with sqlite3.connect(path) as db:
        for table in ("pending", "asked", "forward"):
            db.execute(f"DROP TABLE {table}")
        db.execute("PRAGMA user_version=2")
    db.close()
    async with running(tmp_path, domains=DOMAINS) as server:
        assert await resolve(server, INFO) == [FAR]
        await add(server, "sales@example.test", FAR)
        assert await pending(server) == {"sales@example.test": [FAR]}


async def test_targets_become_ours_or_trusted(tmp_path: Path) -> None:
    async with running(tmp_path, domains=DOMAINS) as server:
        await server.add("anna@example.test")
        await add(server, INFO, FAR, "me@trusted.test")
    async with running(tmp_path, domains=DOMAINS | {"far.test": DomainSettings()}, sections=SECTIONS) as server:
        assert await resolve(server, INFO) == [FAR, "me@trusted.test"]
        assert await pending(server) == {}


async def test_the_configuration_needs_no_consent(tmp_path: Path) -> None:
    domains = {"example.test": DomainSettings(aliases={"info": [FAR]})}
    async with running(tmp_path, domains=domains) as server:
        assert await resolve(server, INFO) == [FAR]
        with pytest.raises(AlreadyExists, match="configuration file"):
            await add(server, INFO, FAR)
