"""How long the prompt of a step is: OptoPrime beside the first format, on agent graphs of 10 to 10,000 calls.

The agent answers questions: a trainable instruction and a trainable function turn each question into an answer, a
function checks it, and all answers are put together; the feedback is about the whole. Tokens are estimated
(`estimate_tokens`: on such texts between 0.98 and 1.5 times the number of Qwen2.5's tokenizer), the same way for both.

Run: python bench/prompt_tokens.py
"""

from __future__ import annotations

from typing import Any

from opto.cost import estimate_tokens
from opto.llm.fakes import DummyLLM
from opto.optimizers import OptoPrime, OptoPrimeV1
from opto.trace import GRAPH, bundle, node

SIZES = (10, 100, 1_000, 10_000)
GOAL, BOUND = 0.6, 8_000
STEPS = 3  # calls for each question


@bundle(trainable=True)
def clean(question: str) -> str:
    """Makes the question ready to be asked."""
    return question.strip().lower()


@bundle()
def answer(instruction: str, question: str) -> str:
    """Asks the model to follow the instruction on the question."""
    return f"The answer to {question} is {len(question) * 7 % 31}, as the table of the second annex says."


@bundle()
def check(text: str) -> bool:
    """Whether the answer gives a number and its source."""
    return "annex" in text


@bundle()
def together(*checks: bool) -> float:
    """The share of answers that pass."""
    return sum(checks) / len(checks)


def step(kind: Any, calls: int) -> tuple[int, int]:
    """(calls of the model, tokens of the prompt) of one step on a graph of about `calls` calls."""
    GRAPH.clear()
    tokens: list[int] = []

    def reply(messages: Any, **options: Any) -> str:
        tokens.append(sum(estimate_tokens(message["content"]) for message in messages))
        return f'{{"reasoning": "r", "answer": "a", "suggestion": {{"{instruction.py_name}": "Be short."}}}}'

    instruction = node("Answer with a number and say where it stands.", name="instruction", trainable=True)
    optimizer = kind([instruction, clean.parameter], llm=DummyLLM(reply))
    optimizer.zero_feedback()
    questions = [f" How many bridges were built in the year {1700 + k}? " for k in range(max((calls - 1) // STEPS, 1))]
    optimizer.backward(together(*[check(answer(instruction, clean(q))) for q in questions]), "Name the page as well.")
    update = optimizer.step()
    assert update, update.reason
    return optimizer.spent.calls, sum(tokens)


def main() -> None:
    print(f"{'calls of the agent':<20}{'OptoPrime':>18}{'first format':>18}{'ratio':>8}")
    for calls in SIZES:
        asked, ours = step(OptoPrime, calls)
        before, theirs = step(OptoPrimeV1, calls)
        ratio = ours / theirs
        met = asked == 1 and ratio <= GOAL and ours <= BOUND
        print(
            f"{calls:<20,}{f'{asked} call, {ours:,}':>18}{f'{before} call, {theirs:,}':>18}{ratio:>8.2f}"
            f"  goal: 1 call, ≤ {GOAL} times, ≤ {BOUND:,} tokens {'met' if met else 'MISSED'}"
        )


if __name__ == "__main__":
    main()
