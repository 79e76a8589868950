"""The domains and aliases of the configuration as entries of the directory, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mailserver.model.address import EmailAddress, normalize_domain
from mailserver.model.errors import InvalidInput
from mailserver.ports.directory import Alias, Domain
from mailserver.storage.directory_db import Entries
from mailserver.storage.directory_settings import DomainSettings

__all__ = ["clashes", "from_settings"]


def from_settings(configured: Mapping[str, DomainSettings]) -> tuple[Entries, list[str]]:
    """What the configuration names, and its problems: one line each, with the key's path. Wrong parts are left out."""
    entries, problems = Entries(), list[str]()
    for written, settings in configured.items():
        path = f'domains."{written}"'
        try:
            name = normalize_domain(written)
        except InvalidInput as error:
            problems.append(f"{path}: {error.text}")
            continue
        if name in entries.domains:
            problems.append(f"{path}: the domain {name} stands here twice")
            continue
        entries.domains[name] = Domain(
            name=name,
            catch_all=_checked(settings.catch_all, name, f"{path}.catch_all", problems),
            postmaster=_checked(settings.postmaster, name, f"{path}.postmaster", problems),
            subaddress_separator=settings.subaddress_separator,
            from_config=True,
        )
        for local, targets in settings.aliases.items():
            _add_alias(entries, f'{path}.aliases."{local}"', f"{local}@{name}", targets, name, problems)
    return entries, problems


def clashes(configured: Entries, stored: Entries) -> list[str]:
    """Names that stand in the configuration and in `accounts.db`, one line each."""
    problems = [
        f'domains."{name}": the domain is in accounts.db too; remove one of the two (`domain remove {name}`)'
        for name in configured.domains
        if name in stored.domains
    ]
    for key, alias in configured.aliases.items():
        path = f'domains."{alias.address.domain}".aliases."{alias.address.local}"'
        if key in stored.aliases:
            problems.append(f"{path}: the alias is in accounts.db too; remove one of the two (`alias remove {key}`)")
        if key in stored.accounts:
            problems.append(f"{path}: there is an account of this name")
    return problems


def _add_alias(
    entries: Entries, path: str, written: str, targets: Sequence[str], domain: str, problems: list[str]
) -> None:
    try:
        address = EmailAddress.parse(written)
    except InvalidInput as error:
        problems.append(f"{path}: {error.text}")
        return
    if address.key in entries.aliases:
        problems.append(f"{path}: the alias stands here twice")
        return
    parsed = [_target(target, domain, f"{path}[{number}]", problems) for number, target in enumerate(targets)]
    known = tuple(dict.fromkeys(target for target in parsed if target is not None))
    if not targets:
        problems.append(f"{path}: an alias needs a target")
    if any(target.key == address.key for target in known):
        problems.append(f"{path}: an alias cannot be its own target")
        return
    if known:
        entries.aliases[address.key] = Alias(address=address, targets=known, from_config=True)


def _target(written: str, domain: str, path: str, problems: list[str]) -> EmailAddress | None:
    try:
        return EmailAddress.parse(written if "@" in written else f"{written}@{domain}")
    except InvalidInput as error:
        problems.append(f"{path}: {error.text}")
        return None


def _checked(written: str, domain: str, path: str, problems: list[str]) -> str:
    """An address as text, or ""."""
    address = _target(written, domain, path, problems) if written else None
    return str(address) if address else ""
