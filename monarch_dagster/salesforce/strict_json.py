"""JSON that people edit: read strictly, and what is wrong with it told so that it can be printed. Pure.

What the file may hold belongs in `object_meta`.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from pydantic import ValidationError

SHOWN_ERRORS = 5


def read_json(content: bytes) -> Any:
    """Return the document; a byte order mark at its beginning is no part of it.

    Raises `ValueError` (of that `UnicodeDecodeError` and `json.JSONDecodeError`) for what is no JSON, for a key that
    stands twice, and for a number that is too long; `RecursionError` for what is nested too deeply.
    """
    return json.loads(content.decode("utf-8-sig"), object_pairs_hook=_no_key_twice, parse_int=_whole_number)


def explain(error: ValidationError) -> str:
    """Return a line for each of the first things that are wrong, with its place in the file."""
    found = error.errors(include_url=False, include_context=False)
    lines = []
    for item in found[:SHOWN_ERRORS]:
        place = " → ".join(_cut(part).strip("'") for part in item["loc"])
        shown = f" (found {_cut(item['input'])})" if isinstance(item["input"], str | int | float) else ""
        lines.append(f"  {place or 'the document'}: {item['msg'].removeprefix('Value error, ')}{shown}")
    if len(found) > SHOWN_ERRORS:
        lines.append(f"  … and {len(found) - SHOWN_ERRORS} more")
    return "\n".join(lines)


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        doubled = next(key for key, count in counts.items() if count > 1)
        beside = ", ".join(f"{_cut(key)}: {_cut(value)}" for key, value in pairs[:4] if isinstance(value, str))
        raise ValueError(f"the key {_cut(doubled)} stands twice" + (f" (beside {beside})" if beside else ""))
    return result


def _whole_number(text: str) -> int:
    if len(text) > 20:
        raise ValueError(f"{_cut(text)} is no number that object metadata holds")
    return int(text)


def _cut(value: object) -> str:
    """Return a value of the file as a message may show it: on one line, and not too long."""
    return ascii(value) if len(str(value)) <= 80 else f"{str(value)[:80]!a}…"
