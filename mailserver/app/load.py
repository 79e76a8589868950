"""From a TOML file to one `Config`: all problems at once, each with its line, its key and what to do.

The steps are apart because plugins add their own sections: `read` (a document), `validate` (the core's sections), and
whoever loads plugins adds their problems before `ConfigurationError` is raised.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from mailserver.app.config import Config
from mailserver.app.keylines import key_lines, line_of
from mailserver.model.address import EmailAddress, normalize_domain
from mailserver.model.errors import InvalidInput

__all__ = ["DEFAULT_FILES", "ConfigurationError", "Document", "Loaded", "Problem", "find", "load", "read", "validate"]

#: Where a configuration is looked for when none is named.
DEFAULT_FILES = ("config.toml", "/etc/mailserver/config.toml")
MAX_FILE_SIZE = 8 << 20

_PART = re.compile(r'"([^"]*)"|\[([0-9]{1,6})\]|([^."\[\]]+)')
_WORDS = {
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "string_type": 'must be text in quotes, such as "…"',
    "list_type": 'must be a list, such as ["…"]',
    "dict_type": "must be a table of its own, [{key}]",
    "model_type": "must be a table of its own, [{key}]",
    "model_attributes_type": "must be a table of its own, [{key}]",
    "missing": "is missing",
    "literal_error": "must be {expected}",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must have at least {min_length} items",
    "too_long": "must have at most {max_length} items",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. `key` is a dotted path, "" for the file as a whole; `line` counts from 1."""

    file: str
    line: int | None
    key: str
    text: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.key}: {self.text}" if self.key else f"{where}: {self.text}"


class ConfigurationError(Exception):
    """The configuration cannot be used; `problems` says all that is wrong, in the order of the file."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: problem.line or 0))
        super().__init__("\n".join(str(problem) for problem in self.problems))


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file, before anything was validated."""

    file: Path
    raw: Mapping[str, Any] = field(repr=False)
    lines: Mapping[tuple[str, ...], int] = field(repr=False)

    def problem(self, path: Sequence[str | int], text: str) -> Problem:
        """A problem with the key at `path`, with its line."""
        names = tuple(part for part in path if isinstance(part, str))
        return Problem(str(self.file), line_of(dict(self.lines), names), dotted(path), text)

    def located(self, text: str) -> Problem:
        """A problem whose text begins with the path of its key, as other packages write them."""
        key, _, rest = text.partition(": ")
        return self.problem(_parts(key), rest) if rest else self.problem((), text)

    def resolve(self, name: str) -> Path:
        """A path that stands in the file: relative ones are relative to the file."""
        return Path(os.path.abspath(self.file.parent / name))


@dataclass(frozen=True, slots=True)
class Loaded:
    """A valid configuration with the document it came from. Paths in `config` are absolute."""

    config: Config
    document: Document

    @property
    def data_dir(self) -> Path:
        """Where all mail and state is kept."""
        return Path(self.config.data_dir)


def find(named: str | None) -> Path:
    """The file to use. Raises ConfigurationError: it does not exist."""
    for candidate in (named,) if named else DEFAULT_FILES:
        if os.path.isfile(candidate):
            return Path(os.path.abspath(candidate))
    if named:
        raise ConfigurationError([Problem(named, None, "", "there is no such file")])
    where = " and no ".join(DEFAULT_FILES)
    hint = "name one with --config FILE, or write the default one: mailserver config > config.toml"
    raise ConfigurationError([Problem("configuration", None, "", f"there is no {where}; {hint}")])


def read(file: Path) -> Document:
    """Parse a file. Raises ConfigurationError: not readable, not TOML."""
    try:
        with file.open("rb") as source:
            octets = source.read(MAX_FILE_SIZE + 1)
        if len(octets) > MAX_FILE_SIZE:
            raise ConfigurationError([Problem(str(file), None, "", "is larger than 8 MiB; this is no configuration")])
        text = octets.decode().replace("\r\n", "\n")
        return Document(file, tomllib.loads(text), key_lines(text))
    except OSError as error:
        raise ConfigurationError([Problem(str(file), None, "", f"cannot be read: {error.strerror}")]) from None
    except UnicodeDecodeError as error:
        line = octets.count(b"\n", 0, error.start) + 1
        raise ConfigurationError([Problem(str(file), line, "", "is not UTF-8 text")]) from None
    except tomllib.TOMLDecodeError as error:
        text, _, place = str(error).partition(" (at ")
        number = "".join(c for c in place.partition(",")[0] if c.isdecimal())
        problem = Problem(str(file), int(number) if number else None, "", f"not TOML: {text}")
        raise ConfigurationError([problem]) from None


def load(named: str | None = None) -> Loaded:
    """Find, read and validate the core's sections. Raises ConfigurationError with every problem."""
    document = read(find(named))
    loaded, problems = validate(document)
    if loaded is None:
        raise ConfigurationError(problems)
    return loaded


