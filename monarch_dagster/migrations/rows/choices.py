"""Choices: one option for each of a number of variables, so that all rules hold; the earlier an option, the better.

Knows nothing of tables. The search is deterministic and ends after a fixed number of steps.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

STEPS = 20_000


@dataclass(frozen=True)
class Rule:
    """Says whether the options taken for some variables (both by their place) go together."""

    variables: tuple[int, ...]
    allows: Callable[[tuple[int, ...]], bool]


def choose(options: Sequence[Sequence[int]], rules: Sequence[Rule]) -> list[int] | None:
    """Return the option taken for each variable, or None where none was found.

    Args:
        options: the options of each variable, the best first.
        rules: what must hold.
    """
    if not all(options):
        return None
    taken = [of_one[0] for of_one in options]
    steps = iter(range(STEPS))
    for group, its_rules in _apart(rules):
        if not _search(group, its_rules, options, taken, steps):
            return None
    return taken


def _apart(rules: Sequence[Rule]) -> Iterator[tuple[list[int], list[Rule]]]:
    """Give the sets of variables that rules tie together, and those rules; what is apart is searched apart."""
    group: dict[int, set[int]] = {}
    for rule in rules:
        joined = set(rule.variables).union(*(group.get(variable, ()) for variable in rule.variables))
        group.update(dict.fromkeys(joined, joined))
    done: set[int] = set()
    for members in group.values():
        if not members & done:
            done |= members
            yield sorted(members), [rule for rule in rules if rule.variables[0] in members]


def _search(
    variables: Sequence[int],
    rules: Sequence[Rule],
    options: Sequence[Sequence[int]],
    taken: list[int],
    steps: Iterator[int],
) -> bool:
    """Take options depth first; a rule is asked as soon as the last of its variables has one."""
    due: dict[int, list[Rule]] = defaultdict(list)
    for rule in rules:
        due[max(rule.variables)].append(rule)
    left = [iter(options[variables[0]])]
    while left:
        variable = variables[len(left) - 1]
        for taken[variable] in left[-1]:
            if next(steps, None) is None:
                return False
            if all(rule.allows(tuple(taken[place] for place in rule.variables)) for rule in due[variable]):
                break
        else:
            left.pop()
            continue
        if len(left) == len(variables):
            return True
        left.append(iter(options[variables[len(left)]]))
    return False
