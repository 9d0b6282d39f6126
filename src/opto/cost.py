"""What calls of models cost: one record for a call, a step, a budget, a whole run; an estimate of tokens. A leaf.

>>> from opto.cost import Cost
>>> step = Cost.of_call({"prompt_tokens": 90, "completion_tokens": 10}, seconds=1.5, money=0.002)
>>> total = step + Cost.of_call(None, seconds=0.5)
>>> total.calls, total.seconds, step.tokens, total.tokens, total.money
(2, 2.0, 100, None, None)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

__all__ = ["Cost", "estimate_tokens", "token_counts"]

_ALONE = b"0123456789.,()'\"=`:#{}[]@|_\n"  # bytes that are a token by themselves


@dataclass(frozen=True, slots=True)
class Cost:
    """Calls, tokens, dollars and seconds; costs add up with `+`.

    Read `prompt_tokens`, `completion_tokens`, `tokens` and `money`: each is None, which is not zero, when it is
    unknown for a single call. The fields `…_sum` are what is known nevertheless: they lack the `uncounted` calls,
    whose server told no tokens, and the `unpriced` calls. The sums of a `Budget` hold estimates of uncounted calls.
    """

    calls: int = 0
    prompt_sum: int = 0
    completion_sum: int = 0
    seconds: float = 0.0
    money_sum: float = 0.0
    uncounted: int = 0
    unpriced: int = 0
    rollouts: int = 0

    @classmethod
    def of_call(cls, usage: object, *, seconds: float = 0.0, money: float | None = None) -> Cost:
        """The cost of one answered call, from the `usage` of its response and the dollars that it cost, if known."""
        prompt, completion = token_counts(usage)
        return cls(
            calls=1,
            prompt_sum=prompt or 0,
            completion_sum=completion or 0,
            seconds=seconds,
            money_sum=money or 0.0,
            uncounted=int(prompt is None or completion is None),
            unpriced=int(money is None),
        )

    @property
    def prompt_tokens(self) -> int | None:
        """Tokens of all prompts."""
        return None if self.uncounted else self.prompt_sum

    @property
    def completion_tokens(self) -> int | None:
        """Tokens of all replies."""
        return None if self.uncounted else self.completion_sum

    @property
    def tokens(self) -> int | None:
        """Tokens of prompts and replies together."""
        return None if self.uncounted else self.prompt_sum + self.completion_sum

    @property
    def money(self) -> float | None:
        """US dollars for all calls."""
        return None if self.unpriced else self.money_sum

    def __add__(self, other: Cost) -> Cost:
        return Cost(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))


def token_counts(usage: Any) -> tuple[int | None, int | None]:
    """The tokens of prompt and completion in the `usage` of a response, an object or a mapping; None where unsaid.

    >>> token_counts({"prompt_tokens": 3})
    (3, None)
    """
    told: Any = usage.get if isinstance(usage, Mapping) else partial(getattr, usage)
    prompt, completion = told("prompt_tokens", None), told("completion_tokens", None)
    return prompt if isinstance(prompt, int) else None, completion if isinstance(completion, int) else None


def estimate_tokens(text: str) -> int:
    """About how many tokens a model reads for `text`: one a digit, one a mark, one for four other bytes.

    Against the tokenizer of Qwen2.5, on prompts of this package and on code: never less than 0.98 and
    at most 1.5 times the true number.

    >>> estimate_tokens("add0 = add(x0, 1) -> 2")
    12
    """
    encoded = text.encode("utf-8", "replace")
    others = len(encoded.translate(None, _ALONE))
    return len(encoded) - others + (others + 3) // 4
