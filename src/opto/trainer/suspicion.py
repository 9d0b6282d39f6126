"""Which part to change next, judged by how runs with and without success used each. Pure.

A part is suspicious in the share of failing runs in which its values never occur in successful ones; more so if
it raised, or gave one value whatever it was given. Each try that led nowhere lowers the suspicion; of two equal
parts the one nearer to the output comes first, because what it does can be judged at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from opto.trainer.rollouts import Rollout, Usage

__all__ = ["faults", "suspects", "telling_rollouts"]

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
        share = _share(name, failing, passing)
        broken = _is_broken(name, rollouts)
        found[name] = (share * 2 + 1 if broken else share) - _TRY * tries.get(name, 0) + _DEPTH * depth[level[name]]
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _share(name: str, failing: Sequence[Rollout], passing: Sequence[Rollout]) -> float:
    """The share of failing runs in which the part made a value that no successful run shows."""
    good = {used.value for r in passing for used in r.usages.get(name, ())}
    odd = [r for r in failing if any(u.broken or u.value not in good for u in r.usages.get(name, ()))]
    return len(odd) / max(1, len(failing))


def _is_broken(name: str, rollouts: Iterable[Rollout]) -> bool:
    used = [u for r in rollouts for u in r.usages.get(name, ())]
    return any(u.broken for u in used) or _is_constant(used, 2)


def _is_constant(used: Sequence[Usage], at_least: int) -> bool:
    """Whether the part gave one value for at least that many differing inputs."""
    return len({u.inputs for u in used}) >= at_least and len({u.value for u in used}) == 1


def faults(rollouts: Sequence[Rollout]) -> int:
    """How often parts raised, gave nothing, or gave one value whatever they were given."""
    count = 0
    for name in {name for r in rollouts for name in r.usages}:
        used = [u for r in rollouts for u in r.usages.get(name, ())]
        broken = sum(u.broken for u in used)
        count += len(used) if broken == 0 and _is_constant(used, 3) else broken
    return count


def telling_rollouts(
    rollouts: Sequence[Rollout], part: str, *, failing: int, passing: int, perfect: float
) -> list[Rollout]:
    """The runs to show about a part: failing ones with differing odd values first, then successful ones."""
    using = [r for r in rollouts if part in r.usages]
    good = [r for r in using if r.score >= perfect]
    known = {used.value for r in good for used in r.usages[part]}
    bad = sorted(
        (r for r in using if r.score < perfect),
        key=lambda r: all(u.value in known and not u.broken for u in r.usages[part]),
    )
    fresh: dict[tuple[str, ...], Rollout] = {}
    for r in bad:
        fresh.setdefault(tuple(u.value for u in r.usages[part]), r)
    chosen = list(fresh.values())
    chosen += [r for r in bad if not any(r is c for c in chosen)]
    return chosen[:failing] + good[:passing]
