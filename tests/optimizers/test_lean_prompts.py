"""The lean rendering: golden prompts, budgets, folding; and examples that our own parsers read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opto.cost import estimate_tokens
from opto.llm.fakes import ScriptedLLM
from opto.optimizers import OptoPrime, OptoPrimeV1, OptoPrimeV2
from opto.optimizers.formats.calls import render_calls
from opto.optimizers.formats.lean import FORMATS, part_text, render_lean
from opto.optimizers.optoprime_v2 import OptimizerPromptSymbolSet2, OptimizerPromptSymbolSetJSON
from opto.optimizers.problem.folding import fold
from opto.optimizers.problem.problem import Attempt, Call, Given, Outcome, Part, Problem, collect
from opto.optimizers.replies.shapes import read_reply
from opto.trace.bundle import bundle
from opto.trace.nodes import GRAPH, node
from opto.trace.propagators.graph_propagator import accumulate

GOLDEN = Path(__file__).parent / "golden"


@bundle()
def ask_model(system: str, instruct: str, query: str) -> str:
    """Ask the language model."""
    return "Spanish" if "language" in instruct else query.split()[-1]


@bundle(trainable=True)
def greet(lang, name):
    """Make a greeting."""
    return f"Hola {name}"


def agent(queries: int, cls: Any = OptoPrime, replies: Any = (), **options: Any) -> Any:
    """The greeting agent on so many customers, each output with feedback of its own."""
    GRAPH.clear()
    code = node(greet.parameter.data, name="__code", trainable=True, description=greet.parameter._description)
    fun = greet.detach()
    fun.parameter._name = "__code:0"
    del code
    first = node("Decide the language of the customer", name="instruct1", trainable=True)
    second = node("Extract the name", name="instruct2", trainable=True)
    system = node("You are a sales assistant in a small shop.")
    optimizer = cls([first, second, fun.parameter], llm=ScriptedLLM(replies), **options)
    for k in range(queries):
        query = node(f"Buenos días, I am customer number {k} and my name is Juan{k}")
        greeting = fun(ask_model(system, first, query), ask_model(system, second, query))
        optimizer.backward(greeting, f"Correct: Hola Juan{k}" if k % 2 else "Wrong: greet with Buenos días")
    return optimizer


def whole_prompt(optimizer: Any) -> str:
    system, user = optimizer.construct_prompt(optimizer.summarize())
    return f"{system}\n~~~~~~~~\n{user}\n"


@pytest.mark.parametrize("name", ["lean", "lean_schema", "lean_tags", "lean_prefill", "classic", "tags"])
def test_golden_prompts(name: str) -> None:
    """After a deliberate change of a prompt: delete its golden file, run once, read the new file."""
    shape = {"lean_schema": "json_schema", "lean_tags": "text", "lean_prefill": "prefill"}.get(name)
    cls = {"classic": OptoPrimeV1, "tags": OptoPrimeV2}.get(name, OptoPrime)
    options: dict[str, Any] = {"reply": shape} if shape else {}
    optimizer = agent(2, cls, memory_size=2, include_example=cls is not OptoPrime, **options)
    optimizer.memory.add(({"instruct10": ("Say the language", None)}, "Wrong: too terse"))
    text = whole_prompt(optimizer)
    path = GOLDEN / f"{name}.txt"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        pytest.fail(f"{path} was missing and is now written: read it and run again")
    assert text == path.read_text(encoding="utf-8")


# --- examples in prompts are read by our own parsers ---


@pytest.mark.parametrize("shape", ["json_object", "json_schema", "text"])
def test_the_example_of_each_lean_shape_parses(shape: str) -> None:
    problem = Problem(parts=(Part("prompt0", "Say hello"),))
    prompt = FORMATS[shape].prompt(problem, 4000, 0)
    ending = prompt.messages[1]["content"].split("# Reply\n", 1)[1]
    assert dict(prompt.read(ending, problem).values) == {"prompt0": "its new value"}


@pytest.mark.parametrize("options", [{}, {"json_keys": {"answer": None, "suggestion": "changes"}}])
def test_the_worked_example_of_the_classic_format_parses(options: dict[str, Any]) -> None:
    optimizer = agent(1, OptoPrimeV1, include_example=True, **options)
    user = optimizer.construct_prompt(optimizer.summarize())[1]
    example = user.split("The answer:\n", 1)[1].split("This is the problem", 1)[0]
    assert optimizer.extract_llm_suggestion(example) == {"price0": 9}


@pytest.mark.parametrize("symbols", [None, OptimizerPromptSymbolSet2(), OptimizerPromptSymbolSetJSON()])
def test_the_worked_example_of_the_tagged_format_parses(symbols: Any) -> None:
    optimizer = agent(1, OptoPrimeV2, include_example=True, optimizer_prompt_symbol_set=symbols)
    system, user = optimizer.construct_prompt(optimizer.summarize())
    example = user.split("The answer:\n", 1)[1].split("This is the problem", 1)[0]
    assert {k: int(v) for k, v in optimizer.extract_llm_suggestion(example)["variables"].items()} == {"price0": 9}
    form = system.split("Reply", 1)[1] if "Reply in this form" in system else system[system.index("{\n") :]
    assert "variable_name" in optimizer.extract_llm_suggestion(form)["variables"]


# --- budgets ---


@pytest.mark.parametrize("queries", [3, 33, 333])
def test_lean_prompts_are_at_most_three_fifths_of_the_classic_ones(queries: int) -> None:
    lean = estimate_tokens(whole_prompt(agent(queries)))
    classic = estimate_tokens(whole_prompt(agent(queries, OptoPrimeV1)))
    assert lean <= (0.65 if queries == 3 else 0.6) * classic


@pytest.mark.parametrize("budget", [600, 1500, 4000])
@pytest.mark.parametrize("queries", [1, 20, 300])
def test_a_prompt_fits_its_budget_and_says_what_it_left_out(budget: int, queries: int) -> None:
    text = whole_prompt(agent(queries, max_prompt_tokens=budget))
    assert estimate_tokens(text) <= budget * 1.05 + 20
    assert "def greet(lang, name)" in text and "Hola" in text
    assert ("Left out to save space" in text) == (queries == 300 or (queries == 20 and budget < 4000))


def test_a_graph_of_ten_thousand_nodes_fits() -> None:
    x = node(1.0, name="x", trainable=True)
    y = x
    for i in range(5_000):
        y = y + i if i % 2 else y * 1.0001
    optimizer = OptoPrime([x], llm=ScriptedLLM([]), max_prompt_tokens=2_000)
    optimizer.backward(y, "too low")
    text = whole_prompt(optimizer)
    assert estimate_tokens(text) <= 2_000 and "add2499(" in text and "multiply(x0, 1.0001)" in text
    assert "Left out to save space: " in text and " calls (" in text


def test_ten_thousand_parts_fit() -> None:
    parts = tuple(Part(f"x{i}", "word " * 20) for i in range(10_000))
    problem = Problem(parts=parts, outcomes=(Outcome("y0", 1, "bad"),), feedback="bad")
    text = render_lean(problem, 2_000)
    assert estimate_tokens(text) <= 2_000 and "the parts x" in text and "the middle of" in text
    numbers = render_lean(Problem(parts=tuple(Part(f"x{i}", i) for i in range(10_000))), 2_000)
    assert 1_500 < estimate_tokens(numbers) <= 2_000 and "the middle of" not in numbers


def test_a_long_goal_and_context_leave_room_for_the_rest() -> None:
    problem = Problem(
        parts=(Part("x0", 1),), outcomes=(Outcome("f0", 2, "too low"),), objective="goal " * 9_000, context="known " * 9
    )
    text = render_lean(problem, 1_000)
    assert estimate_tokens(text) <= 1_000 and "x0 (int): 1" in text and "too low" in text
    assert "known " * 9 in text and "Left out to save space: the middle of the goal." in text


def test_long_texts_are_cut_in_the_middle_last() -> None:
    long = "start " + "x" * 50_000 + " end"
    problem = Problem(
        parts=(Part("prompt0", long), Part("x0", 1.0)),
        calls=(Call("f0", "f", (("a", "prompt0"),), long),),
        outcomes=(Outcome("f0", long, "feedback " + "y" * 50_000 + " over"),),
        history=tuple(Attempt({"x0": i}, "z" * 500) for i in range(50)),
    )
    text = render_lean(problem, 3_000)
    assert estimate_tokens(text) <= 3_000
    for piece in (
        "start xx",
        "xx end",
        "feedback yy",
        "yy over",
        "the middle of prompt0",
        "earlier attempts",
        "x0 (float)",
    ):
        assert piece in text, piece


# --- folding ---


def lean(output: Any, *parameters: Any, budget: int = 4_000) -> str:
    for parameter in parameters:
        parameter.zero_feedback()
    output.backward("fb")
    return render_calls(collect(accumulate(parameters), parameters), budget).lines


def test_equal_calls_are_folded() -> None:
    x = node(2, name="x", trainable=True)
    total = x * 3
    for _ in range(4):
        total = total + x * 3
    text = lean(total, x)
    assert "multiply0(x0, 3) -> 6  (5 times)" in text
    assert "4 calls" in text and "first add(multiply0, multiply0), then add(<previous>, multiply0)" in text


def test_chains_are_folded() -> None:
    x = node(1, name="x", trainable=True)
    y = x
    for _ in range(100):
        y = y + 1
    assert lean(y, x) == "add0 … add99: 100 calls, first add(x0, 1), then add(<previous>, 1) -> 2, 3, 4, …, 101"


def test_calls_stand_in_the_order_of_their_stories() -> None:
    text = whole_prompt(agent(2))
    places = [text.index(f"{name}") for name in ("number 0", "'Juan0')", "number 1", "'Juan1')")]
    assert places == sorted(places)


def test_of_very_many_arguments_the_ends_are_shown() -> None:
    given = {f"c{i}": Given(f"c{i}", i) for i in range(1000)}
    call = Call("join0", "join", tuple((f"args_{i}", f"c{i}") for i in range(1000)), 1)
    text = render_calls(Problem((Part("x0", 1),), given, (call,)), 1_000).lines
    assert text.startswith("join(0, 1, 2,") and "19, …960 more…, 980" in text and text.endswith("999) -> 1")


def test_errors_are_kept_first() -> None:
    calls = [
        Call(f"f{i}", "f", (("a", "x0" if i == 0 else f"f{i - 1}"), ("b", f"c{i}")), i * 1.5, level=i)
        for i in range(500)
    ]
    calls.insert(1, Call("exception_g0", "g", (("a", "x0"),), "(ValueError) no", level=1, is_error=True))
    given = {f"c{i}": Given(f"c{i}", i) for i in range(500)}
    problem = Problem((Part("x0", 1),), given, tuple(calls), (Outcome("f499", 1, "fb"),))
    _, text, left, _ = render_calls(problem, 120)
    assert "ERROR (ValueError) no" in text and "f499(" in text and " f)" in left


def test_the_functions_of_two_parts_with_one_name_are_told_apart() -> None:
    code = "def f(x):\n    return x"
    problem = Problem(
        (Part("__code0", code, is_code=True), Part("__code1", code, is_code=True)),
        {"x0": Given("x0", 1)},
        (
            Call("eval0", "eval", (("x", "x0"), ("__code", "__code0")), 1),
            Call("eval1", "eval", (("x", "eval0"), ("__code", "__code1")), 1),
        ),
    )
    assert render_calls(problem, 1_000).lines.split("\n") == [
        "eval0 = __code0.f(x=1) -> 1",
        "__code1.f(x=1 @eval0) -> 1",
    ]


def test_part_text() -> None:
    assert part_text(Part("p0", "a\nb", "short")) == "p0 (text):\n```\na\nb\n```\n  must satisfy: short"
    assert part_text(Part("l0", [1, 2])) == "l0 (list): [1, 2]"
    broken = part_text(Part("__code0", "def f(:", "The code should start with:\ndef f(x):", is_code=True))
    assert "it is broken" in broken and "def f(x):" in broken


def test_results_without_feedback_or_graph() -> None:
    assert "No feedback was given." in render_lean(Problem(parts=(Part("x0", 1),)), 500)
    assert "Feedback: odd" in render_lean(Problem(feedback="odd"), 500)


def test_continue_prompt_without_a_header_line() -> None:
    problem = Problem(
        parts=(
            Part("__code0", "x = 1", is_code=True),
            Part("__code1", "def f(a,\n      b):\n    return a", is_code=True),
        )
    )
    assert FORMATS["prefill"].prompt(problem, 500, 0).messages[-1]["content"] == "```python\n"
    assert FORMATS["prefill"].prompt(problem, 500, 1).messages[-1]["content"] == "```python\n"
    assert not FORMATS["prefill"].prompt(problem, 500, 0).read("nothing", problem).values
    text = Problem(parts=(Part("p0", "a"),))
    assert FORMATS["prefill"].prompt(text, 500, 0).read("  \n", text).fault == "nothing was said"


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Random runs over two parts and three given values."""
    values = st.one_of(st.integers(), st.text(max_size=80), st.none(), st.lists(st.integers(), max_size=30))
    given_values = {f"g{i}": Given(f"g{i}", draw(values)) for i in range(3)}
    refs = ["x0", "p0", *given_values]
    calls: list[Call] = []
    for i in range(draw(st.integers(0, 25))):
        inputs = tuple((f"a{j}", draw(st.sampled_from(refs))) for j in range(draw(st.integers(1, 3))))
        function = draw(st.sampled_from(["f", "g", "add"]))
        calls.append(
            Call(f"{function}_{i}0", function, inputs, draw(values), "doc", i, function == "add", draw(st.booleans()))
        )
        refs.append(calls[-1].name)
    outcomes = tuple(
        Outcome(draw(st.sampled_from(refs)), 1, draw(st.text(max_size=50))) for _ in range(draw(st.integers(0, 3)))
    )
    return Problem(
        (Part("x0", 1.0), Part("p0", draw(st.text(max_size=200)))), given_values, tuple(calls), outcomes, "fb"
    )


@settings(max_examples=60, deadline=None)
@given(problems(), st.integers(100, 3000))
def test_any_run_renders_within_its_budget(problem: Problem, budget: int) -> None:
    text = render_lean(problem, budget)
    assert "x0 (float): 1.0" in text
    assert estimate_tokens(text) <= max(budget, 700)
    story = fold(problem, 1_000)
    assert sum(line.count for line in story.lines) + sum(story.left_out.values()) == len(problem.calls)
    seen: set[str] = set()
    made = {line.call.name for line in story.lines if not line.chain}
    for line in story.lines:  # inputs stand before their use
        for _, ref in line.call.inputs:
            shown = story.alias.get(ref, ref)
            assert shown in seen or shown not in made
        seen.add(line.call.name)


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.sampled_from(["x0", "p0"]), st.text(st.characters(exclude_categories=["Cs"]), max_size=30)))
def test_replies_in_the_schema_shape_read_back(values: dict[str, str]) -> None:
    problem = Problem((Part("x0", "a"), Part("p0", "b")))
    reply = json.dumps({"reasoning": "", "changes": [{"name": k, "value": v} for k, v in values.items()]})
    assert dict(read_reply(reply, problem).values) == values
