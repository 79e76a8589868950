"""All commands: which states they are given in, and the capability that brings them."""

from __future__ import annotations

from collections.abc import Mapping

from mailserver.imap.commands import (
    acl,
    append,
    authenticate,
    cancelupdate,
    capability,
    comparator,
    compress,
    copy,
    create,
    delete,
    enable,
    expunge,
    fetch,
    identify,
    idle,
    jmap_access,
    language,
    list,
    login,
    logout,
    metadata,
    multisearch,
    namespace,
    noop,
    notify,
    quota,
    rename,
    replace,
    search,
    select,
    sort,
    starttls,
    status,
    store,
    subscribe,
    thread,
    unauthenticate,
    unselect,
    urlauth,
)
from mailserver.imap.session import CommandSpec, State

__all__ = ["COMMANDS"]

_ANY = frozenset(State)
_NOT_AUTHENTICATED = frozenset({State.NOT_AUTHENTICATED})
_AUTHENTICATED = frozenset({State.AUTHENTICATED, State.SELECTED})
_SELECTED = frozenset({State.SELECTED})

_SPECS = (
    CommandSpec(name="CAPABILITY", run=capability.capability, states=_ANY),
    CommandSpec(name="NOOP", run=noop.noop, states=_ANY),
    CommandSpec(name="LOGOUT", run=logout.logout, states=_ANY),
    CommandSpec(name="ID", run=identify.identify, states=_ANY, capability="ID"),
    CommandSpec(name="LANGUAGE", run=language.language, states=_ANY, capability="LANGUAGE"),
    CommandSpec(name="STARTTLS", run=starttls.starttls, states=_NOT_AUTHENTICATED),
    CommandSpec(name="AUTHENTICATE", run=authenticate.authenticate, states=_NOT_AUTHENTICATED),
    CommandSpec(name="LOGIN", run=login.login, states=_NOT_AUTHENTICATED),
    CommandSpec(name="COMPARATOR", run=comparator.comparator, states=_AUTHENTICATED, capability="I18NLEVEL=2"),
    CommandSpec(name="COMPRESS", run=compress.compress, states=_AUTHENTICATED, capability="COMPRESS=DEFLATE"),
    CommandSpec(name="ENABLE", run=enable.enable, states=_AUTHENTICATED, capability="ENABLE"),
    # An EXPUNGE while the mailbox is described would make the numbers of what QRESYNC tells a riddle.
    CommandSpec(name="SELECT", run=select.select, states=_AUTHENTICATED, expunges=False),
    CommandSpec(name="EXAMINE", run=select.select, states=_AUTHENTICATED, expunges=False),
    CommandSpec(name="CREATE", run=create.create, states=_AUTHENTICATED),
    CommandSpec(name="DELETE", run=delete.delete, states=_AUTHENTICATED),
    CommandSpec(name="RENAME", run=rename.rename, states=_AUTHENTICATED),
    CommandSpec(name="SUBSCRIBE", run=subscribe.subscribe, states=_AUTHENTICATED),
    CommandSpec(name="UNSUBSCRIBE", run=subscribe.subscribe, states=_AUTHENTICATED),
    CommandSpec(name="LIST", run=list.list_mailboxes, states=_AUTHENTICATED),
    CommandSpec(name="LSUB", run=list.lsub, states=_AUTHENTICATED),
    CommandSpec(name="NAMESPACE", run=namespace.namespace, states=_AUTHENTICATED, capability="NAMESPACE"),
    CommandSpec(name="STATUS", run=status.status, states=_AUTHENTICATED),
    CommandSpec(name="APPEND", run=append.append, states=_AUTHENTICATED),
    CommandSpec(
        name="UNAUTHENTICATE", run=unauthenticate.unauthenticate, states=_AUTHENTICATED, capability="UNAUTHENTICATE"
    ),
    CommandSpec(name="GETJMAPACCESS", run=jmap_access.get_jmap_access, states=_AUTHENTICATED, capability="JMAPACCESS"),
    CommandSpec(name="NOTIFY", run=notify.notify, states=_AUTHENTICATED, capability="NOTIFY"),
    CommandSpec(name="IDLE", run=idle.idle, states=_AUTHENTICATED, capability="IDLE"),
    CommandSpec(name="GETQUOTA", run=quota.get_quota, states=_AUTHENTICATED, capability="QUOTA"),
    CommandSpec(name="GETQUOTAROOT", run=quota.get_quota_root, states=_AUTHENTICATED, capability="QUOTA"),
    CommandSpec(name="SETQUOTA", run=quota.set_quota, states=_AUTHENTICATED, capability="QUOTA"),
    CommandSpec(name="SETACL", run=acl.set_acl, states=_AUTHENTICATED, capability="ACL"),
    CommandSpec(name="DELETEACL", run=acl.delete_acl, states=_AUTHENTICATED, capability="ACL"),
    CommandSpec(name="GETACL", run=acl.get_acl, states=_AUTHENTICATED, capability="ACL"),
    CommandSpec(name="LISTRIGHTS", run=acl.list_rights, states=_AUTHENTICATED, capability="ACL"),
    CommandSpec(name="RESETKEY", run=urlauth.reset_key, states=_AUTHENTICATED, capability="URLAUTH"),
    CommandSpec(name="GENURLAUTH", run=urlauth.gen_url_auth, states=_AUTHENTICATED, capability="URLAUTH"),
    CommandSpec(name="URLFETCH", run=urlauth.url_fetch, states=_AUTHENTICATED, capability="URLAUTH"),
    CommandSpec(name="GETMETADATA", run=metadata.get_metadata, states=_AUTHENTICATED, capability="METADATA"),
    CommandSpec(name="SETMETADATA", run=metadata.set_metadata, states=_AUTHENTICATED, capability="METADATA"),
    CommandSpec(name="MYRIGHTS", run=acl.my_rights, states=_AUTHENTICATED, capability="ACL"),
    CommandSpec(name="CHECK", run=noop.noop, states=_SELECTED),
    CommandSpec(name="CLOSE", run=unselect.close, states=_SELECTED),
    CommandSpec(name="UNSELECT", run=unselect.unselect, states=_SELECTED, capability="UNSELECT"),
    CommandSpec(name="EXPUNGE", run=expunge.expunge, states=_SELECTED),
    CommandSpec(name="SEARCH", run=search.search, states=_SELECTED, expunges=False),
    CommandSpec(name="SORT", run=sort.sort, states=_SELECTED, capability="SORT", expunges=False),
    CommandSpec(name="THREAD", run=thread.thread, states=_SELECTED, expunges=False),
    CommandSpec(name="ESEARCH", run=multisearch.esearch, states=_AUTHENTICATED, capability="MULTISEARCH"),
    CommandSpec(
        name="CANCELUPDATE", run=cancelupdate.cancel_update, states=_SELECTED, capability="CONTEXT=SEARCH"
    ),
    CommandSpec(name="FETCH", run=fetch.fetch, states=_SELECTED, expunges=False),
    CommandSpec(name="STORE", run=store.store, states=_SELECTED, expunges=False),
    CommandSpec(name="COPY", run=copy.copy, states=_SELECTED),
    CommandSpec(name="MOVE", run=copy.move, states=_SELECTED, capability="MOVE"),
    CommandSpec(name="REPLACE", run=replace.replace, states=_SELECTED, capability="REPLACE"),
    CommandSpec(name="UID REPLACE", run=replace.replace, states=_SELECTED, capability="REPLACE"),
    CommandSpec(name="UID EXPUNGE", run=expunge.expunge, states=_SELECTED, capability="UIDPLUS"),
    CommandSpec(name="UID SEARCH", run=search.search, states=_SELECTED),
    CommandSpec(name="UID SORT", run=sort.sort, states=_SELECTED, capability="SORT"),
    CommandSpec(name="UID THREAD", run=thread.thread, states=_SELECTED),
    CommandSpec(name="UID FETCH", run=fetch.fetch, states=_SELECTED),
    CommandSpec(name="UID STORE", run=store.store, states=_SELECTED),
    CommandSpec(name="UID COPY", run=copy.copy, states=_SELECTED),
    CommandSpec(name="UID MOVE", run=copy.move, states=_SELECTED, capability="MOVE"),
)

COMMANDS: Mapping[str, CommandSpec] = {spec.name: spec for spec in _SPECS}
