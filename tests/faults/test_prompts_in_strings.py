"""Kind 17: the ways in which people build prompts. The right text reaches the model, and feedback the parameter."""

from __future__ import annotations

import string
import sys
import textwrap
from collections.abc import Callable
from typing import Any

import pytest
from fault_cases import case

from opto.errors import OptoError
from opto.llm import DummyLLM
from opto.trace import bundle, model, node, operators

P = "Be brief"
LONG = "You are a helper.\nBe brief."


def heard() -> tuple[Any, list[str]]:
    """A model, and all that it hears."""
    texts: list[str] = []

    def answer(messages: Any, **options: Any) -> str:
        texts.extend(message["content"] for message in messages)
        return "Fine."

    return DummyLLM(answer), texts


def appended(p: Any) -> str:
    prompt = f"{p}."
    prompt += " Now."
    return prompt


def in_lines(p: Any) -> str:
    lines = [f"System: {p}", "", "User: hello"]
    lines.append("Assistant:")
    return "\n".join(lines)


def written(p: Any) -> str:
    import io

    out = io.StringIO()
    out.write(f"{p}!")
    return out.getvalue()


def chat(p: Any) -> str:
    history = [{"role": "system", "content": f"{p}."}, {"role": "user", "content": "hi"}]
    return "\n".join(f"{m['role']}: {m['content']}" for m in history)


Build = Callable[[Any], Any]
WAYS: list[Any] = [
    case("f-string", lambda p: f"{p}. Answer in French.", "Be brief. Answer in French."),
    case("f-string in the middle", lambda p: f"Rule: {p}!", "Rule: Be brief!"),
    case("f-string alone", lambda p: f"{p}", "Be brief"),
    case("f-string twice", lambda p: f"{p}, {p}.", "Be brief, Be brief."),
    case("nested f-strings", lambda p: f"<{f'[{p}]'}>", "<[Be brief]>"),
    case("f-string of several lines", lambda p: f"""Rules:\n- {p}\n- be kind""", "Rules:\n- Be brief\n- be kind"),
    case("two f-strings", lambda p: f"{p}. " + f"{'Be'} kind.", "Be brief. Be kind."),
    case("width", lambda p: f"[{p:>10}]", "[  Be brief]"),
    case("width to the left", lambda p: f"[{p:<10}]", "[Be brief  ]"),
    case("centred with a fill", lambda p: f"{p:*^12}", "**Be brief**"),
    case("nested width", lambda p: f"[{p:>{10}}]", "[  Be brief]"),
    case("cut", lambda p: f"{p:.5}.", "Be br."),
    case("format()", lambda p: format(p) + ".", "Be brief."),
    case("str.format", lambda p: "{}. Now.".format(p), "Be brief. Now."),  # noqa: UP032
    case("str.format by name", lambda p: "{rule}. Now.".format(rule=p), "Be brief. Now."),  # noqa: UP032
    case("str.format twice", lambda p: "{0}, {0}.".format(p), "Be brief, Be brief."),  # noqa: UP032
    case("str.format with a width", lambda p: "[{:>10}]".format(p), "[  Be brief]"),  # noqa: UP032
    case("format_map", lambda p: "{rule}!".format_map({"rule": p}), "Be brief!"),
    case("node.format", lambda p: node("{}. Now.").format(p), "Be brief. Now."),
    case("+ on the right", lambda p: p + ". Now.", "Be brief. Now."),
    case("+ on the left", lambda p: "Rule: " + p, "Rule: Be brief"),
    case("+ of f-strings", lambda p: f"{p}." + " Now.", "Be brief. Now."),
    case("+=", appended, "Be brief. Now."),
    case("join of f-strings", lambda p: "\n".join(["Rules:", f"- {p}"]), "Rules:\n- Be brief"),
    case("join of a generator", lambda p: ", ".join(f"{x}" for x in (p, "be kind")), "Be brief, be kind"),
    case("list of lines", in_lines, "System: Be brief\n\nUser: hello\nAssistant:"),
    case("StringIO", written, "Be brief!"),
    case("dedent", lambda p: textwrap.dedent(f"""
        Rules:
          {p}
        """), "\nRules:\n  Be brief\n"),
    case("indent", lambda p: textwrap.indent(f"{p}.\nNow.", "  "), "  Be brief.\n  Now."),
    case("fill", lambda p: textwrap.fill(f"{p}. Then answer.", 14), "Be brief. Then\nanswer."),
    case("strip", lambda p: f"  {p}.  ".strip(), "Be brief."),
    case("replace", lambda p: f"{p}. $LANG".replace("$LANG", "French"), "Be brief. French"),
    case("placeholder replaced", lambda p: "$RULE. Now.".replace("$RULE", f"{p}"), "Be brief. Now."),
    case("split and joined", lambda p: " | ".join(f"{p}.\nNow.".splitlines()), "Be brief. | Now."),
    case("part of split lines", lambda p: f"# Rules\n{p}.\n# End".split("\n")[1], "Be brief."),
    case("upper", lambda p: f"{p}. now".upper(), "BE BRIEF. NOW"),
    case("traced upper", lambda p: p.upper() + ".", "BE BRIEF."),
    case("title", lambda p: f"{p}.".title(), "Be Brief."),
    case("sliced", lambda p: f"{p}. Now."[:9], "Be brief."),
    case("repeated", lambda p: f"{p}. " * 2, "Be brief. Be brief. "),
    case("removeprefix", lambda p: f"# {p}".removeprefix("# "), "Be brief"),
    case("conditional", lambda p: f"{p}." + (" In French." if len(f"{p}") > 3 else ""), "Be brief. In French."),
    case("dict of messages", chat, "system: Be brief.\nuser: hi"),
    case("string.Template", lambda p: string.Template("$rule. Now.").substitute(rule=f"{p}"), "Be brief. Now."),
    case("braces of JSON", lambda p: f'{p}. Reply {{"a": 1}}.', 'Be brief. Reply {"a": 1}.'),
    case("with a question", lambda p: f"{p}\n\nQuestion: {node('Why?')}", "Be brief\n\nQuestion: Why?"),
    case("after a traced step", lambda p: f"{p + '!'} Now.", "Be brief! Now."),
]  # fmt: skip


