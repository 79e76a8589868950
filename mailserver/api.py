"""Everything that a plugin may import; the built-in ones import nothing else. It grows, and nothing goes away.

A plugin is a module with a value `plugin` (docs/plugins.md); the hook points are in docs/hooks.md.
"""

from __future__ import annotations

from mailserver.hooks.arguments import account as account_argument
from mailserver.hooks.arguments import text as text_argument
from mailserver.hooks.arguments import texts as texts_argument
from mailserver.hooks.contexts import (
    AuthenticateContext,
    Authenticated,
    BeforeSendContext,
    ConnectContext,
    DeliveryContext,
    Denied,
    ForwardContext,
    HeloContext,
    LocalMailbox,
    MailContext,
    MessageContext,
    PlaceContext,
    Placement,
    RcptContext,
    Redirect,
    Resolution,
    ResolveContext,
    Route,
    RouteContext,
    ScramContext,
    SearchAnswer,
    SearchContext,
    SenderContext,
    Session,
    TlsLevel,
    TlsPolicy,
    TlsPolicyContext,
    Unresolvable,
)
from mailserver.hooks.imap import Argument, ImapCommand, ImapContext, ImapReply
from mailserver.hooks.lookup import (
    AccountMatch,
    AliasMatch,
    agreed,
    domain_of_host,
    find_address,
    is_role,
    leads_to_somebody,
    places_of,
    role_target,
)
from mailserver.hooks.opinions import opinion_of_move, opinions_of_flags
from mailserver.hooks.plugin import Host, Plugin, PluginSettings, Setup
from mailserver.hooks.registry import Registry
from mailserver.hooks.settings import Duration, Settings, Size
from mailserver.mime.answering import why_no_answer
from mailserver.mime.attached import find_part
from mailserver.mime.author import named_in
from mailserver.mime.automatic import automatic_sign
from mailserver.mime.compose import message as compose_message
from mailserver.mime.compose import phrase
from mailserver.mime.dates import format_date
from mailserver.mime.dkim.canonical import BodyHash as DkimBodyHash
from mailserver.mime.dkim.chain import ARC_FIELDS
from mailserver.mime.dkim.chain import Chain as ArcChain
from mailserver.mime.dkim.signing import Signable as DkimSignable
from mailserver.mime.dkim.signing import author_domain
from mailserver.mime.dkim.signing import public_record as dkim_record
from mailserver.mime.dkim.signing import signing_domains as dkim_signers
from mailserver.mime.dkim.verifying import Verification as DkimVerification
from mailserver.mime.dsn import MAX_OCTETS as MAX_REPORT
from mailserver.mime.dsn import DeliveryStatus, ReportedAddress, read_report
from mailserver.mime.features import Features as MailFeatures
from mailserver.mime.features import features as mail_features
from mailserver.mime.headers import fields as header_fields
from mailserver.mime.headers import header_block_end
from mailserver.mime.headers import value as header_value
from mailserver.mime.html_links import Link as HtmlLink
from mailserver.mime.html_links import html_links, shown_host
from mailserver.mime.lookalikes import (
    KnownDomains,
    Likeness,
    base_domain,
    looks_like,
    mixes_alphabets,
    readable_domain,
    tricks,
)
from mailserver.mime.message_ids import message_ids, own_message_id
from mailserver.mime.multipart import BodyPart, make_attachment, make_part
from mailserver.mime.multipart import join as join_parts
from mailserver.mime.packed_file import BadFile, unpack
from mailserver.mime.preview import preview as first_words
from mailserver.mime.sole_author import SoleAuthor, from_author, repeated_field, sole_author
from mailserver.mime.structure import parse as parse_message
from mailserver.mime.text import part_text
from mailserver.mime.view import MessageView
from mailserver.mime.words import decode_words
from mailserver.model.address import EmailAddress, normalize_domain
from mailserver.model.app_password import AppPassword
from mailserver.model.changes import (
    AccountChange,
    MailboxCreated,
    MailboxDeleted,
    MailboxRenamed,
    MessagesChanged,
    MetadataChanged,
    RightsChanged,
    SubscriptionChanged,
)
from mailserver.model.delivery import Destination, Feedback, Outcome, Result, Success
from mailserver.model.dns import Answer, MailExchanger, Tlsa
from mailserver.model.envelope import Body, DsnReturn, Envelope, Notify, Recipient
from mailserver.model.errors import (
    AlreadyExists,
    InvalidInput,
    LimitReached,
    MailError,
    NotFound,
    NotPermitted,
    OverQuota,
    StorageFailure,
)
from mailserver.model.events import (
    Accepted,
    Appended,
    Attempted,
    Bounced,
    Delivered,
    DmarcEvaluated,
    Dropped,
    Event,
    FlagsChanged,
    Handled,
    Judged,
    LoginFailed,
    LoginSucceeded,
    Misbehaved,
    Moved,
    Queued,
    Refused,
    Reported,
    SendingLimited,
    SessionClosed,
    SessionOpened,
    Suppressed,
    TlsAttempted,
)
from mailserver.model.findings import NOTHING, AuthResult, Findings, Reason
from mailserver.model.flags import FlagChange
from mailserver.model.freemail import is_freemail
from mailserver.model.ids import AccountId, QueueId, SessionId, derived_queue_id, new_queue_id
from mailserver.model.mailbox import QuotaUsage, SpecialUse
from mailserver.model.numset import NumSet
from mailserver.model.password import ScramVerifier
from mailserver.model.reply import Reply
from mailserver.model.verdict import ACCEPT, Accept, Defer, HeaderChange, HeaderField, Quarantine, Reject, Verdict
from mailserver.net.batches import Batches
from mailserver.net.confined import Confined, ConfinedFailed
from mailserver.net.database_thread import DatabaseThread, database_thread
from mailserver.net.databases import open_kept_database, open_side_database, put_aside, transaction
from mailserver.net.endpoint import Endpoint
from mailserver.net.files import fsync_dir, read_file, write_durably
from mailserver.net.mirrored_database import MirroredDatabase
from mailserver.net.networks import NetworkSet, parse_ip, public_domain
from mailserver.net.rates import SlidingCounter, network_keys
from mailserver.net.service_web import ServiceWeb
from mailserver.net.signed_mail import check_signed_header, digest_body
from mailserver.net.workers import Workers
from mailserver.ports.clock import Clock
from mailserver.ports.directory import (
    CATCH_ALL,
    ROLE_MAIL,
    UNASKED,
    Account,
    Alias,
    Directory,
    Domain,
    Forward,
    Pending,
)
from mailserver.ports.passwords import FailedLogins, PasswordVerifier
from mailserver.ports.queue import MailQueue
from mailserver.ports.resolver import LookupFailed, Resolver
from mailserver.ports.service import Service
from mailserver.ports.store import AccountStore, Content, Mailbox, MailStore, ReadableContent, Target
from mailserver.ports.web import WebAnswer, WebClient, WebFailed
from mailserver.wire import clamd, milter
from mailserver.wire.dmarc import DmarcRecord, organizational_domain, walk_targets
from mailserver.wire.dmarc import Request as DmarcRequest
from mailserver.wire.dmarc import find_record as find_dmarc
from mailserver.wire.milter import Action as MilterAction
from mailserver.wire.milter import Answer as MilterAnswer
from mailserver.wire.milter import Decoder as MilterDecoder
from mailserver.wire.milter import Edit as MilterEdit
from mailserver.wire.milter import Malformed as MilterMalformed
from mailserver.wire.milter import Negotiated
from mailserver.wire.milter import Packet as MilterPacket
from mailserver.wire.milter import Step as MilterStep
from mailserver.wire.refusal import Cause, cause_of
from mailserver.wire.spf import BadSpf, SpfRecord, is_spf, parse_spf
from mailserver.wire.spf import Directive as SpfDirective
from mailserver.wire.spf import MacroString as SpfMacroString
from mailserver.wire.spf import parse_explanation as parse_spf_explanation
from mailserver.wire.spf import target_name as spf_target_name
from mailserver.wire.tlsa import usable as usable_tlsa
from mailserver.wire.tlsa import written as written_tlsa
from mailserver.wire.xtext import decode_unitext

