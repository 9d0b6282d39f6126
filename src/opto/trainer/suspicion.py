"""Which part to change next, judged by how runs with and without success used each. Pure.

A part is suspicious in the share of failing runs in which its values never occur in successful ones; more so if
it raised, gave one value whatever it was given, or gave back what it was given. Each try that led nowhere lowers the
suspicion; of two equal parts the one nearer to the output comes first, because what it does can be judged at once.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations, pairwise

from opto.trainer.rollouts import Rollout, Usage

__all__ = ["alignment", "closeness", "faults", "quoted", "suspects", "telling_rollouts"]

_WORD = re.compile(r"\w+")
_PAIRS = 2_000
_LONG = 9
_FLOOR = 0.5
_TRY = 0.5
_DEPTH = 0.01


def suspects(rollouts: Sequence[Rollout], tries: Mapping[str, int], perfect: float) -> dict[str, float]:
    """Suspicion by name of the part, the most suspicious first; only parts that a failing run used."""
    failing = [r for r in rollouts if r.score < perfect]
    passing = [r for r in rollouts if r.score >= perfect]
    names = dict.fromkeys(name for r in failing for name in r.usages)
    level = {name: max(u.level for r in failing for u in r.usages.get(name, ())) for name in names}
    depth = {value: i for i, value in enumerate(sorted(set(level.values())))}
    found: dict[str, float] = {}
    for name in names:
        share = _FLOOR + (1 - _FLOOR) * _share(name, failing, passing)  # a wrong value may be right elsewhere
        extra = _extra(name, rollouts)
        guilt = share * (1 + extra) + extra
        found[name] = guilt - _TRY * tries.get(name, 0) + _DEPTH * depth[level[name]]
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _share(name: str, failing: Sequence[Rollout], passing: Sequence[Rollout]) -> float:
    """The share of failing runs in which the part made a value that no successful run shows."""
    good = {used.value for r in passing for used in r.usages.get(name, ())}
    odd = [r for r in failing if any(u.broken or u.value not in good for u in r.usages.get(name, ()))]
    return len(odd) / max(1, len(failing))


def _extra(name: str, rollouts: Iterable[Rollout]) -> float:
    """What speaks against a part by itself: it raised or gave nothing, or did no work."""
    used = [u for r in rollouts for u in r.usages.get(name, ())]
    if any(u.broken for u in used):
        return sum(u.broken for u in used) / len(used)
    return 0.25 if _is_constant(used, 2) or _only_echoes(used) else 0.0


def _is_constant(used: Sequence[Usage], at_least: int) -> bool:
    """Whether the part gave one value for at least that many differing inputs."""
    return len({u.inputs for u in used}) >= at_least and len({u.value for u in used}) == 1


def _only_echoes(used: Sequence[Usage]) -> bool:
    """Whether the part did nothing but give back what it was given."""
    return len({u.inputs for u in used}) > 1 and all(u.echo for u in used)


def faults(rollouts: Sequence[Rollout]) -> int:
    """How often parts raised, gave nothing, gave one value whatever they were given, or only gave that back."""
    count = 0
    for name in {name for r in rollouts for name in r.usages}:
        used = [u for r in rollouts for u in r.usages.get(name, ())]
        broken = sum(u.broken for u in used)
        idle = broken == 0 and (_is_constant(used, 3) or _only_echoes(used))
        count += len(used) if idle else broken
    return count


def alignment(rollouts: Sequence[Rollout], name: str, perfect: float) -> float:
    """How well the values of a part sort runs by what was wanted of them, from -1 to 1.

    Wanted is what the feedback of a failing run says and what a successful run gave. Runs in which the part made
    the same value should share words of that, others should not: the correlation of both over all pairs of
    runs. 0 if all values are the same, or all differ.
    """
    using = [r for r in rollouts if name in r.usages]
    values = [tuple(u.value for u in r.usages[name]) for r in using]
    words = [frozenset(_WORD.findall((r.feedback if r.score < perfect else str(r.value)).lower())) for r in using]
    pairs = list(combinations(range(len(using)), 2))[:_PAIRS]
    same = [float(values[i] == values[j]) for i, j in pairs]
    return _correlation(same, [_jaccard(words[i], words[j]) for i, j in pairs])


def closeness(rollouts: Sequence[Rollout], perfect: float) -> float:
    """How many words, and neighbours of words, outputs of failing runs share with their feedback: it often quotes
    what was wanted.

    The mean over the failing runs of Dice's coefficient; 1 if none fails. Neighbours tell the right order from a wrong.
    """
    shares: list[float] = []
    for r in rollouts:
        if r.score < perfect:
            said = _pieces(r.feedback)
            made = frozenset() if r.failed else _pieces(str(r.value))
            shares.append(2 * len(said & made) / max(1, len(said) + len(made)))
    return round(sum(shares) / len(shares), 3) if shares else 1.0


def _pieces(text: str) -> frozenset[tuple[str, ...]]:
    """The words of a text, alone and with the next."""
    words = _WORD.findall(text.lower())
    return frozenset([*((word,) for word in words), *pairwise(words)])


def quoted(rollouts: Iterable[Rollout], name: str, value: object) -> int:
    """How many of the longer inputs of a part its own text quotes: a rule quotes none, a list of examples does.

    >>> from opto.trace import node
    >>> runs = [Rollout(1, node(0), 0, "", {"f": (Usage(("'The answer is no'",), "", False, 1),)})]
    >>> quoted(runs, "f", "def f(x): return x != 'The answer is no'"), quoted(runs, "f", "def f(x): return 'no' in x")
    (1, 0)
    """
    text = str(value)
    inputs = {given[1:-1] for r in rollouts for u in r.usages.get(name, ()) for given in u.inputs}
    return sum(len(given) >= _LONG and given in text for given in inputs)


def _correlation(xs: Sequence[float], ys: Sequence[float]) -> float:
    """Pearson's, rounded; 0 where one of both does not vary."""
    if not xs:
        return 0.0
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((x - mean_x) ** 2 for x in xs) * sum((y - mean_y) ** 2 for y in ys)
    together = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True))
    return round(together / spread**0.5, 3) if spread > 0 else 0.0


