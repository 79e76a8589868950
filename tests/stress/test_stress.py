"""Many clients, deliveries and another program on the same mailboxes, with kill -9 (ATTACKS J04, J05, J06, J08, J09).

What is checked, and how, is said by the modules beside this one. The same seed gives the same dice, though not the same
order of events: that is up to the machine. STRESS_SEED, STRESS_MINUTES and STRESS_CLIENTS set what `make soak` does.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable

import pytest

from tests.helpers.daemon import DOMAIN, Daemon
from tests.stress.run import Stress

SETTINGS = {"limits": "connection_rate = [100000, 100000, 100000]\nconnections_per_network = [1000, 1000, 1000]"}


def stress(daemon: Daemon, *, clients: int, seconds: float, kill_every: int) -> Stress:
    """Run it, and look at the mail on the disk afterwards."""
    seed = int(os.environ.get("STRESS_SEED", 0)) or random.randrange(1, 1 << 30)
    done = Stress(daemon, seed=seed, clients=clients)
    with daemon:
        done.run(seconds, kill_every)
        daemon.command("mailbox", "verify", f"anna@{DOMAIN}", "--full")
    daemon.command("mailbox", "verify", f"anna@{DOMAIN}", "--full")
    return done


@pytest.mark.timeout(300)
def test_j04_many_hands(make_daemon: Callable[..., Daemon]) -> None:
    """Half a minute: enough for each command to meet each other one."""
    done = stress(make_daemon(settings=SETTINGS), clients=7, seconds=25, kill_every=3)
    assert done.kills and done.world.last_name > 50


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_j09_many_hands_for_long(make_daemon: Callable[..., Daemon]) -> None:
    minutes, clients = float(os.environ.get("STRESS_MINUTES", 30)), int(os.environ.get("STRESS_CLIENTS", 20))
    done = stress(make_daemon(settings=SETTINGS), clients=clients, seconds=60 * minutes, kill_every=3)
    assert done.kills