def validate(document: Document) -> tuple[Loaded | None, list[Problem]]:
    """The core's sections, typed; `None` when there are problems."""
    problems = _check_names(document)
    try:
        config = Config.model_validate(dict(document.raw))
    except ValidationError as error:
        return None, problems + explain(error, Config, document)
    return (None, problems) if problems else (Loaded(_absolute(config, document), document), [])


def explain(
    error: ValidationError, model: type[BaseModel], document: Document, prefix: tuple[str, ...] = ()
) -> list[Problem]:
    """pydantic's findings in the operator's words; `prefix` is where `model` stands in the document."""
    problems = []
    for found in error.errors(include_url=False, include_context=True, include_input=False):
        # A key of a dict that is itself wrong is reported by pydantic as "[key]".
        path = (*prefix, *(part for part in found["loc"] if part != "[key]"))
        if found["type"] == "extra_forbidden":
            text = _unknown(found["loc"], model)
        elif found["type"] in _WORDS:
            text = _WORDS[found["type"]].format(key=dotted(path), **found.get("ctx", {}))
        else:
            text = found["msg"].removeprefix("Value error, ").removeprefix("Input ")
        problems.append(document.problem(path, text))
    return problems


def dotted(path: Sequence[str | int]) -> str:
    """`("domains", "a.example", "aliases", 0)` as `domains."a.example".aliases[0]`."""
    out = ""
    for part in path:
        if isinstance(part, int):
            out += f"[{part}]"
        else:
            bare = part and all(c.isascii() and (c.isalnum() or c in "-_") for c in part)
            out += ("." if out else "") + (part if bare else f'"{part}"')
    return out


def _parts(key: str) -> tuple[str | int, ...]:
    """`dotted`, the other way round."""
    found: list[str | int] = []
    for quoted, index, bare in _PART.findall(key):
        found.append(int(index) if index else quoted or bare)
    return tuple(found)


def nearest(name: str, known: Iterable[str]) -> str:
    """` (did you mean "x"?)`, or nothing."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f'; did you mean "{close[0]}"?' if close else ""


def _unknown(loc: Sequence[str | int], model: type[BaseModel]) -> str:
    owner: type[BaseModel] | None = model
    for part in loc[:-1]:
        owner = _model_of(owner, part)
    known = list(owner.model_fields) if owner else []
    return "there is no such setting" + nearest(str(loc[-1]), known)


def _model_of(owner: type[BaseModel] | None, part: str | int) -> type[BaseModel] | None:
    if owner is None or part not in owner.model_fields:
        return owner  # a key of a table of tables: the class was found one step before
    annotation: Any = owner.model_fields[str(part)].annotation
    if get_origin(annotation) is dict:
        annotation = get_args(annotation)[1]
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _check_names(document: Document) -> list[Problem]:
    """The domains and addresses of [domains]. Looks at the raw document, so that one run tells everything."""
    problems: list[Problem] = []
    seen: dict[str, str] = {}
    for name, section in _table(document.raw.get("domains")).items():
        here = ("domains", name)
        try:
            domain = normalize_domain(name)
        except InvalidInput as error:
            problems.append(document.problem(here, error.text))
            continue
        if (other := seen.setdefault(domain, name)) != name:
            problems.append(document.problem(here, f'is the same domain as "{other}"'))
        values = _table(section)
        for key in ("catch_all", "postmaster"):
            problems += _check_address(document, (*here, key), values.get(key) or None)
        for local, targets in _table(values.get("aliases")).items():
            problems += _check_address(document, (*here, "aliases", local), f"{local}@{domain}")
            for at, target in enumerate(targets if isinstance(targets, list) else []):
                problems += _check_address(document, (*here, "aliases", local, at), target, domain)
    return problems


def _check_address(document: Document, path: tuple[str | int, ...], text: Any, domain: str = "") -> list[Problem]:
    """`domain` completes a local part; what is no text is reported by the settings class."""
    if not isinstance(text, str):
        return []
    try:
        EmailAddress.parse(text if "@" in text or not domain else f"{text}@{domain}")
    except InvalidInput as error:
        return [document.problem(path, f"not an address: {error.text}")]
    return []


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _absolute(config: Config, document: Document) -> Config:
    files = ("cert_file", "client_ca_file", "key_file")
    tls = {name: str(document.resolve(value)) for name in files if (value := getattr(config.tls, name))}
    socket = config.sendmail.socket
    smarthosts = {}
    for key, smarthost in config.smarthosts.items():
        paths = {
            name: str(document.resolve(value))
            for name in ("password_file", "ca_file") if (value := getattr(smarthost, name))
        }  # fmt: skip
        smarthosts[key] = smarthost.model_copy(update=paths)
    return config.model_copy(
        update={
            "data_dir": str(document.resolve(config.data_dir)),
            "tls": config.tls.model_copy(update=tls),
            "sendmail": config.sendmail.model_copy(update={"socket": socket and str(document.resolve(socket))}),
            "smarthosts": smarthosts,
        }
    )
