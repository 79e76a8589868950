"""The command line without installing: `python cli.py serve`."""

from mailserver.commands import main

main()