def _jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    return len(a & b) / len(a | b) if a or b else 1.0


def telling_rollouts(
    rollouts: Sequence[Rollout], part: str, *, failing: int, passing: int, perfect: float
) -> list[Rollout]:
    """The runs to show about a part: failing ones that differ, near misses first, then successful ones."""
    using = [r for r in rollouts if part in r.usages]
    good = [r for r in using if r.score >= perfect]
    known = {used.value for r in good for used in r.usages[part]}
    bad = sorted(
        (r for r in using if r.score < perfect),
        key=lambda r: (all(u.value in known and not u.broken for u in r.usages[part]), -r.score),
    )
    common = _common_inputs(using, part)
    return _diverse(bad, part, failing, common) + _diverse(good, part, passing, common)


def _common_inputs(rollouts: Iterable[Rollout], part: str) -> set[str]:
    """The inputs of a part that occur in more than one run: they name a kind of run, others just one run."""
    counts = Counter(given for r in rollouts for given in _inputs(r, part))
    return {given for given, count in counts.items() if count > 1}


def _diverse(rollouts: Sequence[Rollout], part: str, count: int, common: set[str]) -> list[Rollout]:
    """Up to `count` runs, each next one chosen for what it shows anew: common inputs first, then values made."""
    left, chosen = list(rollouts), list[Rollout]()
    inputs, values = set[str](), set[str]()
    while left and len(chosen) < count:
        fresh = [(len((_inputs(r, part) & common) - inputs), len(_values(r, part) - values)) for r in left]
        best = left.pop(fresh.index(max(fresh)))
        chosen.append(best)
        inputs |= _inputs(best, part)
        values |= _values(best, part)
    return chosen


def _inputs(rollout: Rollout, part: str) -> set[str]:
    return {given for used in rollout.usages[part] for given in used.inputs}


def _values(rollout: Rollout, part: str) -> set[str]:
    return {used.value for used in rollout.usages[part]}
