"""SMTP from the client's side (RFC 5321), sans-IO: octets of replies in, octets of commands out.

    replies.py       octets → replies, within bounds
    features.py      what a server offers in its answer to EHLO
    commands.py      MAIL and RCPT with the parameters that a server knows
    transaction.py   one message for some recipients: what is sent when, and which reply belongs to what
"""