@pytest.mark.parametrize(("build", "text"), WAYS)
def test_kind_17_the_text_reaches_the_model_and_feedback_the_parameter(build: Build, text: str) -> None:
    p = node(P, name="p", trainable=True)
    llm, texts = heard()
    answer = operators.call_llm(llm, build(p), "Why?")
    assert texts == [text, "Why?"]
    answer.backward("too long")
    assert p.feedback


@bundle()
def ask(prompt: str, question: str) -> str:
    """Ask."""
    return f"{prompt}|{question}"


BUNDLED = [
    case("bundled, f-string", lambda p: ask(f"{p}. Now.", "Why?"), "Be brief. Now.|Why?"),
    case("bundled, by name", lambda p: ask(prompt=f"{p}.", question="Why?"), "Be brief.|Why?"),
    case("bundled, +", lambda p: ask("Rule: " + f"{p}", "Why?"), "Rule: Be brief|Why?"),
    case("bundled, second argument", lambda p: ask("A", f"{p}?"), "A|Be brief?"),
    case("bundled, dedent", lambda p: ask(textwrap.dedent(f"  {p}."), "Why?"), "Be brief.|Why?"),
    case("bundled, node", lambda p: ask(p, "Why?"), "Be brief|Why?"),
]


@pytest.mark.parametrize(("call", "text"), BUNDLED)
def test_kind_17_a_bundled_call_is_linked_too(call: Build, text: str) -> None:
    p = node(P, name="p", trainable=True)
    output = call(p)
    assert output.data == text
    output.backward("too long")
    assert p.feedback


@bundle()
def talk(messages: Any) -> str:
    """The texts of a chat."""
    texts = [m["content"] if isinstance(m, dict) else m[-1] if isinstance(m, tuple) else m for m in messages]
    return "|".join(texts)


@pytest.mark.parametrize(
    "build",
    [
        case(
            "list of messages",
            lambda p: [{"role": "system", "content": f"{p}."}, {"role": "user", "content": "hi"}],
        ),
        case("list of texts", lambda p: [f"{p}.", "hi"]),
        case("tuple of texts", lambda p: (f"{p}.", "hi")),
        case("list of tuples", lambda p: [("system", f"{p}."), ("user", "hi")]),
        case("appended later", lambda p: [*[f"{p}."], "hi"]),
        case("dict of texts", lambda p: {"a": {"content": f"{p}."}, "b": {"content": "hi"}}.values()),
    ],
)
def test_kind_17_texts_within_other_values_are_linked(build: Build) -> None:
    p = node(P, name="p", trainable=True)
    output = talk(list(build(p)) if not isinstance(build(p), tuple) else build(p))
    assert output.data == "Be brief.|hi"
    output.backward("too long")
    assert p.feedback


