"""One bad stage of three: how often the right prompt is edited first, and what an edit makes one pay again.

Three stages each ask a model about a message (its language, its tone, the name in it), each with a trainable prompt;
code puts the results together. One prompt is bad. The optimizer's model is an oracle that answers from the prompt
alone: it edits the part that the prompt blames, else the one that the example of a reply names (models lean to it).
Counterfactual values are what the same stage said of the other messages; only the code is run again for them, and
the number of paid calls during it is counted. Then one prompt is edited and all messages are run again, with a cache
around the model and without.

In a chain each stage asks about what the one before said, so paid stages stand behind the doubtful one: what they would
say to another value is known only from other runs in which they were asked just that (`runs`).

Run: python bench/blame.py [--runs 90]
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections.abc import Callable, Mapping
from typing import Any

from opto.llm import CachedLLM
from opto.llm.fakes import DummyLLM
from opto.optimizers import OptoPrime
from opto.trace import GRAPH, bundle, node

STAGES = ("language", "tone", "name")
CHOICES = {
    "language": ("English", "Spanish", "German", "French"),
    "tone": ("formal", "warm", "brief"),
    "name": ("Ada", "Grace", "Linus", "Edsger", "Barbara"),
}
WORDS = {"English": "Hello", "Spanish": "Hola", "German": "Hallo", "French": "Bonjour"}
ENDS = {"formal": ".", "warm": " <3", "brief": ""}
GOOD = "Say which {stage} it is."
BAD = "Say something about the {stage}."


@bundle()
def finish(language: str, tone: str, name: str) -> str:
    """Puts a greeting together."""
    return f"{WORDS[language]}, {name}{ENDS[tone]}"


@bundle()
def report(language: str, hello: str, goodbye: str) -> str:
    """Puts a lesson together."""
    return f"{language}: {hello} ... {goodbye}"


class World:
    """The agent on some messages, with a model that counts what is paid."""

    finish: Any = staticmethod(finish)  # or it would be bound as a method
    stages = STAGES

    def __init__(self, bad: str, rng: random.Random, wrap: Callable[[Any], Any] = lambda llm: llm) -> None:
        GRAPH.clear()
        self.paid = 0
        self.llm = wrap(DummyLLM(self.answer))
        stages = rng.sample(self.stages, 3)
        self.prompts: dict[str, Any] = {
            stage: node((BAD if stage == bad else GOOD).format(stage=stage), name=f"{stage}_prompt", trainable=True)
            for stage in stages
        }
        facts = [self.facts(rng) for _ in range(8)]
        self.messages = [json.dumps(fact) for fact in facts]
        self.right = [self.finish.fun(*(fact[stage] for stage in self.stages)) for fact in facts]

    def facts(self, rng: random.Random) -> dict[str, str]:
        """What is true of one message, by stage."""
        return {stage: rng.choice(CHOICES[stage]) for stage in STAGES}

    def answer(self, messages: Any, **options: Any) -> str:
        self.paid += 1
        prompt = messages[0]["content"]
        stage = next(stage for stage in self.stages if stage in prompt)
        choices, right = self.known(stage, messages[1]["content"])
        shift = int(prompt.startswith("Say something"))  # a bad prompt gets the next choice instead of the right one
        return choices[(right + shift) % len(choices)]

    def known(self, stage: str, text: str) -> tuple[tuple[str, ...], int]:
        """(what a stage may answer, the index of what is right for a text)."""
        return CHOICES[stage], CHOICES[stage].index(json.loads(text)[stage])

    def asked(self, ask: Callable[..., Any], message: str) -> dict[str, Any]:
        """What each stage says."""
        return {stage: ask(prompt, message) for stage, prompt in self.prompts.items()}

    def run(self) -> list[tuple[Any, dict[str, Any]]]:
        """(output, value of each stage) for each message."""

        @bundle(catch_execution_error=False)
        def ask(prompt: str, message: str) -> str:
            """Asks the model."""
            chat = [{"role": "system", "content": prompt}, {"role": "user", "content": message}]
            return str(self.llm(messages=chat).choices[0].message.content)

        found: list[tuple[Any, dict[str, Any]]] = []
        for message in self.messages:
            said = self.asked(ask, message)
            found.append((self.finish(*(said[stage] for stage in self.stages)), said))
        return found


class Chain(World):
    """The same with stages that each ask about what the one before said."""

    finish: Any = staticmethod(report)
    stages = ("language", "hello", "goodbye")
    choices: Mapping[str, tuple[str, ...]] = {
        "language": CHOICES["language"],
        "hello": tuple(WORDS.values()),
        "goodbye": ("Goodbye", "Adios", "Tschuess", "Au revoir"),
    }

    def facts(self, rng: random.Random) -> dict[str, str]:
        right = rng.randrange(len(WORDS))
        return {stage: self.choices[stage][right] for stage in self.stages}

    def known(self, stage: str, text: str) -> tuple[tuple[str, ...], int]:
        place = self.stages.index(stage)
        given = json.loads(text)[stage] if place == 0 else text
        return self.choices[stage], self.choices[self.stages[max(place - 1, 0)]].index(given)

    def asked(self, ask: Callable[..., Any], message: str) -> dict[str, Any]:
        said: dict[str, Any] = {}
        text: Any = message
        for stage in self.stages:
            text = said[stage] = ask(self.prompts[stage], text)
        return said


def first_edit(kind: type[World], seed: int, *, blame: bool, others: bool = False) -> tuple[bool, int]:
    """(whether the bad prompt is edited first, paid calls of the estimate); `others`: it may use the other runs."""
    bad = kind.stages[seed % 3]
    world = kind(bad, random.Random(seed))

    def oracle(messages: Any, **options: Any) -> str:
        text = messages[1]["content"]
        blamed = re.search(r"# Likely at fault\n(\w+)", text)
        name = blamed[1] if blamed else re.findall(r'"(\w+_prompt\w*)"', text)[-1]
        return json.dumps({"reasoning": "", "suggestion": {name: "Say which it is."}})

    optimizer = OptoPrime(list(world.prompts.values()), llm=DummyLLM(oracle))
    runs = world.run()
    index = next(i for i, (output, _) in enumerate(runs) if output.data != world.right[i])
    output, said = runs[index]
    before = world.paid
    optimizer.zero_feedback()
    if blame:
        values = {said[s]: sorted({other[s].data for _, other in runs}) for s in kind.stages}
        known = [made for made, _ in runs] if others else []
        optimizer.blame(
            output, values, lambda value: float(value == world.right[index]), free=[kind.finish], runs=known
        )
    optimizer.backward(output, f"wanted was: {world.right[index]}")
    return [p.name for p in optimizer.step()] == [world.prompts[bad].name], world.paid - before


def paid_after_edit(wrap: Callable[[Any], Any]) -> int:
    """Paid calls when all messages are run again after one prompt was edited."""
    world = World("tone", random.Random(0), wrap)
    world.run()
    before = world.paid
    world.prompts["tone"]._data = "Say which tone it is."
    world.run()
    return world.paid - before


ARMS: tuple[tuple[str, type[World], dict[str, bool]], ...] = (
    ("side by side, without blame", World, {"blame": False}),
    ("side by side, with blame", World, {"blame": True}),
    ("in a chain, without blame", Chain, {"blame": False}),
    ("in a chain, with blame", Chain, {"blame": True}),
    ("in a chain, with blame by other runs", Chain, {"blame": True, "others": True}),
)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=90)
    runs = arguments.parse_args().runs
    for label, kind, how in ARMS:
        ends = [first_edit(kind, seed, **how) for seed in range(runs)]
        hits, paid = sum(hit for hit, _ in ends), sum(cost for _, cost in ends)
        print(f"{label:<36} right prompt edited first: {hits} of {runs}; paid calls for the estimate: {paid}")
    cached, everything = paid_after_edit(CachedLLM), paid_after_edit(lambda llm: llm)
    print(f"after an edit of one prompt: {cached} calls paid with a cache, {everything} without")


if __name__ == "__main__":
    main()