__all__ = [
    "ACCEPT",
    "ARC_FIELDS",
    "CATCH_ALL",
    "MAX_REPORT",
    "NOTHING",
    "ROLE_MAIL",
    "UNASKED",
    "Accept",
    "Accepted",
    "Account",
    "AccountChange",
    "AccountId",
    "AccountMatch",
    "AccountStore",
    "Alias",
    "AliasMatch",
    "AlreadyExists",
    "Answer",
    "AppPassword",
    "Appended",
    "ArcChain",
    "Argument",
    "Attempted",
    "AuthResult",
    "AuthenticateContext",
    "Authenticated",
    "BadFile",
    "BadSpf",
    "Batches",
    "BeforeSendContext",
    "Body",
    "BodyPart",
    "Bounced",
    "Cause",
    "Clock",
    "Confined",
    "ConfinedFailed",
    "ConnectContext",
    "Content",
    "DatabaseThread",
    "Defer",
    "Delivered",
    "DeliveryContext",
    "DeliveryStatus",
    "Denied",
    "Destination",
    "Directory",
    "DkimBodyHash",
    "DkimSignable",
    "DkimVerification",
    "DmarcEvaluated",
    "DmarcRecord",
    "DmarcRequest",
    "Domain",
    "Dropped",
    "DsnReturn",
    "Duration",
    "EmailAddress",
    "Endpoint",
    "Envelope",
    "Event",
    "FailedLogins",
    "Feedback",
    "Findings",
    "FlagChange",
    "FlagsChanged",
    "Forward",
    "ForwardContext",
    "Handled",
    "HeaderChange",
    "HeaderField",
    "HeloContext",
    "Host",
    "HtmlLink",
    "ImapCommand",
    "ImapContext",
    "ImapReply",
    "InvalidInput",
    "Judged",
    "KnownDomains",
    "Likeness",
    "LimitReached",
    "LocalMailbox",
    "LoginFailed",
    "LoginSucceeded",
    "LookupFailed",
    "MailContext",
    "MailError",
    "MailExchanger",
    "MailFeatures",
    "MailQueue",
    "MailStore",
    "Mailbox",
    "MailboxCreated",
    "MailboxDeleted",
    "MailboxRenamed",
    "MessageContext",
    "MessageView",
    "MessagesChanged",
    "MetadataChanged",
    "MilterAction",
    "MilterAnswer",
    "MilterDecoder",
    "MilterEdit",
    "MilterMalformed",
    "MilterPacket",
    "MilterStep",
    "MirroredDatabase",
    "Misbehaved",
    "Moved",
    "Negotiated",
    "NetworkSet",
    "NotFound",
    "NotPermitted",
    "Notify",
    "NumSet",
    "Outcome",
    "OverQuota",
    "PasswordVerifier",
    "Pending",
    "PlaceContext",
    "Placement",
    "Plugin",
    "PluginSettings",
    "Quarantine",
    "QueueId",
    "Queued",
    "QuotaUsage",
    "RcptContext",
    "ReadableContent",
    "Reason",
    "Recipient",
    "Redirect",
    "Refused",
    "Registry",
    "Reject",
    "Reply",
    "Reported",
    "ReportedAddress",
    "Resolution",
    "ResolveContext",
    "Resolver",
    "Result",
    "RightsChanged",
    "Route",
    "RouteContext",
    "ScramContext",
    "ScramVerifier",
    "SearchAnswer",
    "SearchContext",
    "SenderContext",
    "SendingLimited",
    "Service",
    "ServiceWeb",
    "Session",
    "SessionClosed",
    "SessionId",
    "SessionOpened",
    "Settings",
    "Setup",
    "Size",
    "SlidingCounter",
    "SoleAuthor",
    "SpecialUse",
    "SpfDirective",
    "SpfMacroString",
    "SpfRecord",
    "StorageFailure",
    "SubscriptionChanged",
    "Success",
    "Suppressed",
    "Target",
    "TlsAttempted",
    "TlsLevel",
    "TlsPolicy",
    "TlsPolicyContext",
    "Tlsa",
    "Unresolvable",
    "Verdict",
    "WebAnswer",
    "WebClient",
    "WebFailed",
    "Workers",
    "account_argument",
    "agreed",
    "author_domain",
    "automatic_sign",
    "base_domain",
    "cause_of",
    "check_signed_header",
    "clamd",
    "compose_message",
    "database_thread",
    "decode_unitext",
    "decode_words",
    "derived_queue_id",
    "digest_body",
    "dkim_record",
    "dkim_signers",
    "domain_of_host",
    "find_address",
    "find_dmarc",
    "find_part",
    "first_words",
    "format_date",
    "from_author",
    "fsync_dir",
    "header_block_end",
    "header_fields",
    "header_value",
    "html_links",
    "is_freemail",
    "is_role",
    "is_spf",
    "join_parts",
    "leads_to_somebody",
    "looks_like",
    "mail_features",
    "make_attachment",
    "make_part",
    "message_ids",
    "milter",
    "mixes_alphabets",
    "named_in",
    "network_keys",
    "new_queue_id",
    "normalize_domain",
    "open_kept_database",
    "open_side_database",
    "opinion_of_move",
    "opinions_of_flags",
    "organizational_domain",
    "own_message_id",
    "parse_ip",
    "parse_message",
    "parse_spf",
    "parse_spf_explanation",
    "part_text",
    "phrase",
    "places_of",
    "public_domain",
    "put_aside",
    "read_file",
    "read_report",
    "readable_domain",
    "repeated_field",
    "role_target",
    "shown_host",
    "sole_author",
    "spf_target_name",
    "text_argument",
    "texts_argument",
    "transaction",
    "tricks",
    "unpack",
    "usable_tlsa",
    "walk_targets",
    "why_no_answer",
    "write_durably",
    "written_tlsa",
]  # fmt: skip
