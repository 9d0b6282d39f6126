"""A reply that was cut off: what was complete is taken, a value without its end never is."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

import pytest

from opto.llm.base import Choice, Message, Response
from opto.llm.fakes import ScriptedLLM
from opto.optimizers import OptoPrime
from opto.optimizers.formats.classic import classic_text
from opto.optimizers.formats.lean import FORMATS
from opto.optimizers.formats.small import focus_prompt
from opto.optimizers.formats.tags import OptimizerPromptSymbolSet
from opto.optimizers.llm_optimizer import reply_texts
from opto.optimizers.problem.problem import Part, Problem
from opto.optimizers.problem.uses import Focus
from opto.optimizers.replies.json_replies import Cut, CutText, parse_json, read_json_reply
from opto.optimizers.replies.shapes import Suggestion, read_reply
from opto.optimizers.replies.tags_and_fences import extract_xml_like_data
from opto.trace import GRAPH, node

CODE = "def greet(lang, name):\n    if lang:\n        return {'say': \"a\\n\" + name}['say']\n    return name"
PROBLEM = Problem(
    parts=(
        Part("x0", 1.0),
        Part("prompt0", "Say hello"),
        Part("list0", [1]),
        Part("__code0", CODE, "The code should start with:\ndef greet(lang, name):", is_code=True),
    )
)
TEXT = 'Say "hola",\nwarmly: {"x0": 12.5}, then\n```\nstop\n``` and <b>wait</b> — é😀.'
VALUES: dict[str, Any] = {"x0": 12.5, "prompt0": TEXT, "list0": [1, [2.5, 37]], "__code0": CODE}
SPOKEN = {name: value if isinstance(value, str) else json.dumps(value) for name, value in VALUES.items()}
SHAPES = {
    "classic": classic_text(Suggestion(VALUES, "because")),
    "indented": json.dumps({"suggestion": VALUES}, indent=2),
    "other order": json.dumps({"suggestion": dict(reversed(VALUES.items()))}, ensure_ascii=False),
    "fenced json": f"Here:\n```json\n{json.dumps({'suggestion': VALUES})}\n```\nGood luck.",
    "bare object": json.dumps(VALUES),
    "schema": json.dumps({"reasoning": "b", "changes": [{"name": k, "value": v} for k, v in SPOKEN.items()]}),
    "value first": json.dumps([{"value": v, "part": k} for k, v in VALUES.items()]),
    "values in objects": json.dumps({k: {"value": v} for k, v in VALUES.items()}),
    "in a string": json.dumps({"response": json.dumps({"suggestion": VALUES})}),
    "single quotes": str({"suggestion": VALUES}),
    "raw newlines": json.dumps({"suggestion": VALUES}).replace("\\n", "\n"),
    "tags": OptimizerPromptSymbolSet().example_output("because", SPOKEN),
    "named tags": "".join(f'<variable name="{k}" type="x">\n{v}\n</variable>\n' for k, v in SPOKEN.items()),
    "value tags": "".join(f'<part name="{k}"><value>{v}</value></part>' for k, v in SPOKEN.items()),
    "own tags": "".join(f"<{k}>{v}</{k}>" for k, v in SPOKEN.items()),
    "fence": f"Here:\n```python\n{CODE}\n```\n",
    "lines": "x0: 12.5\nlist0 = [1, [2.5, 37]]\nprompt0: Say hola.\n",
}


def beginnings(values: Mapping[str, Any], whole: Mapping[str, Any]) -> dict[str, Any]:
    """The values that are the beginning of what they would be in the whole reply, and not all of it."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        text, full = (v if isinstance(v, str) else json.dumps(v) for v in (value, whole.get(name)))
        if text.strip() != full.strip() and full.strip().startswith(text.strip().rstrip("]}")):
            found[name] = value
    return found


@pytest.mark.parametrize("shape", SHAPES)
def test_wherever_a_reply_is_cut_no_beginning_of_a_value_is_believed(shape: str) -> None:
    reply = SHAPES[shape]
    whole = read_reply(reply, PROBLEM).values
    assert whole, "the whole reply is read"
    said: set[str | None] = set()
    for end in range(len(reply)):
        cut = CutText(reply[:end]) if shape == "lines" else reply[:end]  # only the server knows where a line ends
        found = read_reply(cut, PROBLEM)
        assert not beginnings(found.values, whole), (reply[:end], found)
        assert found.values or found.fault, reply[:end]
        assert not any(isinstance(value, Cut) for value in found.values.values())
        said.add(found.fault)
    if shape not in ("value first", "in a string"):  # there the name of the part is not yet known
        assert any("cut off inside the value of" in fault for fault in said if fault)


@pytest.mark.parametrize("shape", ["classic", "indented", "fenced json", "bare object", "raw newlines", "tags"])
def test_the_two_formats_believe_no_beginning_either(shape: str) -> None:
    reply = SHAPES[shape]
    for end in range(len(reply)):
        known = {k: v for k, v in read_json_reply(reply[:end], "suggestion", "reasoning")[1].items() if k in VALUES}
        assert not beginnings(known, VALUES), reply[:end]
        assert not beginnings(extract_xml_like_data(reply[:end])["variables"], SPOKEN), reply[:end]


