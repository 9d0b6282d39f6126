"""The classic OptoPrime, `OptoPrimeV1` here."""

from __future__ import annotations

import json
from typing import Any

import pytest

from opto.optimizers import OptoPrimeV1
from opto.optimizers.optoprime import FunctionFeedback, ProblemInstance, node_to_function_feedback
from opto.trace import ExecutionError, bundle, node
from opto.trace.nodes import ParameterNode
from opto.trace.propagators import GraphPropagator
from opto.trace.utils import sum_feedback

HEADINGS = [
    "#Instruction", "#Code", "#Documentation", "#Variables", "#Constraints", "#Inputs", "#Others", "#Outputs",
    "#Feedback",
]  # fmt: skip


def reply(**values: Any) -> dict[str, Any]:
    return {"reasoning": "r", "answer": "a", "suggestion": values}


def section(body: str, heading: str) -> str:
    """The text between `heading` and the next heading."""
    lines = body.splitlines()
    start = lines.index(heading) + 1
    end = next((k for k in range(start, len(lines)) if lines[k] in HEADINGS), len(lines))
    return "\n".join(lines[start:end]).strip()


@bundle("[helper] Counts.")
def helper(s):
    """Count the letters."""
    return len(s)


def program(scripted: Any, *replies: Any, **options: Any) -> Any:
    """The program of 20.6: a float, code applied to it, and constants."""

    @bundle(trainable=True)
    def fn(q):
        """Change q."""
        return q + 1

    x = node(1.0, name="x", trainable=True, description="keep it small")
    loose = node("unused text", name="loose", trainable=True)
    llm, calls = scripted(*(replies or (reply(),)))
    o = OptoPrimeV1([x, fn.parameter, loose], llm=llm, **options)
    out = ((fn(x) + helper(node("twelve chars"))) * 2).eq(5)
    o.zero_feedback()
    o.backward(out, "not equal yet")
    return o, calls, x, fn, loose


# --- the constructor ------------------------------------------------------------------------------------------------


def test_constructor() -> None:
    given = object()
    o = OptoPrimeV1([node(1, trainable=True)], given)
    assert o.llm is given and o.max_tokens == 4096 and o.log == [] and len(o.memory) == 0
    assert o.ignore_extraction_error is True and o.include_example is False and o.use_json_object_format is True
    options = {
        "propagator": GraphPropagator(), "objective": "mine", "ignore_extraction_error": False, "include_example": True,
        "max_tokens": 5, "use_json_object_format": False,
    }  # fmt: skip
    o = OptoPrimeV1([node(1, trainable=True)], llm=given, **options, memory_size=3, log=False)
    assert {k: getattr(o, k) for k in options} == options and o.log is None


def test_attributes(scripted: Any) -> None:
    x = node(1, name="x", trainable=True)
    llm, _ = scripted("{}")
    o = OptoPrimeV1([x], llm=llm)
    for name in [
        "llm",
        "objective",
        "default_objective",
        "log",
        "summary_log",
        "memory",
        "max_tokens",
        "parameters",
        "prompt_symbols",
        "default_prompt_symbols",
        "use_json_object_format",
        "ignore_extraction_error",
        "include_example",
        "representation_prompt",
        "output_format_prompt",
        "user_prompt_template",
        "final_prompt",
    ]:
        assert hasattr(o, name), name
    assert o.objective == o.default_objective and o.max_tokens == 4096 and o.llm is llm
    assert OptoPrimeV1([x], llm=llm, objective="mine").objective == "mine"
    assert set(o.default_prompt_symbols) == {
        "variables", "constraints", "inputs", "outputs", "others", "feedback", "instruction", "code", "documentation",
    }  # fmt: skip


# --- the problem ----------------------------------------------------------------------------------------------------


