"""Record: a JSON line that has every field of its schema, null where nothing is known; made, and read back.

Imports nothing of torch, for the reports read records.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.row import RunError


def fill(fields: Mapping[str, Any], *parts: Mapping[str, Any]) -> dict[str, Any]:
    """A record with the given fields set, later parts over earlier ones, and what `fields` says elsewhere.

    Raises:
        KeyError: a field that the schema does not have.
    """
    record = dict(fields)
    for part in parts:
        unknown = set(part) - set(fields)
        if unknown:
            raise KeyError(f"no such field: {', '.join(sorted(unknown))}")
        record |= part
    return record


def read(path: Path, fields: Mapping[str, Any], what: str) -> list[dict[str, Any]]:
    """The records of a file, one a line; a last line cut short by a kill is left out.

    Args:
        path: of the file.
        fields: the schema, its number under `schema`; a record without a `label` is none of it.
        what: a record is, in words for messages.

    Raises:
        RunError: the file cannot be read, or holds something else.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"cannot read '{path}': {getattr(error, 'strerror', None) or 'not text'}") from None
    records = []
    for number, line in enumerate(lines[:-1], 1):  # the last is empty, or a line that was never finished
        try:
            record = json.loads(line)
        except ValueError:
            raise RunError(f"'{path}', line {number} is not JSON") from None
        if not isinstance(record, dict) or record.get("schema") != fields["schema"] or "label" not in record:
            raise RunError(f"'{path}', line {number} is not {what} of schema {fields['schema']}")
        records.append({**fields, **record})
    return records
