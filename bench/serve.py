"""Start the server for a benchmark: 50 accounts user0..user49@example.test with the password `secret`.

    python bench/serve.py DIRECTORY [PORT]

makes DIRECTORY (configuration, mail) anew and becomes the server, on loopback: SMTP at PORT (13025), submission at
PORT + 1, IMAP at PORT + 2, IMAP over TLS at PORT + 3, HTTP at PORT + 4. Mail for others goes to 127.0.0.1:19025, where
the harness listens. `bench/target.json` describes the server to it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path

from mailserver.model.address import EmailAddress
from mailserver.model.ids import AccountId
from mailserver.net.passwords import Passwords
from mailserver.ports.directory import Account
from mailserver.storage.directory import SqliteDirectory
from mailserver.storage.directory_settings import DomainSettings

ROOT = Path(__file__).resolve().parent.parent

CONFIG = """hostname = "mail.example.test"
data_dir = "maildir"
[domains."example.test"]
[smtp]
listen = ["127.0.0.1:{0}"]
[submission]
listen = ["127.0.0.1:{1}"]
listen_tls = []
[imap]
listen = ["127.0.0.1:{2}"]
listen_tls = ["127.0.0.1:{3}"]
connections_per_account = 5000
[http]
listen = ["127.0.0.1:{4}"]
[queue]
relay = "127.0.0.1:19025"
"""


def main() -> None:
    directory = Path(sys.argv[1])
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 13025
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    directory.chmod(0o700)
    config = directory / "config.toml"
    config.write_text(CONFIG.format(*(port + i for i in range(5))))
    asyncio.run(make_accounts(directory / "maildir" / ".server" / "accounts.db"))
    os.execv(sys.executable, [sys.executable, str(ROOT / "cli.py"), "--config", str(config), "serve"])


async def make_accounts(path: Path) -> None:
    path.parent.mkdir(parents=True, mode=0o700)
    passwords, accounts = Passwords(), SqliteDirectory(path, {"example.test": DomainSettings()})
    for number in range(50):
        address = EmailAddress.parse(f"user{number}@example.test")
        hashed, scram = await passwords.hash("secret")
        await accounts.add_account(
            Account(account=AccountId(address.key), address=address, password_hash=hashed, scram=scram)
        )
    accounts.close()
    passwords.close()


if __name__ == "__main__":
    main()