def test_problem_vector(scripted: Any) -> None:
    o, _, _, fn, _ = program(scripted)
    code = fn.parameter.py_name
    body = str(o.problem_instance(o.summarize()))
    assert [line for line in body.splitlines() if line in HEADINGS] == HEADINGS
    assert section(body, "#Code").splitlines() == [
        f"eval0 = eval(q=x0, __code={code})",
        "add0 = add(x=eval0, y=helper0)",
        "multiply0 = multiply(x=add0, y=int0)",
        section(body, "#Code").splitlines()[3],
    ]
    assert section(body, "#Code").splitlines()[3].startswith("eq0 = eq(x=multiply0, y=int")
    variables = section(body, "#Variables")
    assert "(float) x0=1.0" in variables.splitlines() and f"(code) {code}:def fn(q):" in variables.splitlines()
    assert "    return q + 1" in variables
    constraints = section(body, "#Constraints")
    assert "(float) x0: keep it small" in constraints.splitlines()
    assert f"(code) {code}: The code should start with:" in constraints.splitlines()
    assert {"(int) helper0=12", "(int) int0=2"} <= set(section(body, "#Inputs").splitlines())
    others = section(body, "#Others").splitlines()
    assert "(float) eval0=2.0" in others and "(float) add0=14.0" in others and "(float) multiply0=28.0" in others
    assert section(body, "#Outputs") == "(bool) eq0=False"
    assert section(body, "#Feedback") == "not equal yet"
    assert "loose0" not in body and "helper(" not in section(body, "#Code")


def test_documentation(scripted: Any) -> None:
    o, *_ = program(scripted)
    lines = section(str(o.problem_instance(o.summarize())), "#Documentation").splitlines()
    assert any(line.startswith("[eval] ") for line in lines) and any(line.startswith("[add] ") for line in lines)

    @bundle()
    def bare(x):
        return x

    p = node(1, name="p", trainable=True)
    llm = o.llm
    o2 = OptoPrimeV1([p], llm=llm)
    o2.backward(bare(p), "fb")
    name = "test_documentation.bare"
    assert f"[{name}] None" in str(o2.problem_instance(o2.summarize()))


def test_summarize(scripted: Any) -> None:
    o, _, x, fn, _ = program(scripted)
    s = o.summarize()
    assert isinstance(s, FunctionFeedback)
    code = fn.parameter.py_name
    assert list(s.variables) == ["x0", code] or set(s.variables) == {"x0", code}
    assert s.variables["x0"] == (1.0, "keep it small") and s.variables[code][0] == fn.parameter.data
    assert {"helper0", "int0"} <= set(s.inputs) and s.inputs["int0"] == (2, None)
    assert list(s.output) == ["eq0"] and s.output["eq0"][0] is False
    assert s.user_feedback == "not equal yet"
    assert sorted(level for level, _ in s.graph) == [level for level, _ in s.graph]
    assert set(s.roots) == set(s.variables) | set(s.inputs)
    assert s.documentation["eval"] and x.feedback


def test_blanket_nodes_vector() -> None:
    a, k = node(1, name="a", trainable=True), node(10, name="k")
    d = (a + k * 2) - a
    d.backward("fb")
    s = node_to_function_feedback(sum_feedback([a]))
    assert [text for _, text in s.graph] == ["add0 = add(x=a0, y=multiply0)", "subtract0 = subtract(x=add0, y=a0)"]
    assert set(s.roots) == {"a0", "multiply0"} and s.roots["multiply0"][0] == 20
    assert set(s.others) == {"add0"} and set(s.output) == {"subtract0"}


def test_custom_op_shows_the_python_name(scripted: Any) -> None:
    p = node("abc", name="p", trainable=True)
    llm, _ = scripted(reply())
    o = OptoPrimeV1([p], llm=llm)
    o.backward(bundle("[fancy] words")(helper.fun)(p), "fb")
    code = section(str(o.problem_instance(o.summarize())), "#Code")
    assert code == "fancy0 = helper(s=p0)"


def test_feedback_on_the_parameter_itself(scripted: Any) -> None:
    x = node(1, name="x", trainable=True)
    llm, _ = scripted(reply())
    o = OptoPrimeV1([x], llm=llm)
    o.backward(x, "larger")
    s = o.summarize()
    assert list(s.variables) == ["x0"] and not s.graph and not s.inputs and s.user_feedback == "larger"


