"""The whole idea of Trace in one file that you can read in ten minutes.

A program is run once and recorded as a graph. Feedback on its output walks back over the graph
to the values that may change. A language model sees these values, the run and the feedback,
and proposes better values. That is gradient descent with words for gradients. The real library adds speed,
errors, methods, threads, formats and care; it adds no further idea.

Run it: python docs/from_scratch.py  (a scripted model stands in for a real one)
"""

from __future__ import annotations

import inspect
import itertools
import json
import re
import textwrap
from collections.abc import Callable
from typing import Any

# --- 1. Trace: a node is a value that remembers what it was made of ------------------------------

_numbers = itertools.count()


class Node:
    """A value, the name of the function that made it, and its inputs by name. Trainable values may be rewritten."""

    def __init__(
        self, data: Any, *, name: str = "value", inputs: dict[str, Node] | None = None, trainable: bool = False
    ) -> None:
        self.data = data
        self.name = f"{name}{next(_numbers)}"
        self.made_by = name
        self.inputs = inputs or {}
        self.trainable = trainable
        self.feedback: list[tuple[Node, str]] = []

    def __add__(self, other: Any) -> Node:
        return call("add", lambda x, y: x + y, {"x": self, "y": other})

    def __mul__(self, other: Any) -> Node:
        return call("multiply", lambda x, y: x * y, {"x": self, "y": other})

    def backward(self, feedback: str) -> None:
        """Step 2 below: let every trainable ancestor know this output and the feedback on it."""
        for ancestor in past(self):
            if ancestor.trainable:
                ancestor.feedback.append((self, feedback))


class Code(Node):
    """The source text of a function."""


def node(data: Any, *, trainable: bool = False, name: str = "value") -> Node:
    return data if isinstance(data, Node) else Node(data, trainable=trainable, name=name)


def call(name: str, function: Callable[..., Any], arguments: dict[str, Any]) -> Node:
    """Run `function` on the data of its arguments; the result is a node that keeps them."""
    inputs = {key: node(value, name=key) for key, value in arguments.items()}
    return Node(function(*[x.data for x in inputs.values()]), name=name, inputs=inputs)


class Bundle:
    """A function as one operator of the graph; with `trainable` its source text is a value that may change."""

    def __init__(self, function: Callable[..., Any], trainable: bool) -> None:
        self.function = function
        self.keys = list(inspect.signature(function).parameters)
        source = textwrap.dedent(inspect.getsource(function))
        self.code = Code(source[source.index("def ") :], name="code", trainable=True) if trainable else None

    def __call__(self, *args: Any) -> Node:
        arguments = dict(zip(self.keys, args, strict=True))
        if self.code is None:
            return call(self.function.__name__, self.function, arguments)
        return call(self.function.__name__, self.run, {**arguments, "code": self.code})

    def run(self, *args: Any) -> Any:
        """Define the function from its current text, then call it. The real library keeps compiled code."""
        *values, code = args
        scope = dict(self.function.__globals__)
        exec(code, scope)
        return scope[self.function.__name__](*values)


def bundle(trainable: bool = False) -> Callable[[Callable[..., Any]], Bundle]:
    return lambda function: Bundle(function, trainable)


# --- 2. Propagate: from an output back to the values that it was made of --------------------------


def past(output: Node) -> list[Node]:
    """The output and all its ancestors, each node once and after its inputs; without recursion."""
    order: list[Node] = []
    seen: set[int] = set()
    stack = [(output, False)]
    while stack:
        current, ready = stack.pop()
        if ready:
            order.append(current)
        elif id(current) not in seen:
            seen.add(id(current))
            stack.append((current, True))
            stack.extend((parent, False) for parent in current.inputs.values())
    return order


# --- 3. Optimize: problem → prompt → reply → new values ------------------------------------------

LLM = Callable[[str], str]


