"""The agent of the demo: it greets customers in their language, and at first does it badly.

Two questions to a language model, each with an instruction that may be rewritten, and two functions whose code may be.
"""

from __future__ import annotations

from typing import Any

from opto.cli.demo_customers import Customer
from opto.llm.base import LLM
from opto.trace import bundle, model, node
from opto.trace.nodes import ParameterNode
from opto.trainer.rollouts import Judgement

__all__ = ["SYSTEM_PROMPT", "Agent", "ask_model", "judge_greeting", "named_parts"]

SYSTEM_PROMPT = "You are a sales assistant."


@bundle(catch_execution_error=False)
def ask_model(llm: Any, system_prompt: str, instruction: str, query: str) -> str:
    """Asks a language model and returns its answer."""
    messages = [
        {"role": "system", "content": system_prompt},
        {"role": "user", "content": f"{instruction}\n{query}"},
    ]
    response = llm(messages=messages, temperature=0, max_tokens=24)
    return str(response.choices[0].message.content)


@model
class Agent:
    """Greets a customer by name, in the customer's language."""

    def __init__(self, llm: LLM, system_prompt: str = SYSTEM_PROMPT) -> None:
        self.llm = llm
        self.system_prompt = system_prompt
        self.instruct1 = node("Decide the language", trainable=True, name="instruct1")
        self.instruct2 = node("Extract name", trainable=True, name="instruct2")

    def __call__(self, user_query: str) -> Any:
        response = ask_model(self.llm, self.system_prompt, self.instruct1, user_query)
        en_or_es = self.decide_lang(response)
        user_name = ask_model(self.llm, self.system_prompt, self.instruct2, user_query)
        return self.greet(en_or_es, user_name)

    @bundle(trainable=True)
    def decide_lang(self, response: str) -> str | None:
        """Map the language into a variable"""
        return None

    @bundle(trainable=True)
    def greet(self, lang: str | None, user_name: str) -> str:
        """Produce a greeting based on the language"""
        greeting = "Hola"
        return f"{greeting}, {user_name}!"


def named_parts(agent: Any) -> dict[str, ParameterNode[Any]]:
    """The agent's four parts, by the names that a person knows them by."""
    return {
        "instruct1": agent.instruct1,
        "decide_lang": agent.decide_lang.parameter,
        "instruct2": agent.instruct2,
        "greet": agent.greet.parameter,
    }


def judge_greeting(customer: Customer, greeting: object) -> Judgement:
    """The feedback function: what was expected; half a point each for the right word of greeting and the right name."""
    if greeting == customer.greeting:
        return Judgement(1.0, "Correct")
    word, _, name = customer.greeting.partition(", ")
    said, _, called = str(greeting).partition(", ")
    return Judgement((said == word) / 2 + (called == name) / 2, f"Incorrect. Expected {customer.greeting!r}")
