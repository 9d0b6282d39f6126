"""Texts made of nodes: what f-strings and t-strings hand over to traced calls."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import gc
import logging
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import ref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opto.trace import Module, bundle, node, operators, stop_tracing
from opto.trace.formatted import memory as remembered
from opto.trace.nodes import MessageNode
from opto.trace.replay import replay


@pytest.fixture(autouse=True)
def own_context() -> Iterator[None]:
    """Each test begins with nothing remembered."""
    before = remembered._MEMORY.set(None)
    remembered._PARAMETERS.clear()
    yield
    remembered._MEMORY.reset(before)


@bundle()
def ask(prompt: Any, question: Any = "Why?") -> str:
    """Ask."""
    return f"{prompt}|{question}"


class Teacher(Module):
    def __init__(self) -> None:
        self.prompt = node("Be brief", name="prompt", trainable=True)

    def forward(self, question: str) -> Any:
        return ask(f"{self.prompt}.", question)


def parameter(value: Any, name: str = "p") -> Any:
    return node(value, name=name, trainable=True)


def sources(output: Any, argument: str = "prompt") -> list[Any]:
    """The nodes in the text that `output` got."""
    link = output.inputs[argument]
    return [n for key, n in link.inputs.items() if key != "x"] if isinstance(link, MessageNode) else []


WORDS = st.text(st.sampled_from("ab{}. \n1"), max_size=12)


@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=4))
def test_law_the_call_gets_the_plain_text_and_every_node_used_is_an_input(parts: list[tuple[str, str]]) -> None:
    def run() -> None:
        nodes = [parameter(value) for _, value in parts]
        text = "".join(f"{before}{n}" for (before, _), n in zip(parts, nodes, strict=True))
        output = ask(text)
        assert output.data == "".join(a + b for a, b in parts) + "|Why?"
        used = {id(n) for n in sources(output)}
        assert used == {id(n) for n in nodes}

    contextvars.Context().run(run)


@given(st.text(max_size=30), st.sampled_from(["", ">12", "<8", "^9", ".3"]), st.text(max_size=10))
def test_law_the_template_filled_in_again_is_the_text(value: str, spec: str, after: str) -> None:
    def run() -> None:
        p = parameter(value)
        output = ask(f"{p:{spec}}{after}")
        link = output.inputs["prompt"]
        fields = {key: n.data for key, n in link.inputs.items() if key != "x"}
        if format(value, spec):
            assert link.inputs["x"].data.format(**fields) == link.data == f"{value:{spec}}{after}"

    contextvars.Context().run(run)


def test_the_longest_text_wins_and_the_others_find_what_is_left() -> None:
    p, q = parameter("Be brief"), parameter("Be brief and kind", "q")
    output = ask(f"{q}. {p}.")
    assert output.inputs["prompt"].inputs["x"].data == f"{{{q.py_name}}}. {{{p.py_name}}}."


def test_of_equal_texts_those_just_formatted_are_all_linked_and_later_the_latest() -> None:
    p, q = parameter("Be brief"), parameter("Be brief", "q")
    text = f"{p}, {q}."
    assert [n is s for n, s in zip((p, q), sources(ask(text)), strict=True)] == [True, True]
    f"{p}"
    assert sources(ask(text))[0] is p and len(sources(ask(text))) == 1


def test_a_node_that_was_formatted_with_a_new_value_is_not_found_by_the_old_one() -> None:
    p = parameter("Be brief please")
    old = f"{p}."
    p._set("Be long")
    f"{p}"
    remembered._PARAMETERS.clear()
    assert not sources(ask(old))


def test_lists_and_dicts_become_one_node_and_keep_their_identity() -> None:
    p = parameter("Be brief")
    messages = [{"role": "system", "content": f"{p}."}, {"role": "user", "content": "hi"}]

    @bundle()
    def same(given: Any) -> Any:
        """Whether it is the very list."""
        return given is messages

    output = same(messages)
    link = output.inputs["given"]
    assert output.data is True and link.op_name == "format"
    assert link.inputs["x"].data[0]["content"] == f"{{{p.py_name}}}."


def test_a_linked_text_is_computed_again_from_another_value() -> None:
    p = parameter("Be brief")
    texts = operators.concat(f"{p:>10}.", "!")
    messages = operators.make_list(operators.getitem([{"content": f"{p}."}], 0))
    assert replay(texts, {p: "Be long"}) == "   Be long.!"
    assert replay(messages, {p: "Be long"}) == [{"content": "Be long."}]


def test_operators_take_texts_too() -> None:
    p, x = parameter("Be brief"), node("Now. ")
    for output in (x + f"{p}!", f"{p}! " + x, operators.concat(f"{p}", x), x.replace("Now", f"{p}"), x.join([f"{p}"])):
        output.backward("no")
        assert p.feedback
        p.zero_feedback()


def test_lines_and_quotations_of_a_long_text_are_found() -> None:
    p = parameter("You are a careful helper.\n  Be brief.\nBe kind.")
    quoted = textwrap.indent(textwrap.dedent(f"{p}"), "> ")
    for text in (quoted, f"{p}".splitlines()[0], " ".join(f"{p}".split()), f"{p}".upper(), textwrap.fill(f"{p}", 12)):
        assert sources(ask(text)) == [p]


def test_a_short_text_is_linked_in_the_next_call_only() -> None:
    p = parameter("1")
    assert sources(ask(f"Take {p}.")) == [p]
    assert not sources(ask("Take 1."))
    f"{p}"
    node("2") + "3"
    assert not sources(ask("Take 1."))


def test_an_empty_parameter_gets_feedback() -> None:
    p = parameter("")
    ask(f"{p}\nQuestion").backward("write something")
    assert p.feedback


def test_nothing_is_remembered_or_linked_while_tracing_is_stopped() -> None:
    p = parameter("Be brief and kind")
    with stop_tracing():
        text = f"{p}."
    assert not sources(ask(text)) and text == "Be brief and kind."
    text = f"{p}."
    with stop_tracing():
        assert ask(text).parents == [] and operators.concat(text, "!").parents == []


def test_tasks_see_what_their_parent_formatted_and_not_each_other() -> None:
    p = parameter("Be brief and kind")

    async def run(value: str, text: str) -> Any:
        x = node(value, name="x") + ""
        mine = f"{x}"
        await asyncio.sleep(0)
        return sources(ask(f"{text} {mine}")), p, x

    async def main() -> list[Any]:
        text = f"{p}:"
        return await asyncio.gather(*(run("the same answer", text) for _ in range(3)))

    for found, *expected in asyncio.run(main()):
        assert {id(n) for n in found} == {id(n) for n in expected}


def test_a_parameters_text_from_another_thread_is_found_and_that_of_other_nodes_is_not() -> None:
    p, x = parameter("Be brief and kind"), node("Some other long text")
    with ThreadPoolExecutor(1) as pool:
        text, other = pool.submit(lambda: f"{p}.").result(), pool.submit(lambda: f"{x}.").result()
    assert sources(ask(text)) == [p] and not sources(ask(other))


def test_memory_is_bounded_and_let_go_after_feedback() -> None:
    for i in range(1_000):
        f"{node(i)} and more"
    memory = remembered._MEMORY.get()
    assert memory is not None and len(memory.texts) <= 256
    p = parameter("Be brief")
    output = ask(f"{p + '!'} Now.")
    kept = ref(output.inputs["prompt"].parents[1])
    assert kept() is not None
    output.backward("no")
    del output
    p.zero_feedback()
    gc.collect()
    assert kept() is None


def test_the_warning_names_a_lost_parameter_once_and_no_other(caplog: pytest.LogCaptureFixture) -> None:
    p, q, seen = parameter("Be brief"), parameter("Be kind", "q"), parameter("Be quick", "seen")
    f"for the log only: {seen}"
    text = "".join(reversed(f"{p}"))
    with caplog.at_level(logging.WARNING):
        ask(text, seen + f"{q}").backward("no")
        f"{p}"
        ask(text).backward("no")
    assert [p.name in r.getMessage() for r in caplog.records] == [True]


def test_printed_nodes_are_refused_in_lists_and_operators_and_bundles() -> None:
    p = parameter("Be brief")
    for call in (
        lambda: ask([{"content": f"{p!s}"}]),
        lambda: node("a") + str(p),
        lambda: operators.concat(str(p), ""),
    ):
        with pytest.raises(TypeError, match=r"x\.data"):
            call()
    for text in (f"{p!r}", f"Rules: {[p]}", "%r" % p):  # noqa: UP031
        with pytest.raises(TypeError, match=r"x\.data"):
            ask(text)
    assert ask("ParameterNode: of another kind").data


def test_copies_and_pickles_of_linked_texts() -> None:
    p = parameter("Be brief")
    link = ask(f"{p}.").inputs["prompt"]
    assert copy.deepcopy(link).data == pickle.loads(pickle.dumps(link)).data == "Be brief."
    assert copy.deepcopy(p).data == "Be brief" and repr(p).startswith("<ParameterNode p:")


def test_reading_in_a_body_counts_as_a_use() -> None:
    p = parameter("Be brief")

    @bundle(allow_external_dependencies=True)
    def body(question: str) -> str:
        """Ask."""
        return f"{p}|{question}"

    output = body("Why?")
    assert output.data == "Be brief|Why?" and p in output.info["external_dependencies"]


def test_an_exported_agent_with_f_strings_runs(tmp_path: Path) -> None:
    agent = Teacher()
    output = agent("Why?")
    assert output.data == "Be brief.|Why?" and sources(output) == [agent.prompt]
    agent.export(str(tmp_path / "teacher.py"))
    program = "from teacher import Teacher; print(Teacher()('Why?'))"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "Be brief.|Why?\n"


# --- t-strings, by a class of the same shape: Python 3.14 brings its own ---------------------------


@dataclass(frozen=True)
class Interpolation:
    value: Any
    expression: str = ""
    conversion: str | None = None
    format_spec: str = ""


class Template:
    def __init__(self, *parts: Any) -> None:
        self.parts = parts

    def __iter__(self) -> Iterator[Any]:
        return iter(self.parts)


@pytest.fixture
def templates() -> Iterator[None]:
    remembered.ACTIVE.append(True)
    remembered.TEMPLATES.add(Template)
    remembered.LINKABLE.add(Template)
    yield
    remembered.TEMPLATES.discard(Template)
    remembered.LINKABLE.discard(Template)


@pytest.mark.usefixtures("templates")
def test_a_template_is_linked_exactly() -> None:
    p, n = parameter("Be {brief}"), parameter(0.5, "n")
    text = Template("{", Interpolation(p), "} ", Interpolation(n, "n", None, ".0%"), Interpolation(3, "3", "r"), "!")
    output = ask(text)
    assert output.data == "{Be {brief}} 50%3!|Why?" and sources(output) == [p, n]
    link = output.inputs["prompt"]
    assert link.inputs["x"].data == f"{{{{{{{p.py_name}}}}}}} {{{n.py_name}:.0%}}3!"


@pytest.mark.usefixtures("templates")
def test_templates_nest_and_stand_in_messages_and_run_without_the_tape() -> None:
    p = parameter("Be brief")
    inner = Template("<", Interpolation(p), ">")
    nested = Template(Interpolation(inner), ".")
    assert sources(ask(nested)) == [p] and ask(nested).data == "<Be brief>.|Why?"
    assert ask([{"content": nested}]).data == "[{'content': '<Be brief>.'}]|Why?"
    assert operators.concat(nested, "!").data == "<Be brief>.!"
    with stop_tracing():
        assert ask(nested).data == "<Be brief>.|Why?" and operators.concat(nested, "!").data == "<Be brief>.!"
