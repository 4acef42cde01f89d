"""Repeats: a group measured by several processes, one after the other, as one result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast

from bench.measure.processes import between
from bench.trial import GroupResult

Fields = Mapping[str, object]


def merged(results: Sequence[GroupResult]) -> GroupResult:
    """One result of a group out of those of its processes, none of them broken.

    The fields of a case are those of the process with the middle median (of an even number, the lower of two), beside
    the medians and ratios of all and their intervals between processes. A case that failed in one process has failed.

    Args:
        results: at least one; a single one is returned as it is.
    """
    if len(results) == 1:
        return results[0]
    fields = {name: _case([result.fields[name] for result in results]) for name in results[0].fields}
    return replace(results[0], fields=fields, busy_seconds=sum(result.busy_seconds for result in results))


def _case(found: Sequence[Fields]) -> Fields:
    failed = [fields for fields in found if fields["status"] != "ok"]
    if failed:
        return failed[0]
    medians = [cast(float, fields["latency_ms"]) for fields in found]
    middle = found[medians.index(sorted(medians)[(len(medians) - 1) // 2])]
    ratios = [cast(float, fields["ratio"]) for fields in found if fields["ratio"] is not None]
    time, ratio = between(medians), between(ratios)
    return {
        **middle,
        "process_ms": medians,
        "process_ci_low_ms": time.low if time else None,
        "process_ci_high_ms": time.high if time else None,
        "process_ratios": ratios or None,
        "process_ratio_ci_low": ratio.low if ratio else None,
        "process_ratio_ci_high": ratio.high if ratio else None,
    }
