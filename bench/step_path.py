"""How long the way through our code is: the functions, files and changes of file of one step, one call, one backward.

The program is the greeting agent of the README with two instructions, two trainable functions and a number. The
model is scripted: its reply changes one instruction and one function. Each way is walked once before it is counted.

Run: python bench/step_path.py [--list]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import opto
from opto.llm.fakes import ScriptedLLM
from opto.optimizers import OptoPrime, OptoPrimeV1, OptoPrimeV2
from opto.trace import GRAPH, bundle, model, node

ROOT = str(Path(opto.__file__).parent)
GOAL_FUNCTIONS, GOAL_FILES = 90, 14


def answer(system: str, instruction: str, query: str, temperature: float) -> str:
    """Stands for a call of a model."""
    return "en" if "language" in instruction else query.split()[-1]


@bundle()
def ask(system: str, instruction: str, query: str, temperature: float) -> str:
    """Asks the model to follow the instruction on the query."""
    return answer(system, instruction, query, temperature)


@model
class Agent:
    """The greeting agent: which language, which name, then the greeting."""

    def __init__(self) -> None:
        self.system = "You are a sales assistant."
        self.instruct1 = node("Decide the language", name="instruct1", trainable=True)
        self.instruct2 = node("Extract name", name="instruct2", trainable=True)
        self.temperature = node(0.7, name="temperature", description="between 0 and 1", trainable=True)

    def __call__(self, query: str) -> Any:
        language = self.decide_lang(ask(self.system, self.instruct1, query, self.temperature))
        name = ask(self.system, self.instruct2, query, self.temperature)
        return self.greet(language, name)

    @bundle(trainable=True)
    def decide_lang(self, response: str) -> str:
        """Map the answer to a language."""
        return response

    @bundle(trainable=True)
    def greet(self, lang: str, name: str) -> str:
        """Produce a greeting in the language."""
        greeting = "Hola"
        return f"{greeting}, {name}!"


GREET = '''def greet(self, lang, name):
    """Produce a greeting in the language."""
    greeting = {"en": "Hello", "es": "Hola"}[lang]
    return f"{greeting}, {name}!"
'''


def reply_to(kind: type[Any], agent: Any, turn: int) -> str:
    """A reply in the format that `kind` asks for; its values take turns, so that each was seen before."""
    values = {
        agent.instruct2.py_name: f"Extract the first name, {turn % 2}",
        agent.greet.parameter.py_name: f"{GREET.rstrip()}  # {turn % 2}\n",
    }
    if kind is OptoPrimeV2:
        tags = "".join(f"<variable><name>{k}</name><value>\n{v}\n</value></variable>" for k, v in values.items())
        return f"<reasoning>The greeting ignores the language.</reasoning>\n{tags}"
    return json.dumps({"reasoning": "The greeting ignores the language.", "answer": "", "suggestion": values})


class Walk:
    """The functions of `opto` that were entered, in order."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self.entered: list[tuple[str, str]] = []
        sys.setprofile(self._note)
        try:
            work()
        finally:
            sys.setprofile(None)

    def _note(self, frame: Any, event: str, _: Any) -> None:
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(ROOT):
            return
        name = code.co_qualname
        if name.endswith(("<module>", "<genexpr>", "<listcomp>", "<dictcomp>", "<setcomp>", "<lambda>")):
            return  # parts of the function around them
        self.entered.append((code.co_filename[len(ROOT) + 1 :], name))

    @property
    def functions(self) -> dict[tuple[str, str], int]:
        """How often each function was entered, in the order of first entry."""
        counts: dict[tuple[str, str], int] = {}
        for place in self.entered:
            counts[place] = counts.get(place, 0) + 1
        return counts

    def report(self, title: str, *, listed: bool) -> tuple[int, int]:
        """Print and return how many functions and files there are."""
        functions = self.functions
        files = {file for file, _ in functions}
        changes = sum(a[0] != b[0] for a, b in zip(self.entered, self.entered[1:], strict=False))
        print(f"{title:24} {len(functions):4} functions {len(files):3} files {changes:4} changes of file")
        if listed:
            for file in dict.fromkeys(file for file, _ in functions):
                names = [f"{name} ({count})" for (where, name), count in functions.items() if where == file]
                print(f"    {file}: {', '.join(names)}")
        return len(functions), len(files)


def step_path(kind: type[Any]) -> Walk:
    """One warm step."""
    GRAPH.clear()
    agent = Agent()
    optimizer = kind(agent.parameters(), llm=ScriptedLLM([reply_to(kind, agent, turn) for turn in range(4)]))
    for turn in range(4):
        optimizer.zero_feedback()
        optimizer.backward(agent("Hello I'm Sally"), "The greeting is not in the language of the query.")
        walk = Walk(optimizer.step)
        assert agent.instruct2.data.endswith(str(turn % 2)), "the reply was not used"
        assert agent.greet.parameter.data.strip().endswith(str(turn % 2))
    return walk


def main(*, listed: bool = False) -> None:
    """Count and print."""
    functions, files = step_path(OptoPrime).report("OptoPrime.step", listed=listed)
    for kind in (OptoPrimeV1, OptoPrimeV2):
        step_path(kind).report(f"{kind.__name__}.step", listed=listed)
    x = node(1, name="x", trainable=True)

    @bundle()
    def double(value: int) -> int:
        """Twice the value."""
        return 2 * value

    double(x)
    Walk(lambda: double(x)).report("a call of a bundle", listed=listed)
    (double(x) + 1).backward("more")
    output = double(x) + 1
    Walk(lambda: output.backward("more")).report("backward", listed=listed)
    met = functions <= GOAL_FUNCTIONS and files <= GOAL_FILES
    print(f"goal for a step: {GOAL_FUNCTIONS} functions in {GOAL_FILES} files: {'met' if met else 'not met'}")


if __name__ == "__main__":
    main(listed="--list" in sys.argv[1:])
