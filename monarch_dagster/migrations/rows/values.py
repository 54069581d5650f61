"""Values: for a type as PostgreSQL formats it, texts that it accepts as input, told without asking a server.

Holds samples per type, what the text of a constraint suggests, and which values outlive a change of type. Which of
them a row gets is `search`'s.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

_TYPE_MODIFIER = re.compile(r"(.*?)\((\d+)(?:,(-?\d+))?\)(.*)", re.DOTALL)
_STRING = re.compile(r"'((?:[^']|'')*)'")
_NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.])")
_NUMERIC = re.compile(r"[+-]?\d+(\.\d+)?")
_DATE = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d+)?)?)?([+-]\d\d(:?\d\d)?)?")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_BYTES = re.compile(r"\\x([0-9a-f]{2})*")

_TEXTS = ("text", "character varying", "character", "bpchar", "name", "citext")
_DIGITS = ("1", "2", "3")  # as texts they convert to most other types
_INTEGERS = {"smallint": 2**15, "integer": 2**31, "bigint": 2**63}
_NUMBERS = (*_INTEGERS, "numeric", "real", "double precision", "money", "oid")
_LONGEST_TEXT = 1000
_DATES = ("date", "timestamp without time zone", "timestamp with time zone")
_JSON = ("json", "jsonb")
_FORMS: Mapping[str, re.Pattern[str]] = {
    **dict.fromkeys(_TEXTS, re.compile(r"[^\0]*")),
    **dict.fromkeys(_DATES, _DATE),
    "uuid": _UUID,
    "bytea": _BYTES,
    "boolean": re.compile("true|false|1|0"),
    "bit varying": re.compile("[01]+"),
}
# In ascending order, so that two neighbours are the bounds of a range.
_SAMPLES: Mapping[str, Sequence[str]] = {
    **dict.fromkeys((*_TEXTS, *_NUMBERS), _DIGITS),
    **dict.fromkeys(_DATES, ("2001-01-01", "2001-01-02", "2001-01-03")),
    **dict.fromkeys(("time without time zone", "time with time zone"), ("01:00:00", "02:00:00", "03:00:00")),
    **dict.fromkeys(_JSON, ("{}", '{"a": 1}', '{"a": 2}')),
    "boolean": ("true", "false"),
    '"char"': _DIGITS,
    "bytea": (r"\x31", r"\x32", r"\x33"),
    "interval": ("1 year", "2 years", "3 years"),  # whatever fields it is held to
    "uuid": tuple(f"00000000-0000-4000-8000-00000000000{number}" for number in _DIGITS),
    "inet": ("10.0.0.1", "10.0.0.2", "10.0.0.3"),
    "cidr": ("10.0.1.0/24", "10.0.2.0/24", "10.0.3.0/24"),
    "macaddr": ("08:00:2b:01:02:01", "08:00:2b:01:02:02", "08:00:2b:01:02:03"),
    "macaddr8": ("08:00:2b:01:02:03:04:01", "08:00:2b:01:02:03:04:02", "08:00:2b:01:02:03:04:03"),
    "tsvector": ("a", "b", "c"),
    "tsquery": ("a", "b", "c"),
    "xml": ("<a/>", "<b/>", "<c/>"),
    "jsonpath": ("$", '$."a"', '$."b"'),
    "point": ("(1,1)", "(2,2)", "(3,3)"),
    "line": ("{1,1,1}", "{1,1,2}", "{1,1,3}"),
    "lseg": ("[(0,0),(1,1)]", "[(0,0),(2,2)]", "[(0,0),(3,3)]"),
    "box": ("(2,2),(1,1)", "(4,4),(3,3)", "(6,6),(5,5)"),
    "path": ("((0,0),(1,1))", "((0,0),(2,2))", "((0,0),(3,3))"),
    "polygon": ("((0,0),(0,1),(1,1))", "((2,2),(2,3),(3,3))", "((4,4),(4,5),(5,5))"),
    "circle": ("<(0,0),1>", "<(4,4),1>", "<(8,8),1>"),
    "pg_lsn": ("0/1", "0/2", "0/3"),
    "tid": ("(0,1)", "(0,2)", "(0,3)"),
    "pg_snapshot": ("1:1:", "1:2:", "1:3:"),
    "txid_snapshot": ("1:1:", "1:2:", "1:3:"),
    "aclitem": ("=r", "=w", "=a"),
    **dict.fromkeys(("xid", "xid8", "cid", "refcursor", "oidvector", "int2vector"), _DIGITS),
    **dict.fromkeys(("regclass", "regtype", "regrole", "regnamespace", "regconfig", "regdictionary"), _DIGITS),
    **dict.fromkeys(("regproc", "regprocedure", "regoper", "regoperator", "regcollation"), _DIGITS),
}
_RANGES = {
    "int4range": "integer",
    "int8range": "bigint",
    "numrange": "numeric",
    "daterange": "date",
    "tsrange": "timestamp without time zone",
    "tstzrange": "timestamp with time zone",
}
# What a constraint may ask for without writing it down, and what rows that are there already hardly have.
_MORE_TEXTS = ("a", "b", "A", "", "a@b.cc", "https://a.bc", "2001-01-01", "{}", "monarch 1", "monarch 2")
_MORE: Mapping[str, Sequence[str]] = {
    **dict.fromkeys(_TEXTS, _MORE_TEXTS),
    **dict.fromkeys(_NUMBERS, ("0", "-1", "10", "100", "31001", "31002")),
    **dict.fromkeys(_DATES, ("1900-01-01", "2999-01-01")),
    **dict.fromkeys(_JSON, ("[]", "1", '"a"', "true", "null")),
    "bytea": (r"\x",),
}


@dataclass(frozen=True)
class Kind:
    """A type that is not PostgreSQL's own: e(num), d(omain), r(ange), m(ultirange), c(omposite) or b(ase).

    `base` is the type that it is made of, or behaves like; `labels` are an enum's, or a composite's columns.
    """

    kind: str
    base: str = ""
    labels: tuple[str, ...] = ()
    required: bool = False
    checks: tuple[tuple[str, str], ...] = ()


Kinds = Mapping[str, Kind]


def base_type(type_: str, kinds: Kinds) -> str:
    """Return what a domain, or an array of one, is made of in the end; any other type is itself."""
    if type_.endswith("[]"):
        return f"{base_type(type_[:-2], kinds)}[]"
    while (kind := kinds.get(type_)) and kind.kind == "d":
        type_ = kind.base
    return type_


def candidates(type_: str, kinds: Kinds, expressions: Iterable[str] = (), becomes: str = "") -> tuple[str, ...]:
    """Return texts that `type_` accepts, the best first; none for a type that is not known.

    Args:
        type_: the type, as PostgreSQL formats it.
        kinds: the types that are not PostgreSQL's own.
        expressions: constraints that name the column; what they mention is among the candidates.
        becomes: the type that the column is about to become; what converts comes first.
    """
    type_ = base_type(type_, kinds)
    becomes = base_type(becomes, kinds)
    if type_.endswith("[]"):
        inner = candidates(type_[:-2], kinds, expressions, becomes.removesuffix("[]"))
        return (*(_element(item) for item in inner), *(("{}",) if expressions or not inner else ()))
    own = samples(type_, kinds)
    hinted = samples(becomes, kinds) if becomes else ()
    name = _bare(type_)[0]
    # A text in a constraint is most often what the column may hold, a number in it a bound.
    strings = [item for expression in expressions for item in literals(expression)[0]] if name in _TEXTS else []
    mentioned = [item for expression in expressions for item in _mentioned(expression, name)]
    every = dict.fromkeys([*hinted, *strings, *own, *mentioned, *_MORE.get(name, ())])
    found = [item for item in every if fits(item, type_, kinds)]
    return tuple(sorted(found, key=lambda item: bool(becomes) and not fits(item, becomes, kinds)))


def samples(type_: str, kinds: Kinds) -> tuple[str, ...]:
    """Return a few texts that `type_` accepts, each another value, in ascending order where the type has one."""
    if type_ in kinds or type_.endswith("[]"):
        return _samples_of_made(type_, kinds)
    name, size, scale = _bare(type_)
    if subtype := _RANGES.get(name.replace("multirange", "range")):
        ranges = _samples_of_made(name, {name: Kind("r", subtype)})
        return tuple(f"{{{item}}}" for item in ranges) if name.endswith("multirange") else ranges
    if name in ("bit", "bit varying"):
        return tuple(dict.fromkeys(format(number, "b").zfill(size or 1)[-(size or 1) :] for number in (1, 2, 3)))
    if name == "numeric" and size is not None and (scale < 0 or size <= scale):
        return tuple(f"{Decimal(digit).scaleb(-scale):f}" for digit in _DIGITS)
    return tuple(_SAMPLES.get("interval" if name.startswith("interval") else name, ()))


def fits(value: str, type_: str, kinds: Kinds) -> bool:
    """Say whether `type_` accepts a value; of a type that is not understood, its samples alone."""
    type_ = base_type(type_, kinds)
    name, size, scale = _bare(type_)
    if type_ in kinds:
        return value in samples(type_, kinds)
    if name in _NUMBERS:
        return _NUMERIC.fullmatch(value) is not None and _in_range(Decimal(value), name, size, scale)
    if name in _JSON:
        return _is_json(value)
    if name in _FORMS:
        longest = _LONGEST_TEXT if size is None or name in _DATES else size
        return _FORMS[name].fullmatch(value) is not None and len(value) <= longest
    return value in samples(type_, kinds)


def literals(expression: str) -> tuple[list[str], list[Decimal]]:
    """Return the quoted strings and the numbers that an expression of SQL holds."""
    strings = [found.replace("''", "'") for found in _STRING.findall(expression)]
    numbers = [Decimal(found) for found in _NUMBER.findall(_STRING.sub("''", expression))]
    numbers += [Decimal(found) for found in strings if _NUMERIC.fullmatch(found)]
    return list(dict.fromkeys(strings)), list(dict.fromkeys(numbers))


def named(expression: str, columns: Iterable[str]) -> tuple[str, ...]:
    """Return those of `columns` that an expression of SQL names."""
    words = set(re.findall(r'"(?:[^"]|"")+"|\w+', _STRING.sub("''", expression)))
    return tuple(name for name in columns if name in words or '"' + name.replace('"', '""') + '"' in words)


def _samples_of_made(type_: str, kinds: Kinds) -> tuple[str, ...]:
    if type_.endswith("[]"):
        return tuple(_element(item) for item in samples(type_[:-2], kinds))
    kind = kinds[type_]
    if kind.kind == "e":
        return kind.labels
    if kind.kind == "c":
        return (f"({',' * (len(kind.labels) - 1)})",)
    within = samples(kind.base, kinds) if kind.base else ()
    if kind.kind == "r":
        return tuple(f'["{low}","{high}")' for low, high in pairwise(within))
    return tuple(f"{{{item}}}" for item in within) if kind.kind == "m" else within


def _mentioned(expression: str, name: str) -> list[str]:
    strings, numbers = literals(expression)
    if name in _NUMBERS:
        # PostgreSQL writes a negative number as a minus before it, or as a quoted text.
        return [f"{item:f}" for number in numbers for item in (number, number + 1, number - 1, -number)]
    lengths = [int(number) for number in numbers if 0 < number <= _LONGEST_TEXT]
    if name in _TEXTS:
        unmarked = [plain for item in strings if (plain := re.sub(r"[%_^$]", "", item)) != item]
        return [*unmarked, *("1" * length for length in lengths)]
    if name == "bytea":
        return [r"\x" + "31" * length for length in lengths]
    if name in _JSON:
        return [*(json.dumps({item: "1"}) for item in strings), json.dumps(dict.fromkeys(strings, "1"))]
    return strings


def _bare(type_: str) -> tuple[str, int | None, int]:
    """Take a type's modifier off: its name, the length or precision, the scale."""
    if found := _TYPE_MODIFIER.fullmatch(type_):
        return found[1] + found[4], int(found[2]), int(found[3] or 0)
    return type_, None, 0


def _is_json(value: str) -> bool:
    with suppress(ValueError):
        json.loads(value)
        return True
    return False


def _in_range(number: Decimal, name: str, size: int | None, scale: int) -> bool:
    if name in _INTEGERS:
        return number == number.to_integral_value() and abs(number) < _INTEGERS[name]
    if name == "oid":
        return number == number.to_integral_value() and 0 <= number < 2**32
    return size is None or abs(number) < Decimal(10) ** (size - scale)


def _element(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'{{"{escaped}"}}'
