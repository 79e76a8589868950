"""sendmail(1) and mailq(1), as cron, PHP and mail programs call them.

Only the standard library is imported until a server must be asked for more: a job that sends a mail should not wait for
a mail server to be loaded. The server does the thinking (`smtp/local.py`); this is a small SMTP client of its socket.
"""
