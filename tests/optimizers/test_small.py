"""What a small model is shown of one part, and how its continuation is read."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opto.cost import estimate_tokens
from opto.llm import ScriptedLLM
from opto.llm.profile import ModelProfile
from opto.optimizers import OptoPrime
from opto.optimizers.formats.small import CodeFocus, PlainTextFocus, TextFocus, ValueFocus, focus_prompt, tidy_code
from opto.optimizers.formats.texts import prompt_text
from opto.optimizers.problem.problem import Call, Outcome, Part, Problem
from opto.optimizers.problem.uses import Focus, PastValue, repeated, uses_of
from opto.optimizers.replies.json_replies import CutText
from opto.optimizers.replies.mended_code import mend_code
from opto.optimizers.replies.tags_and_fences import read_fence
from opto.trace import bundle, model, node
from opto.trace.operators import call_llm
from opto.trace.spaces import Choice, Code, Float, Text

GOLDEN = Path(__file__).parent / "golden"


@bundle()
def ask(system: str, instruction: str, query: str) -> str:
    """Asks"""
    return f"It is {query.split()[-1]}"


@model
class Agent:
    def __init__(self) -> None:
        self.instruction = node("Extract name", trainable=True, name="instruction")

    def __call__(self, query: str) -> Any:
        return self.greet(ask("You sell.", self.instruction, query))

    @bundle(trainable=True)
    def greet(self, name):  # type: ignore[no-untyped-def]
        """Greets"""
        return f"Hola, {name}!"


class Small(ScriptedLLM):
    profile = ModelProfile("small", "prefill", 4096, small=True)


def optimizer(*replies: str, **options: Any) -> tuple[Any, OptoPrime, Small]:
    agent: Any = Agent()
    llm = Small(list(replies))
    subject = OptoPrime(agent.parameters(), llm=llm, **options)
    for query, feedback in (("I am Sam", "Expected 'Hello, Sam!'"), ("Soy Juan", "Expected 'Hola, Juan!'")):
        subject.backward(agent(query), feedback)
    return agent, subject, llm


def problem_of(subject: OptoPrime) -> Problem:
    return subject.summarize().problem


def shown(subject: OptoPrime, focus: Focus, prefill: bool = True, budget: int = 4000) -> str:
    problem = problem_of(subject)
    prompt = focus_prompt(problem, budget, 0, focus=focus, prefill=prefill)
    return "\n".join(f"<{m['role']}>\n{m['content']}" for m in prompt.messages(problem)) + "\n"


def names(agent: Any) -> tuple[str, str]:
    return agent.greet.parameter.py_name, agent.instruction.py_name


def test_prompts_are_as_checked_in() -> None:
    agent, subject, _ = optimizer()
    code, text = names(agent)
    for name, part in (("small_code", code), ("small_text", text)):
        assert shown(subject, Focus(part)) == (GOLDEN / f"{name}.txt").read_text(encoding="utf-8"), name


def test_uses_pair_arguments_values_and_what_became_of_them() -> None:
    agent, subject, _ = optimizer()
    code, text = names(agent)
    first, second = uses_of(problem_of(subject), text)
    assert first.arguments == (("query", "I am Sam"),)  # the system prompt is the same in both and tells nothing
    assert first.call.value == "It is Sam"
    assert first.then is not None and first.then.value == "Hola, It is Sam!"
    assert second.outcome is not None and second.outcome.feedback == "Expected 'Hola, Juan!'"
    assert [use.then for use in uses_of(problem_of(subject), code)] == [None, None]
    assert uses_of(problem_of(subject), "nobody") == ()


def test_the_prompt_says_which_words_the_feedback_repeats() -> None:
    agent, subject, _ = optimizer()
    remark = "Wanted of this result, by the feedback: only its last word, 'Sam'. Not wanted: 'It is'."
    assert remark in shown(subject, Focus(names(agent)[1]))


def test_a_server_that_continues_nothing_is_told_how_to_begin() -> None:
    agent, subject, _ = optimizer()
    text = shown(subject, Focus(names(agent)[1]), prefill=False)
    assert "<assistant>" not in text and text.rstrip().endswith("Begin your reply with:\nBetter instruction:")


def test_a_small_budget_shows_fewer_runs() -> None:
    agent, subject, _ = optimizer()
    focus = Focus(names(agent)[0])
    assert "2. greet" in shown(subject, focus)
    assert "2. greet" not in shown(subject, focus, budget=estimate_tokens(shown(subject, focus)) - 60)


def test_of_thousands_of_runs_as_many_are_shown_as_fit() -> None:
    calls = tuple(Call(f"f{i}", "f", (("x", "x0"),), i) for i in range(5_000))
    problem = Problem((Part("x0", 1),), calls=calls, outcomes=tuple(Outcome(c.name, c.value, "no") for c in calls))
    prompt = focus_prompt(problem, 2_000, 0, focus=Focus("x0"), prefill=True)
    text = prompt.messages(problem)[1]["content"]
    assert 1_900 < estimate_tokens(text) <= 2_000


def test_what_was_tried_is_shown_the_latest_two() -> None:
    agent, subject, _ = optimizer()
    tried = tuple(PastValue(f"Try {i}", "no") for i in range(4))
    text = shown(subject, Focus(names(agent)[1], tried))
    assert "Try 3" in text and "Try 2" in text and "Try 1" not in text


def test_a_step_of_a_small_model_changes_the_part_in_focus() -> None:
    agent, subject, llm = optimizer(' "Reply with the name only."\nThis is better.')
    subject.focus = Focus(names(agent)[1], seed=7)
    assert subject.step() == {agent.instruction: "Reply with the name only."}
    assert llm.calls[0]["seed"] == 7 and llm.calls[0]["stop"] == ["\n"]


def test_code_is_read_up_to_what_does_not_parse() -> None:
    agent, subject, _ = optimizer('    name = re.sub("It is ", "", name)\n    return f"Hello, {name}!"\nprint(greet(')
    subject.focus = Focus(names(agent)[0])
    subject.step()
    assert agent("I am Sam").data == "Hello, Sam!"
    assert "import re" in agent.greet.parameter.data


def test_without_a_focus_parts_take_turns_and_memory_is_shown() -> None:
    x = node(5, name="x", trainable=True)
    llm = Small(["9", "7"])
    subject = OptoPrime([x], llm=llm, memory_size=3)
    for feedback in ("too low", "too high"):
        subject.zero_feedback()
        subject.backward(x + 0, feedback)
        subject.step()
    assert x.data == 7
    text = llm.calls[1]["messages"][1]["content"]
    assert "5: too low" in text and "turns between 5 and 9" in text


def test_values_of_one_feedback_ask_for_a_step_farther_away() -> None:
    x = node(5.5, name="x", trainable=True, description="[ParameterNode] between 0 and 99")
    subject = OptoPrime([x], llm=Small([]))
    subject.backward(x + 0, "too low")
    text = shown(subject, Focus("x0", (PastValue(3.0, "too low"),)))
    assert "choose a value farther away" in text and "x0 (float) is now 5.5" in text


@pytest.mark.parametrize(
    ("reply", "value"),
    [(" 12", 12), ("x0 = 1,200", 1200), ("`7`.", 7), ("about 40 or so", 40), ("-3.", -3)],
)
def test_numbers_are_found_in_what_is_said(reply: str, value: int) -> None:
    x = node(5, name="x", trainable=True)
    subject = OptoPrime([x], llm=Small([reply]))
    subject.backward(x + 0, "no")
    subject.step()
    assert x.data == value


def test_other_values_are_read_as_literals_and_nonsense_is_a_fault() -> None:
    x = node([1], name="x", trainable=True)
    subject = OptoPrime([x], llm=Small([" [1, 2]"]))
    longer: Any = x + [0]  # noqa: RUF005 - the operator is meant
    subject.backward(longer, "longer")
    subject.step()
    assert x.data == [1, 2]
    flag = node(True, name="flag", trainable=True)
    prompt = ValueFocus(Problem(), _part(flag), Focus("flag0"), budget=99, prefill=True)
    assert prompt.read("perhaps", Problem()).fault


def _part(parameter: Any) -> Any:
    from opto.optimizers.problem.problem import Part

    return Part(parameter.py_name, parameter.data)


def test_kinds_of_prompts() -> None:
    agent, subject, _ = optimizer()
    code, text = names(agent)
    kinds = {code: CodeFocus, text: TextFocus}
    for name, kind in kinds.items():
        assert type(focus_prompt(problem_of(subject), 100, 0, focus=Focus(name), prefill=True)) is kind
    assert TextFocus(Problem(), _part(agent.instruction), Focus(text), budget=9, prefill=True).read("", Problem()).fault
    prompt = CodeFocus(Problem(), _part(agent.greet.parameter), Focus(code), budget=9, prefill=True)
    assert prompt.read("    (", Problem()).fault  # only the docstring is left


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("def f(x):\n    return x\n\nf(", "def f(x):\n    return x"),
        ("import re\ndef f(x):\n    return x", "def f(x):\n    return x"),
        ("def g(x):\n    return x", None),
        ("no code", None),
        ("def f(x): return math.pi", "def f(x): return math.pi"),
        ("def f(re):\n    return re.x", "def f(re):\n    return re.x"),
        ('def f(x):\n    """Doc"""\n    return re.x', 'def f(x):\n    """Doc"""\n    import re\n    return re.x'),
    ],
)
def test_mending_code(text: str, expected: str | None) -> None:
    assert mend_code(text, "f") == expected


@given(st.text(alphabet="abc =():\n", max_size=60))
def test_mended_code_parses(tail: str) -> None:
    code = mend_code("def f(x):\n    return x\n" + tail, "f")
    assert code is None or ast.parse(code)


@given(st.text(max_size=80), st.text(max_size=80))
def test_repeated_runs_are_pieces_of_the_text(text: str, feedback: str) -> None:
    said, unsaid = repeated(text, feedback)
    assert all(piece in text for piece in (*said, *unsaid))


def test_code_of_a_method_is_shown_as_a_function() -> None:
    assert tidy_code("def f(self):\n        return 1") == "def f(self):\n    return 1"
    assert tidy_code("def f(x):\n    return 1") == "def f(x):\n    return 1"
    assert tidy_code("    def f(x):\n        return 1") == "def f(x):\n    return 1"


@bundle(trainable=True)
def size(text):  # type: ignore[no-untyped-def]
    """Finds the size"""
    return None


@bundle(trainable=True)
def price(size):  # type: ignore[no-untyped-def]
    """Prices"""
    return 2 if size == "small" else 3


def test_a_function_whose_result_is_passed_on_is_asked_for_with_an_example() -> None:
    subject = OptoPrime([size.parameter, price.parameter], llm=Small([]))
    subject.backward(price(size("It is small")), "expected 2")
    example = prompt_text("small_code_example")
    assert example in shown(subject, Focus(size.parameter.py_name))
    assert example not in shown(subject, Focus(price.parameter.py_name))
    repaired = mend_code(read_fence(example.rsplit("\n\n", 1)[-1], ""), "shelf")
    assert repaired is not None and repaired.startswith("def shelf(answer):")


def test_code_is_not_told_which_words_the_feedback_repeats() -> None:
    agent, subject, _ = optimizer()
    assert "Wanted of this result" not in shown(subject, Focus(names(agent)[0]))


def test_code_is_not_shown_what_was_tried_because_it_would_be_copied() -> None:
    agent, subject, _ = optimizer()
    tried = (PastValue("def greet(self, name):\n    return 'Bonjour'", "no"),)
    assert "Bonjour" not in shown(subject, Focus(names(agent)[0], tried))


@bundle()
def find(pattern: str, text: str) -> list[str]:
    """All places that the pattern finds."""
    return re.findall(pattern, text)


def call_a_model(llm: Any, text: str) -> str:
    return str(text)


def prompt_about(p: Any, output: Any, **options: Any) -> Any:
    subject = OptoPrime([p], llm=Small(["x\n"]), **options)
    subject.backward(output, "no dates were found")
    return focus_prompt(problem_of(subject), 4_000, 0, focus=Focus(p.py_name), prefill=True), problem_of(subject)


ABOUT = "a Python regex that finds an ISO date"


def test_a_text_that_no_model_takes_is_no_instruction() -> None:
    for about in (ABOUT, None):
        p = node(r"\d+", name="pattern", trainable=True, description=about)
        prompt, problem = prompt_about(p, find(p, "on 2025-01-02"))
        text = "\n".join(message["content"] for message in prompt.messages(problem))
        assert isinstance(prompt, PlainTextFocus) and "nstruction" not in text and "language model" not in text
        assert ("It must satisfy: " + ABOUT in text) is (about is not None)
        assert r"\d+" in text and "find(" not in text and "no dates were found" in text


@pytest.mark.parametrize("flow", [
    lambda p: ask("You sell.", p, "I am Sam"),
    lambda p: call_llm(ScriptedLLM(["yes"]), p, "Is it?"),
    lambda p: call_llm(ScriptedLLM(["yes"]), "Answer.", p + " Be brief."),
    lambda p: call_llm(ScriptedLLM(["yes"]), "Answer.", f"{p} Is it?"),
    lambda p: bundle()(call_a_model)(ScriptedLLM([]), p),
])  # fmt: skip
def test_a_text_that_a_model_takes_is_an_instruction(flow: Any) -> None:
    p = node("Extract the name", trainable=True, name="p", description="at most ten words")
    prompt, problem = prompt_about(p, flow(p))
    text = prompt.messages(problem)[1]["content"]
    assert type(prompt) is TextFocus and "It must satisfy: at most ten words" in text


@pytest.mark.parametrize(
    ("value", "options", "words"),
    [
        ("Extract the name", {"space": Text(max_tokens=9)}, "a text of at most 9 tokens"),
        (0.5, {"space": Float(0, 1)}, "a number from 0 to 1"),
        (0.5, {"description": "a share"}, "a share"),
        (Path("a"), {}, "a path"),
        ("a", {"space": Choice(["a", "b"])}, "one of: a, b"),
        ("def f(x):\n    return x", {"space": Code(imports=["math"])}, "it imports only math"),
    ],
)
def test_goal_description_and_space_of_every_kind_are_shown(value: Any, options: dict[str, Any], words: str) -> None:
    p = node(value, name="p", trainable=True, **options)
    prompt, problem = prompt_about(p, p.clone(), objective="Find all the dates.")
    text = prompt.messages(replace(problem, objective="Find all the dates."))[1]["content"]
    assert words in text and "The goal: Find all the dates." in text


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        (r"\d{4}-\d\d", r"\d{4}-\d\d"),
        (r"r'\d{4}'", r"\d{4}"),
        (r'"\bon\b"', r"\bon\b"),
        (r"`\d+`", r"\d+"),
        ("'[0-9]+'", "[0-9]+"),
        ("[0-9]+", "[0-9]+"),
        (r"'a\b' or 'c'", r"'a\b' or 'c'"),
        ("", None),
    ],
)
def test_a_plain_text_is_read_as_it_is_written(reply: str, value: str | None) -> None:
    problem = Problem(parts=(Part("p0", r"\d+"),), feedback="no")
    prompt = focus_prompt(problem, 1_000, 0, focus=Focus("p0"), prefill=True)
    assert prompt.read(f" {reply}\n", problem).values.get("p0") == value
    cut = CutText(f" {reply}")
    assert not prompt.read(cut, problem).values
