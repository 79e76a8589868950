"""`python -m mailserver`."""

from mailserver.commands import main

main()
