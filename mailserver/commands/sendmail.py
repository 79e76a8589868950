"""`mailserver --config FILE sendmail`: sendmail(1) with a configuration of its own."""

from __future__ import annotations

import click

from mailserver.commands.mta.program import main
from mailserver.commands.options import config_option, named_config

__all__ = ["command"]


@click.command("sendmail", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
@config_option
def command(words: tuple[str, ...]) -> None:
    """Send a message from standard input as sendmail(1) does; so cron, PHP and mail programs can use it.

    The options are those of sendmail(1): -t, -i, -f ADDRESS, -F NAME, -bs, -bp, -N, -R, -V, -B; others are taken and
    do nothing. -C FILE names the configuration. A link to this program that is called sendmail does the same.
    """
    main("sendmail", words, named_config() or "")