def test_what_was_complete_before_the_cut_is_taken() -> None:
    found = read_reply(json.dumps({"suggestion": VALUES})[:60], PROBLEM)
    assert dict(found.values) == {"x0": 12.5} and found.is_cut
    assert found.fault == "the reply was cut off inside the value of prompt0"
    tags = SHAPES["tags"]
    assert dict(read_reply(tags[: tags.index("hola")], PROBLEM).values) == {"x0": "12.5"}
    assert read_reply(CutText("I think that"), PROBLEM).fault.startswith("the reply was cut off at the limit")  # type: ignore[union-attr]


def test_the_lenient_reader_marks_what_has_no_end() -> None:
    for text in ('{"a": "b', "{'a': 'b\\", '{"a": 12', '{"a": [1, 2', '{"a": {"b": 1', '{"a": """b', '{"a":'):
        assert isinstance(parse_json(text)["a"], Cut), text
    assert not isinstance(parse_json('{"a": 12\n')["a"], Cut), "a blank ends a number"


@pytest.mark.parametrize(
    ("name", "reply"), [("prompt0", "Say hola, warmly."), ("x0", "12.5"), ("__code0", "    return lang + name + 'x'")]
)
def test_a_begun_reply_is_believed_only_if_the_model_came_to_its_end(name: str, reply: str) -> None:
    part = PROBLEM.part(name)
    assert part is not None
    problem = Problem(parts=(part,), feedback="no")
    prompts: list[Any] = [FORMATS["prefill"].prompt(problem, 4_000, 0)]
    if name != "__code0":  # the code of a small model is mended to its last statement and judged by the gate
        prompts.append(focus_prompt(problem, 1_000, 0, focus=Focus(name), prefill=True))  # type: ignore[arg-type]
    for prompt in prompts:
        whole = prompt.read(reply, problem)
        assert name in whole.values
        assert prompt.read(CutText(f"{reply}\n```\n"), problem).values == whole.values
        for end in range(len(reply) + 1):
            assert not prompt.read(CutText(reply[:end]), problem).values


def test_a_reply_in_another_shape_is_no_continuation() -> None:
    problem = Problem(parts=(Part("prompt0", "Say hello"),))
    prompt = FORMATS["prefill"].prompt(problem, 4_000, 0)
    assert dict(prompt.read('{"suggestion": {"prompt0": "Hi"}}', problem).values) == {"prompt0": "Hi"}
    assert dict(prompt.read("{name}, be brief.", problem).values) == {"prompt0": "{name}, be brief."}
    assert not prompt.read('{"suggestion": {"prompt0": "Hi', problem).values


def test_a_reply_inside_a_string_is_read_and_reasons_are_not() -> None:
    inner = json.dumps({"suggestion": {"x0": 2}})
    for reply in (json.dumps(inner), json.dumps({"response": inner}), json.dumps({"suggestion": "x0 = 2"})):
        assert {k: float(v) for k, v in read_reply(reply, PROBLEM).values.items()} == {"x0": 2.0}
    assert not read_reply(json.dumps({"reasoning": inner}), PROBLEM).values
    assert not read_reply(json.dumps({"reasoning": "x0 = 3 would be wrong"}), PROBLEM).values
    tagged = {"suggestion": {"prompt0": "Answer in <b>bold</b>, close <x0>."}}
    assert dict(read_reply(json.dumps(tagged), PROBLEM).values) == tagged["suggestion"]


def response(text: str, reason: str) -> Response:
    return Response((Choice(Message(text), reason),))


def test_a_model_that_stopped_at_its_limit_says_so() -> None:
    assert isinstance(reply_texts(response("a", "length"))[0], CutText)
    assert type(reply_texts(response("a", "stop"))[0]) is str


@pytest.mark.parametrize(
    ("message", "reason", "fault"),
    [
        (Message("", refusal="I may not."), "stop", "the model refused: I may not."),
        (Message("", tool_calls=({"id": "1"},)), "tool_calls", "the model called a tool and said nothing"),
        (Message(""), "content_filter", "a content filter cut the reply off"),
        (Message("prompt0: Say hola\n"), "content_filter", "a content filter cut the reply off"),
        (Message(""), "length", "cut off at the limit of tokens"),
        (Message(""), "stop", "the reply is empty"),
    ],
)
def test_why_a_reply_holds_nothing_is_said(message: Message, reason: str, fault: str) -> None:
    [text] = reply_texts(Response((Choice(message, reason),)))
    found = read_reply(text, PROBLEM)
    assert not found.values and fault in str(found.fault)
    assert fault in str(read_reply(copy.copy(text), PROBLEM).fault)


def test_the_parts_of_a_content_are_joined() -> None:
    parts: Any = [{"type": "text", "text": "prompt0: Say "}, {"type": "image"}, {"type": "text", "text": "hola"}]
    [text] = reply_texts(Response((Choice(Message(parts), "stop"),)))
    assert dict(read_reply(text, PROBLEM).values) == {"prompt0": "Say hola"}


def test_a_cut_reply_is_asked_for_again_with_the_reason() -> None:
    GRAPH.clear()
    prompt = node("Say hello", name="prompt", trainable=True)
    llm = ScriptedLLM([response("prompt0: Say ho", "length"), response("prompt0: Say hola", "stop")])
    optimizer = OptoPrime([prompt], llm=llm)
    optimizer.backward(prompt + "!", "in Spanish")
    assert optimizer.step() == {prompt: "Say hola"}
    assert "cut off inside the value of prompt0" in llm.calls[1]["messages"][-1]["content"]
