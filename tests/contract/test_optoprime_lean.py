"""What `OptoPrime` adds to the classic one: lean prompts, checked replies, steps that explain themselves."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from opto.events import listen
from opto.optimizers import OptoPrime, OptoPrimeV1, OptoPrimeV2
from opto.optimizers.optimizer import StepDone
from opto.trace import bundle, node


def suggest(**values: Any) -> dict[str, Any]:
    return {"reasoning": "r", "suggestion": values}


CODE = 'def fn(q):\n    """Change q."""\n    return q + 1'


def program(scripted: Any, *replies: Any, **options: Any) -> Any:
    @bundle(trainable=True)
    def fn(q):
        """Change q."""
        return q + 1

    fn.parameter._data = CODE
    x = node(1, name="x", trainable=True, description="whole numbers")
    llm, calls = scripted(*(replies or (suggest(x0=2),)))
    o = OptoPrime([x, fn.parameter], llm=llm, **options)
    o.backward(fn(x) * 2, "too small")
    return o, calls, x, fn


def prompt(calls: Any, k: int = 0) -> str:
    return "\n".join(m["content"] for m in calls[k]["messages"])


# --- the prompt -----------------------------------------------------------------------------------------------------


def test_lean_is_shorter(scripted: Any) -> None:
    texts = {}
    for kind in (OptoPrime, OptoPrimeV1, OptoPrimeV2):
        o, *_ = program(scripted)
        other = kind(o.parameters, llm=o.llm)
        texts[kind] = sum(len(t) for t in other.construct_prompt(other.summarize()))
    assert texts[OptoPrime] < 0.6 * texts[OptoPrimeV1] and texts[OptoPrime] < 0.6 * texts[OptoPrimeV2]


def test_what_it_shows(scripted: Any) -> None:
    o, calls, *_ = program(scripted)
    o.step()
    text = prompt(calls)
    assert "x0" in text and "whole numbers" in text and "return q + 1" in text and "too small" in text
    line = next(line for line in text.splitlines() if line.startswith("eval0"))
    assert "2" in line and "x0" in line
    assert "#Documentation" not in text and "====" not in text


def test_long_values_are_cut_in_the_middle(scripted: Any) -> None:
    @bundle()
    def look(a, text):
        """Look."""
        return text + "!"

    p = node(1, name="p", trainable=True)
    llm, calls = scripted(suggest(p0=2))
    o = OptoPrime([p], llm=llm)
    o.backward(look(p, node("A" * 3000 + "MIDDLE" + "Z" * 3000)), "no")
    o.step()
    text = prompt(calls)
    assert "AAAA" in text and "ZZZZ" in text and "MIDDLE" not in text and len(text) < 6000


def test_repeated_calls_are_folded(scripted: Any) -> None:
    p = node(0, name="p", trainable=True)
    y: Any = p
    for _ in range(300):
        y = y + 1
    llm, calls = scripted(suggest(p0=2))
    o = OptoPrime([p], llm=llm)
    o.backward(y, "no")
    o.step()
    text = prompt(calls)
    assert len(text) < 4000 and "300" in text


def test_budget(scripted: Any) -> None:
    @bundle()
    def mix(a, b):
        """Mix two texts."""
        return f"{a[:40]}/{b[:40]}"

    p = node("start", name="p", trainable=True, description="keep this constraint")
    y: Any = p
    for k in range(60):
        y = mix(y, node(f"{k} " + chr(97 + k % 26) * 400, name="k"))
    lengths = {}
    for budget in (500, 1500, 8000):
        llm, calls = scripted(suggest(p0="x"))
        o = OptoPrime([p], llm=llm, max_prompt_tokens=budget)
        p.zero_feedback()
        o.backward(y, "the feedback stays", retain_graph=True)
        o.step(bypassing=True)
        text = prompt(calls)
        lengths[budget] = len(text)
        assert len(text) <= budget * 4.5
        assert "the feedback stays" in text and "p0" in text and "keep this constraint" in text
    assert lengths[500] < lengths[1500]


@pytest.mark.parametrize(
    "options",
    [
        {"json_keys": {"reasoning": "why", "answer": None, "suggestion": "todo"}},
        {"prompt_symbols": {"inputs": "#Given"}},
        {"highlight_variables": True},
        {"include_example": True},
    ],
    ids=lambda o: next(iter(o)),
)
def test_classic_options_bring_the_classic_format(options: Any, scripted: Any) -> None:
    o, calls, *_ = program(scripted, **options)
    o.step()
    assert "#Variables" in prompt(calls) and "#Documentation" in prompt(calls) and "(int) x0=1" in prompt(calls)


def test_mask_brings_the_classic_format(scripted: Any) -> None:
    o, calls, *_ = program(scripted)
    o.step(mask=["#Feedback"])
    assert "#Variables" in prompt(calls) and "too small" not in prompt(calls)


def test_attributes_of_the_first_format(scripted: Any) -> None:
    o, *_ = program(scripted)
    names = (
        "objective default_objective log summary_log memory max_tokens parameters prompt_symbols llm include_example"
        " default_prompt_symbols use_json_object_format ignore_extraction_error representation_prompt"
        " output_format_prompt user_prompt_template final_prompt summarize problem_instance construct_prompt"
        " extract_llm_suggestion construct_update_dict call_llm propose project update step backward zero_feedback"
        " trace_graph propagator save load"
    )
    assert not [name for name in names.split() if not hasattr(o, name)]


# --- replies --------------------------------------------------------------------------------------------------------

REFUSED = {
    "another name": "def other(q):\n    return 1",
    "another signature": "def fn(q, r):\n    return 1",
    "syntax": "def fn(q:\n    return 1",
    "prose": "I would return one.",
    "a coroutine": "async def fn(q):\n    return 1",
    "a class": "class fn:\n    pass",
    "no function": "fn = 3",
}


@pytest.mark.parametrize("case", REFUSED)
def test_code_is_checked(case: str, scripted: Any) -> None:
    o, calls, _, fn = program(scripted)
    name = fn.parameter.py_name
    o.llm, calls = scripted(suggest(**{name: REFUSED[case]}))
    out = o.step()
    assert out == {} and fn.parameter.data == CODE and out.reason and name in out.reason
    assert len(calls) == 2 and calls[1]["messages"][-1]["role"] == "user"  # one targeted re-ask


@pytest.mark.parametrize(
    "text",
    [
        "def helper(a):\n    return a\n\ndef fn(q):\n    return helper(q)",
        "import math\n\ndef fn(q):\n    return math.floor(q)",
        "def fn(q) -> int:\n    return q",
        "def fn(q: int):\n    return q",
    ],
)
def test_good_code_is_believed(text: str, scripted: Any) -> None:
    o, _, _, fn = program(scripted)
    o.llm, calls = scripted(suggest(**{fn.parameter.py_name: text}))
    o.step()
    assert fn(3).data == 3 and len(calls) == 1


def test_a_fence_inside_a_value_is_taken_off(scripted: Any) -> None:
    o, _, _, fn = program(scripted)
    o.llm, _ = scripted(suggest(**{fn.parameter.py_name: "```python\ndef fn(q):\n    return 7\n```"}))
    o.step()
    assert fn(3).data == 7


@pytest.mark.parametrize("value", ["abc", None, [1], {"a": 1}, ""])
def test_numbers_must_convert(value: Any, scripted: Any) -> None:
    o, _, x, _ = program(scripted, suggest(x0=value))
    out = o.step()
    assert out == {} and x.data == 1 and "x0" in out.reason


def test_one_refused_part_does_not_stop_the_others(scripted: Any) -> None:
    o, _, x, fn = program(scripted)
    o.llm, _ = scripted(suggest(x0=5, **{fn.parameter.py_name: "nonsense ("}))
    out = o.step()
    assert x.data == 5 and fn.parameter.data == CODE and fn.parameter.py_name in out.refused


def test_the_second_reply_counts(scripted: Any) -> None:
    o, calls, x, _ = program(scripted, "I am not sure.", suggest(x0=9))
    o.step()
    assert x.data == 9 and len(calls) == 2
    assert [m["role"] for m in calls[1]["messages"]][-2:] == ["assistant", "user"]


# --- a step says what it did ----------------------------------------------------------------------------------------

SILENT = {
    "garbage": "I would rather not.",
    "empty": "",
    "stop": "TERMINATE",
    "unknown": suggest(nobody=3),
    "the same": suggest(x0=1),
    "nothing": suggest(),
}


@pytest.mark.parametrize("case", SILENT)
def test_no_change_is_never_silent(case: str, scripted: Any, caplog: Any) -> None:
    o, _, x, _ = program(scripted, SILENT[case])
    seen: list[Any] = []
    with caplog.at_level(logging.INFO, logger="opto"), listen(seen.append):
        out = o.step()
    done = [e for e in seen if isinstance(e, StepDone)]
    assert x.data == 1 and len(done) == 1 and done[0].changed == () and done[0].reason
    assert out.reason == done[0].reason
    assert any(done[0].reason in r.getMessage() for r in caplog.records)


def test_a_change_is_told(scripted: Any) -> None:
    o, *_ = program(scripted, suggest(x0=4))
    seen: list[Any] = []
    with listen(seen.append):
        out = o.step()
    (done,) = [e for e in seen if isinstance(e, StepDone)]
    assert done.changed == ("x0",) and done.reason is None and out.reason is None and done.calls == 1


# --- candidates -----------------------------------------------------------------------------------------------------


def test_propose_many(scripted: Any) -> None:
    o, calls, x, _ = program(scripted, suggest(x0=4), suggest(x0=5), "junk")
    out = o.propose_many(3, temperatures=[0.4, 0.7, 0.9])
    assert [u.get(x) for u in out] == [4, 5, None] and x.data == 1
    assert [c["temperature"] for c in calls[:3]] == [0.4, 0.7, 0.9]
    assert len({prompt(calls, k) for k in range(3)}) == 1  # one prompt for all