class Optimizer:
    """Shows a language model the trainable values, the run and the feedback; takes over the values that it proposes."""

    def __init__(self, parameters: list[Node], llm: LLM) -> None:
        self.parameters = parameters
        self.llm = llm

    def zero_feedback(self) -> None:
        for parameter in self.parameters:
            parameter.feedback.clear()

    def problem(self) -> str:
        """Pure text: the values that may change, the run that used them, the feedback on its output."""
        outputs = {id(out): (out, text) for p in self.parameters for out, text in p.feedback}.values()
        lines = ["Values that may change:"]
        lines += [f"<{p.name}>\n{p.data}\n</{p.name}>" for p in self.parameters]
        for output, text in outputs:
            lines.append("The run:")
            lines += [self.line(step) for step in past(output) if step.inputs]
            lines.append(f"Feedback on {output.name}: {text}")
        lines.append(
            'Answer in JSON, {"reasoning": "...", "values": {"name": new value}}; name only what should change.'
        )
        return "\n".join(lines)

    @staticmethod
    def line(step: Node) -> str:
        shown = ", ".join(x.name if x.trainable else f"{key}={x.data!r}" for key, x in step.inputs.items())
        return f"  {step.name} = {step.made_by}({shown}) = {step.data!r}"

    def step(self) -> dict[str, Any]:
        """Ask once; believe only values that name a parameter and fit it."""
        reply = json.loads(self.llm(self.problem()))
        changed = {}
        for parameter in self.parameters:
            value = reply["values"].get(parameter.name)
            if value is not None and self.fits(parameter, value):
                parameter.data = changed[parameter.name] = value
        return changed

    @staticmethod
    def fits(parameter: Node, value: Any) -> bool:
        if isinstance(parameter, Code):
            try:
                compile(value, "<proposal>", "exec")
            except (SyntaxError, TypeError):
                return False
            return True
        return type(value) is type(parameter.data)


# --- The example: an agent whose prompt is fixed and whose code must be found --------------------


@bundle(trainable=True)
def greet(language: str, name: str) -> str:
    return f"Hello, {name}!"


def agent(sentence: str) -> Node:
    """Find the language and the name (a model's job in a real agent), then greet."""
    language = call("detect", lambda text: "es" if "soy" in text else "en", {"text": sentence})
    name = call("last_word", lambda text: text.split()[-1].strip("."), {"text": sentence})
    return greet(language, name)


def judge(greeting: str, language: str) -> str:
    wanted = {"es": "Hola", "en": "Hello"}[language]
    return "Correct." if greeting.startswith(wanted) else f"Wrong: the greeting should start with {wanted}."


def scripted_model(prompt: str) -> str:
    """Stands in for a language model: reads the prompt as one would, and answers by rule."""
    wanted = re.search(r"should start with (\w+)", prompt)
    code = re.search(r"<(code\d+)>\n(.*?)\n</", prompt, re.DOTALL)
    if not (wanted and code):
        return json.dumps({"reasoning": "Nothing is wrong.", "values": {}})
    better = (
        "def greet(language: str, name: str) -> str:\n"
        f"    word = {wanted[1]!r} if language == 'es' else 'Hello'\n"
        "    return f'{word}, {name}!'\n"
    )
    return json.dumps({"reasoning": "The word must follow the language.", "values": {code[1]: better}})


def main() -> None:
    assert greet.code is not None
    optimizer = Optimizer([greet.code], scripted_model)
    examples = [("Hello, I am Ann.", "en"), ("Hola, soy Juan.", "es")]
    for round_ in range(3):
        optimizer.zero_feedback()
        verdicts = []
        for sentence, language in examples:
            greeting = agent(sentence)
            verdicts.append(judge(greeting.data, language))
            greeting.backward(verdicts[-1])
            print(f"round {round_}: {sentence!r} → {greeting.data!r}  {verdicts[-1]}")
        if all(verdict == "Correct." for verdict in verdicts):
            print("All correct after", round_, "steps. The code is now:\n" + greet.code.data)
            return
        print(optimizer.problem() + "\n")
        optimizer.step()
    raise SystemExit("The example did not converge.")


if __name__ == "__main__":
    main()