def test_exception_node_documentation(scripted: Any) -> None:
    x = node(1, name="x", trainable=True)
    llm, calls = scripted(reply(x0=2))
    o = OptoPrimeV1([x], llm=llm)
    with pytest.raises(ExecutionError) as e:
        x / 0
    o.backward(e.value.exception_node, e.value.exception_node.create_feedback())
    o.step()
    user = calls[0]["messages"][1]["content"]
    assert "exception_divide0" in user and "(ZeroDivisionError) division by zero" in user and x.data == 2


def test_parameter_order_is_that_of_the_graph(scripted: Any) -> None:
    a, b = node(1, name="a", trainable=True), node(2, name="b", trainable=True)
    llm, _ = scripted(reply())
    o = OptoPrimeV1([b, a], llm=llm)
    o.backward(a + b, "fb")
    assert set(o.summarize().variables) == {"a0", "b0"}


def test_mask(scripted: Any) -> None:
    o, *_ = program(scripted)
    body = str(o.problem_instance(o.summarize(), mask=["#Feedback", "#Documentation"]))
    assert section(body, "#Feedback") == "" and section(body, "#Documentation") == ""
    assert "#Feedback" in body and section(body, "#Code") != ""
    assert isinstance(o.problem_instance(o.summarize()), ProblemInstance)
    p = o.problem_instance(o.summarize())
    for field in [
        "instruction",
        "code",
        "documentation",
        "variables",
        "constraints",
        "inputs",
        "others",
        "outputs",
        "feedback",
    ]:
        assert hasattr(p, field)


# --- the prompt and the call ----------------------------------------------------------------------------------------


def test_prompt(scripted: Any) -> None:
    o, *_ = program(scripted)
    system, user = o.construct_prompt(o.summarize())
    assert isinstance(system, str) and "reasoning" in system and "suggestion" in system and "answer" in system
    assert user.rstrip().endswith("Your response:") and "====" in user and "#Variables" in user
    masked = o.construct_prompt(o.summarize(), mask=["#Feedback"])[1]
    assert "not equal yet" in user and "not equal yet" not in masked


def test_highlight(scripted: Any) -> None:
    x = node(1, trainable=True)
    llm, _ = scripted(reply())
    o = OptoPrimeV1([x], llm=llm, highlight_variables=True)
    o.backward(x + 1, "fb")
    user = o.construct_prompt(o.summarize())[1]
    assert "What are your suggestions on variables int0?" in user and user.rstrip().endswith("Your response:")


def test_include_example(scripted: Any) -> None:
    o, *_ = program(scripted)
    plain = o.construct_prompt(o.summarize())[1]
    o.include_example = True
    rich = o.construct_prompt(o.summarize())[1]
    assert len(rich) > len(plain) and "eval0 = eval(" in rich


def test_memory(scripted: Any) -> None:
    o, _, x, *_ = program(scripted, memory_size=2)
    assert '"feedback"' not in o.construct_prompt(o.summarize())[1]
    x._data = 2.0
    user = o.construct_prompt(o.summarize())[1]
    start = user.index('"variables"')
    text = user[user.rindex("{", 0, start) :]
    past, _ = json.JSONDecoder().raw_decode(text)
    assert past["variables"]["x0"] == 1.0 and past["feedback"] == "not equal yet"
    assert '    "variables": {' in user
    assert user.rstrip().endswith("Your response:") and user.index('"variables"') < user.index("Your response:")
    for _ in range(4):
        user = o.construct_prompt(o.summarize())[1]
    assert user.count('"feedback":') == 2


def test_memory_with_example_keeps_the_problem(scripted: Any) -> None:
    o, *_ = program(scripted, memory_size=2, include_example=True, highlight_variables=True)
    o.construct_prompt(o.summarize())
    user = o.construct_prompt(o.summarize())[1]
    assert "(float) x0=1.0" in user and "not equal yet" in user and '"variables"' in user
    assert "What are your suggestions on variables" in user


def test_bypassed_steps_are_remembered(scripted: Any) -> None:
    o, calls, *_ = program(scripted, reply(x0=3), memory_size=3)
    o.step(bypassing=True)
    o.step(bypassing=True)
    assert '"feedback":' in calls[1]["messages"][1]["content"]


