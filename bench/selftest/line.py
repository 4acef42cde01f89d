"""Line: what one check of the self-test found."""

from __future__ import annotations

from dataclasses import dataclass

VERDICTS = ("pass", "warn", "fail", "unverified")


@dataclass(frozen=True)
class Line:
    """One check.

    Attributes:
        name: what was checked.
        verdict: `pass`; `warn`: the instrument is true, but figures will be worse than they could be; `fail`: an
            instrument reads false; `unverified`: it cannot be known here.
        figure: what was read, with units.
        meaning: what that says about figures measured here.
    """

    name: str
    verdict: str
    figure: str
    meaning: str

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise ValueError(f"verdict {self.verdict!r} is none of {', '.join(VERDICTS)}")


def unverified(name: str, reason: object, meaning: str) -> Line:
    """A check that cannot be made here, and why; the reason is cut to one line."""
    words = " ".join(str(reason).split())[:200]
    return Line(name, "unverified", f"could not be verified here: {words}", meaning)
