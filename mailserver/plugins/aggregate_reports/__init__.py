"""Reports that servers send each other every day: `dmarc_report` (RFC 9990) and `tlsrpt` (RFC 8460), two plugins that
do the same thing with other rows.

    what happens ─▶ collecting ─▶ database ─▶ sending (document, targets) ─▶ who asks for it
    their mail ─▶ receiving ─▶ database ─▶ operations ─▶ mailserver report

`kind.py` is what a kind of report says of itself: what a row is, how the document is written and read, who asks for it.
All else is here, and `running.py` puts it together.
"""