def test_prompt_symbols(scripted: Any) -> None:
    o, calls, *_ = program(scripted, reply(), prompt_symbols={"variables": "#Parameters", "feedback": "#Critique"})
    o.step()
    system, user = (m["content"] for m in calls[0]["messages"])
    assert "#Parameters" in user and "#Critique" in user and "#Parameters" in system
    assert "#Variables" not in user + system and "#Feedback" not in user + system


def test_json_keys(scripted: Any) -> None:
    keys = {"reasoning": "why", "answer": None, "suggestion": "changes"}
    o, calls, x, *_ = program(scripted, json.dumps({"why": "r", "changes": {"x0": 7}}), json_keys=keys)
    o.step()
    system = calls[0]["messages"][0]["content"]
    assert '"why"' in system and '"changes"' in system and '"suggestion"' not in system and '"answer"' not in system
    assert x.data == 7.0
    other, *_ = program(scripted)
    fresh = other.construct_prompt(other.summarize())[0]
    assert "suggestion" in fresh and "changes" not in fresh and "answer" in fresh


def test_call(scripted: Any) -> None:
    o, calls, x, *_ = program(scripted, reply(x0=2), max_tokens=123)
    o.step()
    call = calls[0]
    assert [m["role"] for m in call["messages"]] == ["system", "user"]
    assert call["max_tokens"] == 123 and call["response_format"] == {"type": "json_object"}
    assert x.data == 2.0
    o2, calls2, *_ = program(scripted, reply(), use_json_object_format=False)
    o2.step()
    assert calls2[0].get("response_format") is None


def test_second_try_without_response_format(scripted: Any) -> None:
    o, calls, x, *_ = program(scripted, RuntimeError("no json here"), reply(x0=2))
    o.step()
    assert len(calls) == 2 and calls[1].get("response_format") is None and x.data == 2.0
    bad, calls, *_ = program(scripted, RuntimeError("first"), RuntimeError("second"))
    with pytest.raises(RuntimeError, match="second"):
        bad.step()
    assert len(calls) == 2


def test_verbose(scripted: Any, capsys: Any) -> None:
    o, *_ = program(scripted, reply(x0=2))
    o.step(verbose=False)
    assert capsys.readouterr().out == ""
    o.step(verbose="output")
    out = capsys.readouterr().out
    assert "suggestion" in out and "#Variables" not in out
    o.step(verbose=True)
    out = capsys.readouterr().out
    assert "#Variables" in out and '"suggestion"' in out


def test_terminate_anywhere(scripted: Any) -> None:
    o, _, x, *_ = program(scripted, json.dumps({**reply(x0=9), "answer": "TERMINATE"}))
    assert o.step() == {} and o.log == [] and x.data == 1.0


def test_log_entry(scripted: Any) -> None:
    o, *_ = program(scripted, reply(x0=2))
    o.step()
    assert set(o.log[0]) == {"system_prompt", "user_prompt", "response"}
    assert isinstance(o.log[0]["response"], str) and json.loads(o.log[0]["response"])["suggestion"] == {"x0": 2}
    assert set(o.summary_log[0]) == {"problem_instance", "summary"}


# --- reading the reply ----------------------------------------------------------------------------------------------

GOOD = json.dumps(reply(x0=3))
CASES = {
    "plain": (GOOD, {"x0": 3}),
    "prose": (f"Well. {GOOD} So.", {"x0": 3}),
    "fence": (f"```\n{GOOD}\n```", {"x0": 3}),
    "json fence": (f"Here\n```json\n{GOOD}\n```\nbye", {"x0": 3}),
    "two fences": (f"```json\n{GOOD}\n```\nor\n```json\n{json.dumps(reply(x0=4))}\n```", {"x0": 3}),
    "blank keys": ('{" suggestion ": {" x0 ":3}}', {" x0 ": 3}),
    "raw newline": ('{"reasoning": "r", "suggestion": {"x0": "line1\nline2"}}', {"x0": "line1\nline2"}),
    "trailing comma": ('{"suggestion": {"x0": "3",}}', {"x0": "3"}),
    "no suggestion": ('{"x0":2}', {"x0": 2}),
    "not a dict": ('{"suggestion": "not a dict","param1":5}', {"suggestion": "not a dict", "param1": 5}),
    "list": ("[1,2]", {}),
    "number": ("3", {}),
    "only prose": ("I do not know.", {}),
    "empty": ("", {}),
    "unclosed": ('{"suggestion": {"x0": ', {}),
    "single quotes": ("{'suggestion': {'x0': 3}}", {}),
    "blank code": ('{"suggestion":{"__code0":"  ","x0":""}}', {"x0": ""}),
}


