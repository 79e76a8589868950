"""Reports in English."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from mailserver.outbound.dsn.language import Advice, Language
from mailserver.ports.reports import Action
from mailserver.wire.refusal import Cause

__all__ = ["ENGLISH"]

_WAIT = "You need not do anything about it. If it keeps happening, ask the recipient in another way whether mail works."
_TELL_ADMIN = "You cannot change this yourself: pass this message on to whoever runs your mail server."
_NOT_OURS = "The recipient's server said so; nothing needs to be done here."

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip


def _moment(epoch: float, offset: int) -> str:
    """Friday 20 November 2026, 11:00 (UTC+1)."""
    moment = datetime.fromtimestamp(int(epoch), timezone(timedelta(seconds=offset)))
    hours, minutes = divmod(abs(offset) // 60, 60)
    zone = f"{'-' if offset < 0 else '+'}{hours}" + (f":{minutes:02}" if minutes else "") if offset else ""
    day = f"{_DAYS[moment.weekday()]} {moment.day} {_MONTHS[moment.month - 1]} {moment.year}"
    return f"{day}, {moment.hour}:{moment.minute:02} (UTC{zone})"


_CAUSES = {
    Cause.UNKNOWN_USER: Advice(
        "There is no mailbox of this name at {domain}.",
        "Check the spelling of the address. If it is right, the person may have left or may have a new address: ask in"
        " another way.",
        _NOT_OURS,
    ),
    Cause.MAILBOX_UNAVAILABLE: Advice(
        "{domain} says that this mailbox is not available. Mostly that means that there is no mailbox of this name.",
        "Check the spelling of the address. If it is right, ask the recipient in another way.",
        "Some servers answer in this way when they do not want our mail at all: compare with other recipients there.",
    ),
    Cause.MAILBOX_DISABLED: Advice(
        "The mailbox exists, but it was closed or has not been used for a long time.",
        "Ask the recipient in another way for an address that is in use.",
        _NOT_OURS,
    ),
    Cause.MAILBOX_FULL: Advice(
        "The recipient's mailbox is full and takes no more mail.",
        "Tell the recipient in another way to delete something, and send your message again afterwards.",
        _NOT_OURS,
    ),
    Cause.MAILBOX_BUSY: Advice(
        "The recipient's mailbox could not take mail at the moment.", _WAIT, _NOT_OURS
    ),
    Cause.MOVED: Advice(
        "The recipient has moved to another address, and mail is not forwarded.",
        "If the answer below names the new address, use it. Else ask the recipient in another way.",
        _NOT_OURS,
    ),
    Cause.BAD_ADDRESS: Advice(
        "The address is not written as {domain} wants addresses to be.",
        "Check the address letter by letter: no spaces, no comma in place of a dot.",
        _NOT_OURS,
    ),
    Cause.UNKNOWN_DOMAIN: Advice(
        "There is no {domain} on the Internet, or it receives no mail.",
        "Check what stands behind the @ for typing mistakes.",
        "The name server says that the domain, or its mail server's name, does not exist.",
    ),
    Cause.NO_MAIL_DOMAIN: Advice(
        "{domain} does not receive any mail.",
        "Check what stands behind the @. If it is right, there is no way to reach this address by mail.",
        "The domain publishes a null MX (RFC 7505), or its server answers 521 or 556 to everyone.",
    ),
    Cause.RESTRICTED: Advice(
        "This address takes mail from certain senders only, and you are not one of them. Mailing lists and addresses"
        " of groups are often so.",
        "Ask the recipient, or whoever runs the list, to let you write there.",
        "The recipient's server restricts who may write to this address.",
    ),
    Cause.BAD_SENDER: Advice(
        "The recipient's server does not like your own address as the sender.",
        "Check the sender address in your mail program. If it is right, pass this message on to whoever runs your mail"
        " server.",
        "The server could not verify the sender's address or domain: check its MX, A and SPF records.",
    ),
    Cause.BLOCK_LIST: Advice(
        "{domain} takes no mail from our server at present, because the server's network address is on a block list."
        " Your message itself is not the reason.",
        _TELL_ADMIN,
        "Our address is listed: find out why (a stolen password, a web form, the neighbours of the address), stop it,"
        " and ask for removal.",
    ),
    Cause.TOO_FAST: Advice(
        "{domain} takes only so much mail at a time from our server, and it was too much.",
        "Wait for some hours before you send again. If you wrote to many people at once, send in smaller portions.",
        "Look for an account that sends unusually much, and lower the number of connections to this destination.",
    ),
    Cause.GREYLISTED: Advice(
        "{domain} lets mail from new senders wait for a while, and takes it later.", _WAIT,
        "Greylisting that does not end: does each attempt come from another address?",
    ),
    Cause.SPAM: Advice(
        "{domain} took your message for advertising (spam).",
        "Write it differently: more text of your own, fewer links and pictures, no words in capitals. Or ask the"
        " recipient to add your address to the address book first.",
        "Check that SPF, DKIM and DMARC pass, and the reputation of our address and of all domains in the message.",
    ),
    Cause.FORBIDDEN_CONTENT: Advice(
        "{domain} does not take what is in your message or attached to it: it may look like a virus, or be a kind of"
        " file that is not allowed there.",
        "Check your computer for viruses. Send the file in another form, or give a link to it.",
        "The content filter of the recipient's server refused the message.",
    ),
    Cause.UNAUTHENTICATED: Advice(
        "{domain} could not make sure that this message really comes from you, so it did not take it.",
        _TELL_ADMIN,
        "SPF, DKIM or DMARC of the sender's domain did not pass: compare its DNS records with what `mailserver domain"
        " dns` shows. A forwarded message fails SPF and needs its DKIM signature intact.",
    ),
    Cause.REVERSE_DNS: Advice(
        "{domain} takes no mail from our server, because something is missing in how the server is set up.",
        _TELL_ADMIN,
        "The address that we send from needs a PTR record whose name leads back to it. Who runs the network sets it.",
    ),
    Cause.RELAY_DENIED: Advice(
        "The server that was asked does not take mail for {domain}.",
        "Check the address. If it is right, the recipient's mail is not set up correctly: tell them in another way.",
        "The MX of the domain leads to a server that does not know it, or a smarthost wants us to log in.",
    ),
    Cause.POLICY: Advice(
        "The rules of {domain} do not allow this message. It did not say more clearly why.",
        "Ask the recipient in another way, or pass this message on to whoever runs your mail server.",
        "The answer below is all that is known; the recipient's postmaster can tell more.",
    ),
    Cause.TOO_BIG: Advice(
        "Your message is bigger than {domain} allows. Attachments grow by a third when they are sent.",
        "Send it with smaller or fewer attachments, or give a link to the files.",
        _NOT_OURS,
    ),
    Cause.TOO_MANY_RECIPIENTS: Advice(
        "{domain} does not take messages for so many recipients at once.",
        "Send it to fewer people at a time.",
        _NOT_OURS,
    ),
    Cause.LOOP: Advice(
        "The message went round in circles: each of two or more servers takes another one for the right one.",
        "Tell the recipient in another way that their mail does not arrive.",
        "A loop of MX records or of forwarding; the Received fields of the original show the way it took.",
    ),
    Cause.TLS_WANTED: Advice(
        "{domain} only takes mail that comes encrypted, and encryption did not come about.",
        _TELL_ADMIN,
        "The server demands STARTTLS: look in the log why it failed.",
    ),
    Cause.TLS_FAILED: Advice(
        "The message must travel encrypted and to the right server only, and that could not be made sure. So it was not"
        " sent at all.",
        "Tell the recipient in another way: something is wrong with their mail server's certificate or settings.",
        "The TLS policy of the destination (DANE, MTA-STS or our own) could not be met.",
    ),
    Cause.REQUIRETLS: Advice(
        "You wanted this message to travel encrypted all the way, and {domain} does not promise that.",
        "If it may travel without that promise, send it again without the option.",
        "The next server does not announce REQUIRETLS (RFC 8689).",
    ),
    Cause.LOGIN_FAILED: Advice(
        "The server that our mail goes through did not accept us.",
        _TELL_ADMIN,
        "Check user name and password of the smarthost.",
    ),
    Cause.NO_CONNECTION: Advice(
        "The mail server of {domain} could not be reached.",
        "Check what stands behind the @. If it is right, their server is out of order: try again later, or ask in"
        " another way.",
        "Connections were refused, broken off, or not answered in time.",
    ),
    Cause.DNS_FAILED: Advice(
        "It could not be found out which server takes mail for {domain}.",
        "Check what stands behind the @. If it is right, try again later.",
        "The name servers of the domain do not answer, or answer wrongly (DNSSEC?).",
    ),
    Cause.NO_EIGHT_BIT: Advice(
        "The recipient's server is too old for the form in which your mail program wrote the message.",
        "Ask whoever runs your mail server.",
        "The message has 8-bit octets, the server no 8BITMIME; converting it would break its signatures.",
    ),
    Cause.NO_UTF8: Advice(
        "The recipient's server cannot handle addresses with letters such as ü or 中.",
        "Use an address of plain letters a to z, for yourself and for all recipients, if there is one.",
        "The server does not announce SMTPUTF8 (RFC 6531).",
    ),
    Cause.BUSY: Advice(
        "The mail server of {domain} had no time for us.", _WAIT, "The server answered that it is busy, every time."
    ),
    Cause.SERVER_FULL: Advice("The mail server of {domain} has no room left.", _WAIT, _NOT_OURS),
    Cause.SERVER_ERROR: Advice("The mail server of {domain} is out of order.", _WAIT, _NOT_OURS),
    Cause.EXPIRED: Advice(
        "All attempts within the time that messages may wait were in vain.",
        "Send it again later, or ask the recipient in another way.",
        "The log has the answer of each attempt.",
    ),
    Cause.PROTOCOL: Advice(
        "Our server and that of {domain} did not understand each other.",
        _TELL_ADMIN,
        "The server refused a command; the answer below says which.",
    ),
    Cause.UNKNOWN: Advice(
        "{domain} did not take the message. Its answer, below, does not say clearly why.",
        "Ask the recipient in another way, or pass this message on to whoever runs your mail server.",
        "The answer below is all that is known.",
    ),
}

_SOURCES = {
    "spamhaus": "Look up and remove: https://check.spamhaus.org/",
    "spamcop": "SpamCop forgets by itself within a day: https://www.spamcop.net/bl.shtml",
    "barracuda": "Ask for removal: https://www.barracudacentral.org/rbl/removal-request",
    "uceprotect": "UCEPROTECT lists whole networks and forgets in a week: https://www.uceprotect.net/en/rblcheck.php",
    "abusix": "Look up and remove: https://lookup.abusix.com/",
    "cloudmark": "Ask for removal: https://csi.cloudmark.com/en/reset/",
    "proofpoint": "Look up and remove: https://ipcheck.proofpoint.com/",
    "google": "Google's rules for senders: https://support.google.com/mail/answer/81126 (Postmaster Tools:"
    " https://postmaster.google.com/)",
    "microsoft": "Removal at Microsoft: https://sender.office.com/ (Microsoft 365), https://olcsupport.office.com/"
    " (Outlook.com, Hotmail)",
    "yahoo": "Yahoo and AOL: https://senders.yahooinc.com/",
    "apple": "iCloud: https://support.apple.com/102322",
    "united internet": "GMX and web.de: https://postmaster.gmx.net/",
    "t-online": "T-Online takes mail from known servers only: write to tosa@rx.t-online.de, with address and host name",
    "mimecast": "Mimecast: https://community.mimecast.com/ (the recipient's administrator must permit the sender)",
    "cisco": "Cisco Talos: https://talosintelligence.com/reputation_center",
}

ENGLISH = Language(
    tag="en",
    moment=_moment,
    subjects={
        Action.FAILED: "Not delivered: {who}",
        Action.DELAYED: "Delayed: {who}",
        Action.DELIVERED: "Delivered: {who}",
        Action.RELAYED: "Passed on: {who}",
        Action.EXPANDED: "Forwarded: {who}",
    },
    and_others="{who} and {count} more",
    openings={
        Action.FAILED: "Your message could not be delivered to:",
        Action.DELAYED: "Your message has not been delivered yet to:",
        Action.DELIVERED: "Your message was put into the mailbox of:",
        Action.RELAYED: "Your message was taken by the next server, which does not report any further, for:",
        Action.EXPANDED: "Your message was passed on to the addresses behind:",
    },
    expired="It was tried again and again since {arrived}, in vain.",
    message_of="This is about your message of {arrived}",
    subject_was='with the subject "{subject}".',
    closings={
        Action.FAILED: "It will not be tried again.",
        Action.DELAYED: "Nothing is lost, and you need not send it again: the server goes on trying{until}. You will be"
        " told if that is in vain.",
        Action.DELIVERED: "You asked to be told.",
        Action.RELAYED: "You asked to be told. Whether it arrived in the end is not known here.",
        Action.EXPANDED: "You asked to be told.",
    },
    until=" until {time}",
    meaning="What it means: ",
    remedy="What to do: ",
    administrator="For administrators: ",
    answer_of="The answer of {remote}:",
    our_words="What happened, in technical words:",
    more_recipients="... and {count} more, who are all named in the technical part of this report",
    more_groups="... and {count} more recipients, who are all named in the technical part of this report.",
    signature="The mail server {hostname} wrote this by itself. An answer reaches the person who runs it.",
    causes=_CAUSES,
    sources=_SOURCES,
)
