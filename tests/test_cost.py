"""One record of costs: sums are laws, the unknown is None and never zero."""

from __future__ import annotations

from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from opto.cost import Cost, token_counts

counts = st.none() | st.integers(0, 10**6)
calls = st.builds(
    lambda prompt, completion, money: Cost.of_call(
        {"prompt_tokens": prompt, "completion_tokens": completion}, seconds=1.0, money=money
    ),
    counts,
    counts,
    st.none() | st.integers(0, 100).map(float),
)


@given(st.lists(calls))
def test_a_sum_knows_no_more_than_its_parts(costs: list[Cost]) -> None:
    total = sum(costs, Cost())
    assert (total.calls, total.seconds) == (len(costs), float(len(costs)))
    for name in ("prompt_tokens", "completion_tokens", "tokens", "money"):
        parts = [getattr(cost, name) for cost in costs]
        assert getattr(total, name) == (None if None in parts else sum(parts))
    assert total.uncounted == sum(cost.tokens is None for cost in costs)
    assert total.unpriced == sum(cost.money is None for cost in costs)


@given(calls, calls, calls)
def test_the_order_of_additions_does_not_matter(a: Cost, b: Cost, c: Cost) -> None:
    assert (a + b) + c == a + (b + c) and a + b == b + a and a + Cost() == a


def test_rollouts_add_up() -> None:
    assert (Cost(rollouts=2) + Cost(rollouts=3, calls=1)).rollouts == 5


def test_tokens_are_read_from_objects_and_mappings() -> None:
    usage = SimpleNamespace(prompt_tokens=3, completion_tokens=2)
    assert token_counts(usage) == token_counts(vars(usage)) == (3, 2)
    assert token_counts(None) == (None, None) == token_counts({"prompt_tokens": "many"})
