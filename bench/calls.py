"""What a step costs in calls, tokens and time: OptoPrime beside textual gradients, ours and those of PyPI's `textgrad`.

OptoPrime asks a model once a step, whatever the workflow; textual gradients (Yuksekgonul et al. 2024, arXiv
2406.07496) ask once for each edge that leads to a parameter and once for each parameter. The workflow is a chain of
model calls, each with a trainable instruction, run on one question or on several before the step. What is counted
begins when the feedback is known: the calls of the workflow itself, and textgrad's own call to judge an output, are
left out. Time is simulated: half a second a call, 2,000 tokens read and 60 written a second, one call after the other.

Run: python bench/calls.py
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from oracles import Oracle, print_table, read_prompt

from opto.cli.demo_agent import Agent
from opto.cost import estimate_tokens
from opto.optimizers import OptoPrime, OptoPrimeV1, TextGrad
from opto.trace import GRAPH, bundle, node

INSTRUCTION = (
    "Stage {k}: read the text, keep the facts, and pass on what the next stage needs to give a short, right answer."
)
FEEDBACK = "The answer is too long, and it leaves out the date that was asked for."
CRITICISM = (
    "It should ask for the date in so many words and set a limit of twenty words, because the answer that came of it "
    "runs on and leaves out the date. Naming what to leave out would help as well."
)
ANSWER = "The text says that the bridge was opened after four years of work, and that three firms had a hand in it: "


def stage(text: str) -> str:
    """What a model makes of a text: an answer of some thirty words."""
    return f"{ANSWER}{text[-60:]}"


def better(instruction: str) -> str:
    return f"{instruction} Give the date, in at most twenty words."


def answer(messages: Sequence[Mapping[str, str]]) -> str:
    """Replies to whatever an optimizer asks for: criticism, one new text, or new values for all parts."""
    question = "\n".join(message["content"] for message in messages)
    if "# Parts you may change" in question:
        parts = read_prompt(messages[1]["content"]).parts
        return json.dumps({"reasoning": CRITICISM, "suggestion": {k: better(v) for k, v in parts.items()}})
    if "suggestion" in question:  # the classic format
        changed = {
            name: better(INSTRUCTION) for name in re.findall(r"^\(str\) (instruction_\w+)=", question, re.MULTILINE)
        }
        return json.dumps({"reasoning": CRITICISM, "answer": "", "suggestion": changed})
    return (
        f"<IMPROVED_VARIABLE>{better(INSTRUCTION)}</IMPROVED_VARIABLE>"
        if "IMPROVED_VARIABLE" in question
        else CRITICISM
    )


@bundle()
def ask(instruction: str, text: str) -> str:
    """Asks the model to follow the instruction on the text."""
    return stage(text)


def questions(count: int) -> list[str]:
    return [f"When was bridge number {k} opened to traffic, and who built it?" for k in range(count)]


# --- one step with each ---


def ours(kind: Any) -> Callable[[int, int], Oracle]:
    """One step of our optimizer `kind` on (stages, questions)."""

    def step(stages: int, count: int) -> Oracle:
        GRAPH.clear()
        instructions: list[Any] = [
            node(INSTRUCTION.format(k=k), name=f"instruction_{'abcdefgh'[k - 1]}", trainable=True)
            for k in range(1, stages + 1)
        ]
        oracle = Oracle(answer)
        optimizer = kind(instructions, llm=oracle)
        optimizer.zero_feedback()
        for question in questions(count):
            text: Any = question
            for instruction in instructions:
                text = ask(instruction, text)
            optimizer.backward(text, FEEDBACK)
        update = optimizer.step()
        assert len(update) == stages, update.reason
        return oracle

    return step


def peer() -> Callable[[int, int], Oracle] | None:
    """The same with the PyPI package, or None where it is not installed."""
    os.environ.setdefault("TEXTGRAD_LOG_DIR", tempfile.mkdtemp())  # it writes a log wherever it is imported
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # and its engine would fetch a price list
    try:
        import textgrad
    except ImportError:
        return None

    class Engine(textgrad.EngineLM):  # type: ignore[misc]
        """Their interface around a function of (prompt, system prompt)."""

        def __init__(self, generate: Callable[[str, str], str]) -> None:
            self.model_string = "oracle"
            self._generate = generate

        def generate(self, prompt: str, system_prompt: str | None = None, **options: Any) -> str:
            return self._generate(prompt, system_prompt or "")

        __call__ = generate

    def step(stages: int, count: int) -> Oracle:
        oracle = Oracle(answer)
        counted = Engine(lambda prompt, system: oracle(_chat(system, prompt)).text)
        workflow, judge = Engine(lambda prompt, system: stage(prompt)), Engine(lambda prompt, system: FEEDBACK)
        instructions = [
            textgrad.Variable(INSTRUCTION.format(k=k), role_description=f"instruction {k}")
            for k in range(1, stages + 1)
        ]
        losses = []
        for question in questions(count):
            text = textgrad.Variable(question, role_description="question", requires_grad=False)
            for instruction in instructions:
                text = textgrad.BlackboxLLM(workflow, instruction)(text)
            losses.append(textgrad.TextLoss("Is the answer short, with the date?", judge)(text))
        (losses[0] if count == 1 else textgrad.sum(losses)).backward(counted)
        textgrad.TGD(instructions, engine=counted).step()
        return oracle

    return step


def _chat(system: str, user: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": system}, {"role": "user", "content": user}]


def arms() -> dict[str, Callable[[int, int], Oracle]]:
    found = {kind.__name__: ours(kind) for kind in (OptoPrime, OptoPrimeV1, TextGrad)}
    theirs = peer()
    return found if theirs is None else {**found, "textgrad (PyPI)": theirs}


WORKFLOWS = ((1, 1), (2, 1), (4, 1), (8, 1), (2, 5), (4, 20))


def measure() -> dict[tuple[int, int], dict[str, Oracle]]:
    """What one step costs, by (stages, questions) and arm."""
    every = arms()
    return {workflow: {arm: step(*workflow) for arm, step in every.items()} for workflow in WORKFLOWS}


# --- the prompt of one step, by the size of the run ---


def prompt_tokens(kind: Any, size: int) -> int:
    """Tokens of one prompt about the demo's agent after `size` calls, four a customer, each customer with feedback."""
    GRAPH.clear()
    agent: Any = Agent(Oracle(lambda messages: "Juan" if "name" in messages[-1]["content"] else "es"))
    optimizer = kind(agent.parameters(), llm=Oracle(answer))
    optimizer.zero_feedback()
    for customer in range(size // 4):
        greeting = agent(f"Hola, soy Juan, cliente {customer}.")
        optimizer.backward(greeting, f"Wrong: customer {customer} wants to be greeted with Buenos dias")
    return sum(map(estimate_tokens, optimizer.construct_prompt(optimizer.summarize())))


SIZES = (12, 100, 1_000, 10_000)


def sizes(runs: Sequence[int] = SIZES) -> list[tuple[int, int, int]]:
    """(calls, tokens of OptoPrime's prompt, tokens in the format of OptoPrimeV1)."""
    return [(size, prompt_tokens(OptoPrime, size), prompt_tokens(OptoPrimeV1, size)) for size in runs]


def main() -> None:
    rows = []
    for (stages, count), costs in measure().items():
        base = costs["OptoPrime"]
        for arm, cost in costs.items():
            ratio = f"{cost.seconds / base.seconds:.1f}×"
            rows.append(
                [f"{stages} × {count}", arm, cost.calls, f"{cost.prompt_tokens:,}", f"{cost.seconds:.1f}", ratio]
            )
    head = ["stages × questions", "optimizer", "calls", "prompt tokens", "simulated s", "to OptoPrime"]
    print_table("one step: calls, tokens and simulated time", head, rows)
    if "textgrad (PyPI)" not in arms():
        print("textgrad is not installed: pip install 'opto-trace[bench]' adds its rows.")
    print("reported: OptoPrime 1.6-2.9× faster than TextGrad")
    rows = [[f"{size:,}", f"{lean:,}", f"{classic:,}", f"{lean / classic:.2f}×"] for size, lean, classic in sizes()]
    print_table(
        "prompt tokens of a step (goal ≤ 0.6×)", ["calls in the run", "OptoPrime", "OptoPrimeV1", "ratio"], rows
    )


if __name__ == "__main__":
    main()
