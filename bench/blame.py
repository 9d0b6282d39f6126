"""One bad stage of three: how often the right prompt is edited first, and what an edit makes one pay again.

Three stages each ask a model about a message (its language, its tone, the name in it), each with a trainable prompt;
code puts the results together. One prompt is bad. The optimizer's model is an oracle that answers from the prompt
alone: it edits the part that the prompt blames, else the one that the example of a reply names (models lean to it).
Counterfactual values are what the same stage said of the other messages; only the code is run again for them, and
the number of paid calls during it is counted. Then one prompt is edited and all messages are run again, with a cache
around the model and without.

Run: python bench/blame.py [--runs 90]
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections.abc import Callable
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


class World:
    """The agent on some messages, with a model that counts what is paid."""

    def __init__(self, bad: str, rng: random.Random, wrap: Callable[[Any], Any] = lambda llm: llm) -> None:
        GRAPH.clear()
        self.paid = 0
        self.llm = wrap(DummyLLM(self.answer))
        stages = rng.sample(STAGES, 3)
        self.prompts: dict[str, Any] = {
            stage: node((BAD if stage == bad else GOOD).format(stage=stage), name=f"{stage}_prompt", trainable=True)
            for stage in stages
        }
        facts = [{stage: rng.choice(CHOICES[stage]) for stage in STAGES} for _ in range(8)]
        self.messages = [json.dumps(fact) for fact in facts]
        self.right = [finish.fun(*(fact[stage] for stage in STAGES)) for fact in facts]

    def answer(self, messages: Any, **options: Any) -> str:
        self.paid += 1
        prompt, facts = messages[0]["content"], json.loads(messages[1]["content"])
        stage = next(stage for stage in STAGES if stage in prompt)
        options_of = CHOICES[stage]
        shift = int(prompt.startswith("Say something"))  # a bad prompt gets the next choice instead of the right one
        return options_of[(options_of.index(facts[stage]) + shift) % len(options_of)]

    def run(self) -> list[tuple[Any, dict[str, Any]]]:
        """(output, value of each stage) for each message."""

        @bundle(catch_execution_error=False)
        def ask(prompt: str, message: str) -> str:
            """Asks the model."""
            chat = [{"role": "system", "content": prompt}, {"role": "user", "content": message}]
            return str(self.llm(messages=chat).choices[0].message.content)

        found: list[tuple[Any, dict[str, Any]]] = []
        for message in self.messages:
            said = {stage: ask(prompt, message) for stage, prompt in self.prompts.items()}
            found.append((finish(*(said[stage] for stage in STAGES)), said))
        return found


@bundle()
def finish(language: str, tone: str, name: str) -> str:
    """Puts a greeting together."""
    return f"{WORDS[language]}, {name}{ENDS[tone]}"


def first_edit(bad: str, seed: int, *, blame: bool) -> tuple[bool, int]:
    """(whether the bad prompt is edited first, paid calls of the estimate)."""
    world = World(bad, random.Random(seed))

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
        others = {said[s]: sorted({other[s].data for _, other in runs}) for s in STAGES}
        optimizer.blame(output, others, lambda value: float(value == world.right[index]), free=[finish])
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


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=90)
    runs = arguments.parse_args().runs
    for blame in (False, True):
        ends = [first_edit(STAGES[seed % 3], seed, blame=blame) for seed in range(runs)]
        hits, paid = sum(hit for hit, _ in ends), sum(cost for _, cost in ends)
        label = "with blame" if blame else "without blame"
        print(f"{label:<15} right prompt edited first: {hits} of {runs}; paid calls for the estimate: {paid}")
    cached, everything = paid_after_edit(CachedLLM), paid_after_edit(lambda llm: llm)
    print(f"after an edit of one prompt: {cached} calls paid with a cache, {everything} without")


if __name__ == "__main__":
    main()