@pytest.mark.parametrize("case", CASES)
def test_reading_vectors(case: str, scripted: Any) -> None:
    x = node(1, name="x", trainable=True)
    llm, _ = scripted("{}")
    text, want = CASES[case]
    assert OptoPrimeV1([x], llm=llm).extract_llm_suggestion(text) == want


def test_reading_everything(scripted: Any) -> None:
    llm, _ = scripted("{}")
    o = OptoPrimeV1([node(1, name="x", trainable=True)], llm=llm)
    full = o.extract_llm_suggestion(GOOD, return_only_suggestion=False)
    assert full["reasoning"] == "r" and full["variables"] == {"x0": 3}
    for bad in ("garbage", "", "[1]"):
        out = o.extract_llm_suggestion(bad, return_only_suggestion=False)
        assert not out["variables"] and not out["reasoning"]
    odd = '{"reasoning": "r", "suggestion": {"__code0": 3}}'
    o.extract_llm_suggestion(odd, return_only_suggestion=False)


def test_reading_other_tags(scripted: Any) -> None:
    llm, _ = scripted("{}")
    o = OptoPrimeV1([node(1, name="x", trainable=True)], llm=llm)
    text = '{"why": "w", "changes": {"x0": 4}}'
    assert o.extract_llm_suggestion(text, suggestion_tag="changes", reasoning_tag="why") == {"x0": 4}


def test_messages_about_bad_replies(scripted: Any, capsys: Any) -> None:
    llm, _ = scripted("{}")
    o = OptoPrimeV1([node(1, name="x", trainable=True)], llm=llm)
    assert o.extract_llm_suggestion("garbage", ignore_extraction_error=True) == {}
    assert capsys.readouterr().out == ""


# --- values ---------------------------------------------------------------------------------------------------------

CONVERSIONS = [
    (1, "2", 2), (1, 2.7, 2), (1.0, "2", 2.0), ([0], "[1,2]", [1, 2]), ((0,), [1, 2], (1, 2)),
    ({}, '{"a":1}', {"a": 1}), ("a", 3, "3"), (True, "False", False), (None, "as is", "as is"), (None, 3, 3),
    ("a", "b", "b"), (1.5, 2, 2.0),
]  # fmt: skip


@pytest.mark.parametrize(("current", "value", "want"), CONVERSIONS)
def test_conversion(current: Any, value: Any, want: Any, scripted: Any) -> None:
    x = ParameterNode(current, name="x")
    llm, _ = scripted("{}")
    out = OptoPrimeV1([x], llm=llm).construct_update_dict({"x0": value})
    assert out[x] == want and type(out[x]) is type(want)


def test_keys(scripted: Any) -> None:
    x = node(1, trainable=True)
    llm, _ = scripted("{}")
    o = OptoPrimeV1([x], llm=llm)
    assert o.construct_update_dict({"int:0": 4})[x] == 4 and o.construct_update_dict({"int0": 5})[x] == 5
    assert o.construct_update_dict({"other": 4}) == {} and o.construct_update_dict({}) == {}
    x.trainable = False
    assert o.construct_update_dict({"int0": 4}) == {}


def test_code_is_formatted(scripted: Any) -> None:
    pytest.importorskip("black")

    @bundle(trainable=True)
    def f(x):
        return x

    llm, _ = scripted("{}")
    o = OptoPrimeV1(f.parameters(), llm=llm)
    name = f.parameter.py_name
    assert o.construct_update_dict({name: "def f( x ):\n  return  x"})[f.parameter].strip() == "def f(x):\n    return x"