@pytest.mark.parametrize(
    "build",
    [
        case("%s", lambda p: "%s. Now." % p),  # noqa: UP031
        case("%s with another", lambda p: "%s, %s." % (p, "now")),  # noqa: UP031
        case("%(name)s", lambda p: "%(rule)s." % {"rule": p}),  # noqa: UP031
        case("%r", lambda p: "%r." % str(p)),  # noqa: UP031
        case("str()", lambda p: str(p) + "."),
        case("!s of the node", lambda p: f"{p!s}."),
        case("join of str", lambda p: ", ".join(map(str, [p, "now"]))),
        case("Template of the node", lambda p: string.Template("$rule.").substitute(rule=p)),
        case("print into a text", lambda p: textwrap.dedent(f"  {p!s}.")),
    ],
)
def test_kind_17_a_printed_node_is_refused_with_what_to_write(build: Build) -> None:
    p = node(P, name="p", trainable=True)
    llm, texts = heard()
    with pytest.raises((OptoError, TypeError, ValueError), match=r'f"|\.data'):
        operators.call_llm(llm, build(p), "Why?")
    with pytest.raises((OptoError, TypeError, ValueError), match=r'f"|\.data'):
        ask(build(p), "Why?")
    assert not texts


def test_kind_17_jinja() -> None:
    jinja2 = pytest.importorskip("jinja2")
    p = node(P, name="p", trainable=True)
    llm, texts = heard()
    prompt = jinja2.Template("{{ rule }}. {% if now %}Now.{% endif %}").render(rule=f"{p}", now=True)
    answer = operators.call_llm(llm, prompt, "Why?")
    answer.backward("too long")
    assert texts[0] == "Be brief. Now." and p.feedback


@pytest.mark.skipif(sys.version_info < (3, 14), reason="t-strings came with Python 3.14")
def test_kind_17_template_strings() -> None:
    p = node(P, name="p", trainable=True)
    llm, texts = heard()
    answer = operators.call_llm(llm, eval('t"{p}. Now."', {"p": p}), "Why?")
    answer.backward("too long")
    assert texts[0] == "Be brief. Now." and p.feedback


def test_kind_17_the_link_is_a_format_operation_with_a_template() -> None:
    p = node(P, name="p", trainable=True)
    output = ask(f"Rule: {p}.", "Why?")
    link = output.inputs["prompt"]
    assert link.op_name == "format" and p in list(link.inputs.values()) and "Rule: " in str(link.description)


def test_kind_17_two_parameters_keep_their_places() -> None:
    p, q = node(P, name="p", trainable=True), node("Be kind", name="q", trainable=True)
    ask(f"{p}. {q}.", "Why?").backward("no")
    assert p.feedback and q.feedback


def test_kind_17_another_parameter_is_not_linked() -> None:
    p, q = node(P, name="p", trainable=True), node("Be kind", name="q", trainable=True)
    f"{q}"
    ask(f"{p}.", "Why?").backward("no")
    assert p.feedback and not q.feedback


@pytest.mark.parametrize("short", [case("one digit", "1"), case("one letter", "a"), case("empty", "")])
def test_kind_17_a_short_text_links_only_where_it_was_just_formatted(short: str) -> None:
    p = node(short, name="p", trainable=True)
    ask(f"{p}.", "Why?")
    later = ask("1 a banana", "Why?")
    later.backward("no")
    assert not p.feedback


def test_kind_17_a_short_text_is_linked_where_it_was_formatted() -> None:
    p = node("1", name="p", trainable=True)
    ask(f"Take {p} apple.", "Why?").backward("no")
    assert p.feedback


def test_kind_17_a_number_in_a_prompt_is_linked() -> None:
    p = node(0.25, name="p", trainable=True)
    output = ask(f"Share {p:.1%} of it.", "Why?")
    assert output.data.startswith("Share 25.0% of it.")
    output.backward("no")
    assert p.feedback


def test_kind_17_a_method_of_a_model_may_use_an_f_string() -> None:
    @model
    class Agent:
        def __init__(self) -> None:
            self.prompt = node(P, trainable=True)

        def __call__(self, question: str) -> Any:
            return ask(f"{self.prompt}.", question)

    agent: Any = Agent()
    output = agent("Why?")
    output.backward("no")
    assert output.data == "Be brief.|Why?" and agent.prompt.feedback


def test_kind_17_a_text_that_was_never_found_again_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    p = node(P, name="p", trainable=True)
    output = ask(f"{p}."[::-1], "Why?")
    output.backward("no")
    ask(f"{p}."[::-1], "Why?").backward("no")
    said = [record for record in caplog.records if "p" in record.getMessage() and record.levelname == "WARNING"]
    assert len(said) == 1


def test_kind_17_the_contract_of_str_stays() -> None:
    p = node(P, name="p", trainable=True)
    assert str(p).startswith("ParameterNode: (p:0, dtype=")
