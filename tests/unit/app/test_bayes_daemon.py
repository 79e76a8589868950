"""A user puts junk into Junk with an IMAP client, and the next message like it goes there by itself."""

from __future__ import annotations

from pathlib import Path

import orjson
from click.testing import CliRunner

from mailserver.commands.group import cli
from mailserver.plugins import BUILT_IN
from tests.conftest import DaemonMaker
from tests.helpers.daemon import DOMAIN, PASSWORD, Daemon
from tests.helpers.imap import Imap
from tests.helpers.smtp import Smtp
from tests.helpers.waiting import until

ANNA, BEN = f"anna@{DOMAIN}", f"ben@{DOMAIN}"
#: What asks DNS, or gives points of its own.
OTHERS = frozenset(BUILT_IN) - {"accounts", "aliases", "history", "junk", "bayes"}
EACH = 40
JUNK = "Cheap pills for you, the best offer of this year: order now at http://pills.example/order"
GOOD = "Here are the minutes of our meeting on Monday; shall we take the train to the station?"


def serve(make_daemon: DaemonMaker) -> Daemon:
    off = {f"plugins.{name}": "enabled = false" for name in OTHERS}
    return make_daemon(settings={"limits": "trusted = []", "plugins.bayes": f"enough = {EACH}"} | off)


def message(kind: str, number: int) -> bytes:
    author, body = ("Shop <shop@pills.example>", JUNK) if kind == "junk" else ("Bob <bob@far.test>", GOOD)
    return f"From: {author}\r\nSubject: {kind}\r\nMessage-ID: <{kind}{number}@x>\r\n\r\n{body} {number}\r\n".encode()


def send(daemon: Daemon, recipient: str, *messages: bytes) -> None:
    with Smtp(daemon.ports["smtp"]) as smtp:
        smtp.ehlo()
        for one in messages:
            assert smtp.message("bounce@far.test", [recipient], one).code == 250


def run(daemon: Daemon, *arguments: str) -> str:
    result = CliRunner().invoke(cli, ["--config", str(daemon.config), *arguments])
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


def learned(daemon: Daemon) -> dict[str, tuple[int, int]]:
    rows = orjson.loads(run(daemon, "bayes", "show", "--json"))
    return {row["account"]: (row["junk"], row["good"]) for row in rows}


def subjects(imap: Imap, mailbox: str) -> list[bytes]:
    assert imap.command(f"SELECT {mailbox}").status == "OK"
    lines = imap.command("FETCH 1:* BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)]").untagged
    return sorted(line.partition(b"<")[2].partition(b"@")[0] for line in lines if b"<" in line)


def test_what_is_put_into_junk_teaches_where_the_next_one_goes(make_daemon: DaemonMaker) -> None:
    with serve(make_daemon) as daemon:
        send(daemon, ANNA, *(message("junk", number) for number in range(EACH)))
        send(daemon, ANNA, *(message("good", number) for number in range(EACH)))
        with Imap(daemon.ports["imap"]) as imap:
            assert imap.command(f"LOGIN {ANNA} {PASSWORD}").status == "OK"
            assert until(lambda: len(subjects(imap, "INBOX")) == 2 * EACH)
            assert imap.command(f"MOVE 1:{EACH} Junk").status == "OK"
            assert imap.command(f"STORE 1:{EACH} +FLAGS.SILENT ($NotJunk)").status == "OK"
            assert until(lambda: learned(daemon).get(ANNA) == (EACH, EACH))
            send(daemon, ANNA, message("junk", 77), message("good", 77))
            assert until(lambda: b"junk77" in subjects(imap, "Junk"))
            assert until(lambda: b"good77" in subjects(imap, "INBOX"))
            assert until(lambda: "It reads like mail that was filed as junk" in run(daemon, "why", "<junk77@x>"))
            assert f"{ANNA}: delivered into the mailbox Junk" in run(daemon, "why", "<junk77@x>")
            # Others learn from it; and what is moved back is taken back.
            send(daemon, BEN, message("junk", 78))
            assert until(lambda: "filed as junk" in run(daemon, "why", "<junk78@x>"))
            assert imap.command("SELECT Junk").status == "OK"
            assert imap.command(f"MOVE 1:{EACH} INBOX").status == "OK"
            assert until(lambda: learned(daemon).get(ANNA) == (0, 2 * EACH))
            send(daemon, ANNA, message("junk", 79))
            assert until(lambda: b"junk79" in subjects(imap, "INBOX"))
        assert "pills" not in daemon.log_text()


def test_it_is_taught_with_files_too(make_daemon: DaemonMaker, tmp_path: Path) -> None:
    mbox, maildir, one = tmp_path / "junk.mbox", tmp_path / "Good", tmp_path / "one.eml"
    separated = [b"From x Thu Jan  1 00:00:00 1970\n" + message("junk", number).replace(b"\r\n", b"\n") + b"\n"
                 for number in range(EACH)]  # fmt: skip
    mbox.write_bytes(b"".join(separated).replace(b" 3\n", b" 3\n\n>From the shop\n"))
    for folder in ("cur", "new", "tmp"):
        (maildir / folder).mkdir(parents=True)
    for number in range(EACH):
        (maildir / ("cur" if number % 2 else "new") / f"{number}.x").write_bytes(message("good", number))
    (maildir / "tmp" / "half").write_bytes(b"From: half")
    (maildir / "index").write_bytes(b"no mail")
    one.write_bytes(message("good", 99))
    with serve(make_daemon) as daemon:
        assert f"learned from {EACH} messages" in run(daemon, "bayes", "train", "--junk", str(mbox))
        assert f"learned from {EACH + 1} messages" in run(daemon, "bayes", "train", "--good", str(maildir), str(one))
        assert f"{EACH} were known already" in run(daemon, "bayes", "train", "--good", str(maildir))
        assert learned(daemon) == {"": (EACH, EACH + 1)}
        send(daemon, ANNA, message("junk", 77))
        assert until(lambda: "filed as junk" in run(daemon, "why", "<junk77@x>"))
        assert "learned from 1 message" in run(
            daemon, "bayes", "train", "--junk", "--account", ANNA, "--mailbox", "Junk"
        )
        assert "(everybody)" in run(daemon, "bayes", "show")
        assert "anna" in run(daemon, "bayes", "reset", ANNA)
        assert "everybody: forgotten" in run(daemon, "bayes", "reset", "--everybody")
        assert "nothing was learned" in run(daemon, "bayes", "reset", "--everybody")
    # And without a server.
    assert f"learned from {EACH + 1} messages" in run(daemon, "bayes", "train", "--good", str(maildir), str(one))
