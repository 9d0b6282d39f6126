"""Ways to draw several candidate replies for one problem; each is a function in `TECHNIQUES`.

They know no model: `Draw.ask` answers a list of calls (keyword arguments of `call_llm`), in their order,
at the same time where it can; a call that failed is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

from opto.optimizers.formats.texts import fill, prompt_text
from opto.optimizers.replies.json_replies import parse_json

__all__ = ["TECHNIQUES", "Draw", "quoted_answers", "read_experts", "temperatures_between"]


@dataclass(frozen=True, slots=True)
class Draw:
    """What is drawn: `count` replies to two prompts, at temperatures from `high` to `low`."""

    ask: Callable[[list[dict[str, Any]]], list[str]]
    system: str
    user: str
    count: int
    low: float
    high: float
    experts: Sequence[str] | None = None
    models: Callable[[int], list[Any]] | None = None

    def call(self, temperature: float, **changed: Any) -> dict[str, Any]:
        """One call for a candidate."""
        return {"system_prompt": self.system, "user_prompt": self.user, "temperature": temperature, **changed}


def temperatures_between(high: float, low: float, count: int) -> list[float]:
    """`count` temperatures from `high` down to `low`, evenly.

    >>> temperatures_between(1.0, 0.0, 3)
    [1.0, 0.5, 0.0]
    """
    return [high - (high - low) * i / max(count - 1, 1) for i in range(count)]


def quoted_answers(answers: Sequence[str]) -> str:
    """Candidates as a prompt quotes them."""
    return "\n".join(fill("multi_answer", answer=answer) for answer in answers)


def _temperature_variation(draw: Draw) -> list[str]:
    return draw.ask([draw.call(t) for t in temperatures_between(draw.high, draw.low, draw.count)])


def _one_after_another(draw: Draw, prompt: Callable[[list[str]], str]) -> list[str]:
    found: list[str] = []
    for _ in range(draw.count):
        found += draw.ask([draw.call(draw.low, user_prompt=prompt(found) if found else draw.user)])
    return found


def _self_refinement(draw: Draw) -> list[str]:
    return _one_after_another(draw, lambda found: fill("multi_refine", problem=draw.user, previous=found[-1]))


def _iterative_alternatives(draw: Draw) -> list[str]:
    def prompt(found: list[str]) -> str:
        return fill("multi_alternative", problem=draw.user, previous=quoted_answers(found))

    return _one_after_another(draw, prompt)


def _multi_experts(draw: Draw) -> list[str]:
    experts = list(draw.experts or ())
    if not experts:
        question = fill("multi_ask_experts", count=draw.count)
        asked = draw.ask([draw.call(0.0, system_prompt=question)])
        experts = read_experts(asked[0] if asked else "") or prompt_text("multi_experts").splitlines()
    personas = islice(cycle(experts), draw.count)
    prompts = [fill("multi_persona", expert=expert, system=draw.system) for expert in personas]
    return draw.ask([draw.call(0.0, system_prompt=prompt) for prompt in prompts])


def read_experts(reply: str) -> list[str]:
    """The texts of a JSON array, by itself or in an object; [] if there is none.

    >>> read_experts('["a cook", "a judge"]'), read_experts("no idea")
    (['a cook', 'a judge'], [])
    """
    try:
        body = parse_json(reply)
    except ValueError:
        return []
    if isinstance(body, dict):
        body = next((value for value in body.values() if isinstance(value, list)), [])
    items: list[Any] = body if isinstance(body, list) else []
    return [item for item in items if isinstance(item, str) and item.strip()]


def _multi_llm(draw: Draw) -> list[str]:
    models = draw.models(draw.count) if draw.models is not None else []
    return draw.ask([draw.call(draw.low, llm=llm) for llm in models])


TECHNIQUES: Mapping[str, Callable[[Draw], list[str]]] = {
    "temperature_variation": _temperature_variation,
    "self_refinement": _self_refinement,
    "iterative_alternatives": _iterative_alternatives,
    "multi_experts": _multi_experts,
    "multi_llm": _multi_llm,
}
"""The techniques by name."""
