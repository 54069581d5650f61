"""The one error a person can act on, and its words.

Everything a user can cause ends in a `MonarchError`: what was found, what was expected, what to do now. Commands print
it without a stack trace, assets turn it into a `dagster.Failure`. No message may carry a password or a token.
"""

from __future__ import annotations

_REMEDY = "\nWhat to do: "


class MonarchError(Exception):
    """A failure whose message tells what was found and expected, and whose remedy tells what to do now."""

    def __init__(self, message: str, *, remedy: str = "") -> None:
        """Take `message` (found and expected) and `remedy` (the next step; empty where the message says it)."""
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}{_REMEDY}{self.remedy}" if self.remedy else self.message

    @classmethod
    def told(cls, text: str) -> MonarchError:
        """Return the error whose `str` is `text`, such as one that failed a step of a run."""
        message, _, remedy = text.partition(_REMEDY)
        return cls(message, remedy=remedy)


class IrreversibleRevision(MonarchError):  # noqa: N818 - a revision's downgrade raises it, and reads like a sentence
    """Raised by the `downgrade` of a revision that cannot be taken back; its message says why."""


def counted(number: int, noun: str) -> str:
    """Return "1 table", "2,000 tables"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
