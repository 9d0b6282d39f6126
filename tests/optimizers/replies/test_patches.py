"""Edits as patches: what a diff says comes out, misquoted ones are repaired or refused, none is half made."""

from __future__ import annotations

import difflib
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from opto.errors import ReplyError
from opto.llm.fakes import ScriptedLLM
from opto.optimizers import OptoPrime, OptoPrimeV1, OptoPrimeV2, TextGrad
from opto.optimizers.formats.texts import prompt_text
from opto.optimizers.problem.problem import Part, Problem
from opto.optimizers.replies.patches import Edit, apply_patch, as_patch, find_patches
from opto.trace import GRAPH, bundle, node
from opto.trace.spaces import Text

line = st.text(st.sampled_from("ab -+@=<>\\ \t"), max_size=6)
text = st.lists(line, max_size=12).map("\n".join)


def patched(current: str, patch: Any) -> str:
    edits = as_patch(patch)
    assert edits is not None
    return apply_patch(current, edits)


def blocks(*pairs: tuple[str, str]) -> str:
    ended = [(f"{old}\n", f"{new}\n" if new else "") for old, new in pairs]
    return "\n".join(f"<<<<<<< SEARCH\n{old}=======\n{new}>>>>>>> REPLACE" for old, new in ended)


def diff(a: str, b: str, context: int = 3) -> str:
    return "\n".join(difflib.unified_diff(a.split("\n"), b.split("\n"), "a/x", "b/x", lineterm="", n=context))


# --- laws ---


@given(a=text, b=text, context=st.integers(0, 3))
@example(a="-- x\n-- y", b="++ y", context=3)
@example(a="", b="a\n", context=0)
def test_a_diff_turns_one_text_into_the_other(a: str, b: str, context: int) -> None:
    if a != b:
        assert patched(a, diff(a, b, context)) == b


@given(a=text, b=text, noise=st.text(st.sampled_from("xyz\n"), max_size=8))
def test_a_diff_with_wrong_numbers_and_a_fence_still_applies(a: str, b: str, noise: str) -> None:
    a, b = f"start\n{a}\nend", f"start\n{b}\nend"
    if a == b:
        return
    whole = diff(a, b, 99)
    assert patched(a, f"```diff\n{whole}\n```") == b
    assert patched(f"{noise}\n{a}", whole) in (f"{noise}\n{b}", f"{noise}\n{a}".replace(a, b))


@given(a=st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=8, unique=True), at=st.integers(0, 7))
def test_a_block_changes_its_lines_and_no_others(a: list[str], at: int) -> None:
    at = min(at, len(a) - 1)
    expected = [*a[:at], "new 1", "new 2", *a[at + 1 :]]
    assert patched("\n".join(a), blocks((a[at], "new 1\nnew 2"))) == "\n".join(expected)


@given(a=text, b=text, cut=st.integers(0, 400), junk=st.sampled_from(["", "?", "\n?", "\n@@", "\n=======", "\n+q"]))
def test_a_damaged_patch_is_refused_or_changes_what_it_says_and_nothing_else(
    a: str, b: str, cut: int, junk: str
) -> None:
    whole = diff(f"start\n{a}", f"start\n{b}\nadded")
    damaged = whole[:cut] + junk + whole[cut + 1 :]
    try:
        edits = as_patch(damaged)
        found = None if edits is None else apply_patch(f"start\n{a}", edits)
    except ReplyError as error:
        assert str(error)
        return
    if edits is not None and found is not None:
        grown = sum(len(edit.new) - len(edit.old) for edit in edits)
        assert len(found.split("\n")) - len(f"start\n{a}".split("\n")) == grown, "every edit was made, each once"


@given(st.lists(st.sampled_from(["good", "bad"]), min_size=2, max_size=4), st.integers(0, 3))
def test_one_bad_edit_refuses_them_all(kinds: list[str], at: int) -> None:
    current = "a\nb\nc\nd"
    kinds[min(at, len(kinds) - 1)] = "bad"
    pairs = [("abcd"[i], f"new {i}") if kind == "good" else ("absent", "x") for i, kind in enumerate(kinds)]
    with pytest.raises(
        ReplyError, match=f"in edit {kinds.index('bad') + 1}, these lines are not in the text: 'absent'"
    ):
        patched(current, blocks(*pairs))


# --- repairs ---

CODE = "def f(x):\n    if x:\n        return 1\n\n    return 2\n"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("    return 2   ", "    return 3", CODE.replace("return 2", "return 3")),  # blanks at the end
        ("return 2", "return 3", CODE.replace("return 2", "return 3")),  # indentation lost
        ("if x:\n    return 1", "if x:\n    y = 1\n    return y", CODE.replace("return 1", "y = 1\n        return y")),
        ("\n\n    return 2\n\n", "    return 3", CODE.replace("return 2", "return 3")),  # blank lines around
        ("        return  1", "        return 4", CODE.replace("return 1", "return 4")),  # blanks inside
        ("def f(x):\n  if x:", "def f(x):\n  if not x:", CODE.replace("if x", "if not x")),  # another indentation
        ("    if x:\n        return 1\n", "", CODE.replace("    if x:\n        return 1\n\n", "")),  # taken out
        ("return 1\n    return 2", "x", None),
        ("", "x = 1", None),
    ],
)
def test_a_misquoted_search_finds_its_place_or_is_refused(old: str, new: str, expected: str | None) -> None:
    if expected is None:
        with pytest.raises(ReplyError, match="the patch does not apply: in edit 1"):
            patched(CODE, blocks((old, new)))
    else:
        assert patched(CODE, blocks((old, new))) == expected


def test_what_is_there_twice_needs_more_lines_or_a_number() -> None:
    current = "a\nx\nb\nx\nc"
    with pytest.raises(ReplyError, match="are in the text 2 times: quote more lines"):
        patched(current, blocks(("x", "y")))
    assert patched(current, blocks(("x\nc", "y\nc"))) == "a\nx\nb\ny\nc"
    assert patched(current, "@@ -4 +4 @@\n-x\n+y") == "a\nx\nb\ny\nc", "the nearest to the line number"
    assert patched(current, "@@ -1,2 +1,2 @@\n-x\n+y") == "a\ny\nb\nx\nc"
    with pytest.raises(ReplyError, match="is in the text 2 times"):
        patched("one two\nthree two", blocks(("two", "2")))


def test_the_nearest_line_is_named() -> None:
    with pytest.raises(ReplyError, match="the nearest line is 'Answer in one short sentence"):
        patched("Be kind.\nAnswer in one short sentence.", blocks(("Answer in one sentence.", "x")))


def test_words_within_a_line() -> None:
    assert patched("Be kind. Be brief.", blocks(("brief", "short"))) == "Be kind. Be short."
    assert patched("x = 1\nx += 2", blocks(("x += 2", "y = 3"))) == "x = 1\ny = 3"
    for current in ("return xyz", "my_return x", "a\nb"):
        with pytest.raises(ReplyError, match="not in the text"):
            patched(current, blocks(("return x", "return y")))  # no half words


def test_other_spellings() -> None:
    assert patched("a\nb", {"search": "b", "replace": "c\n"}) == "a\nc"
    assert patched("a\nb", [{"search": "b", "replace": "c"}, {"search": "a", "replace": ""}]) == "c"
    assert patched("a", "```\n<<<<<<< ORIGINAL\na\n=====\nb\n>>>>>>> UPDATED\n```\n") == "b"
    assert patched("a\n\nb", "@@ @@\n a\n\n-b\n+c\n\n") == "a\n\nc", "no numbers, a bare blank line, blanks after"
    assert patched("a\nb", "--- x\n+++ x\n@@ -1 +1 @@\n-a\n+c\n--- y\n+++ y\n@@ -2 +2 @@\n-b\n+d") == "c\nd"
    assert patched("", "@@ -0,0 +1,2 @@\n+a\n+b") == "a\nb\n"
    assert patched("", blocks(("", "a"))) == "a"
    assert patched("a", "@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+b") == "b"


@pytest.mark.parametrize(
    "value", ["", "new text", "--- a title\nand text", "a\n@@ b", "<<< x", 3, None, [], ["a"], [{"search": "x"}]]
)
def test_a_new_value_is_no_patch(value: Any) -> None:
    assert as_patch(value) is None


@pytest.mark.parametrize(
    "value", ["<<<<<<< SEARCH\na", "<<<<<<< SEARCH\na\n=======\nb", blocks(("a", "b")) + "\n<<<<<<<"]
)
def test_an_unfinished_block_is_refused(value: str) -> None:
    with pytest.raises(ReplyError, match="is not finished"):
        as_patch(value)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("old\n=======\nnew\n>>>>>>> REPLACE", "no beginning"),
        ("--- a\n+++ b\n-x\n+y", "no hunk"),
        ("I change this:\n<<<<<<< SEARCH\na", "not finished"),
        ("@@ -1 +1 @@\n-absent\n+y", "not in the text"),
        (f"@@ -{'9' * 5_000} +1 @@\n-absent\n+y", "not in the text"),
    ],
)
def test_the_remains_of_a_patch_are_no_new_text(value: str, why: str) -> None:
    with pytest.raises(ReplyError, match=why):
        patched("a\nb", value)
    assert patched("a\nb", "I change this:\n" + blocks(("a", "c")) + "\nThat is all.") == "c\nb"


def test_a_text_about_patches_may_be_written_anew() -> None:
    GRAPH.clear()
    about = node("Reply so:\n<<<<<<< SEARCH", name="about", trainable=True)
    new = "Reply in this way:\n<<<<<<< SEARCH"
    optimizer = OptoPrimeV1([about], llm=ScriptedLLM([json.dumps({"suggestion": {"about0": new}})]))
    optimizer.backward(about + ".", "say it better")
    assert optimizer.step() == {about: new}


# --- replies ---

PROBLEM = Problem((Part("prompt0", "Be kind.\nBe brief."), Part("__code0", CODE, is_code=True), Part("x0", 1)))


@pytest.mark.parametrize(
    ("reply", "names"),
    [
        (f"Change prompt0:\n```\n{blocks(('Be brief.', 'Be short.'))}\n```\nDone.", ["prompt0"]),
        (f"Here it is.\n{blocks(('    return 2', '    return 3'))}", ["__code0"]),
        ("```diff\n--- a/__code0\n+++ b/__code0\n@@ -5 +5 @@\n-    return 2\n+    return 3\n```", ["__code0"]),
        (blocks(("Be kind.", "x"), ("return 2", "y")), ["__code0", "prompt0"]),
        (f"prompt0\n{blocks(('Be kind.', 'x'))}\n{blocks(('Be brief.', 'y'))}", ["prompt0"]),
        (blocks(("nowhere", "x")), []),
        ("no patch at all", []),
    ],
)
def test_patches_in_a_reply_find_their_part(reply: str, names: list[str]) -> None:
    values, fault = find_patches(reply, PROBLEM)
    assert sorted(values) == names
    for name, patch in values.items():
        part = PROBLEM.part(name)
        assert part is not None and patched(part.value, patch) != part.value
    assert (fault is None) == (bool(names) or "no patch" in reply)


def test_a_patch_that_fits_two_parts_must_name_one() -> None:
    twins = Problem((Part("a0", "same"), Part("b0", "same")))
    values, fault = find_patches(blocks(("same", "x")), twins)
    assert not values and fault is not None and "fits several parts: name one of a0, b0" in fault
    assert "no part is a text" in str(find_patches(blocks(("a", "b")), Problem((Part("x0", 1),)))[1])


@pytest.mark.parametrize("optimizer_class", [OptoPrime, OptoPrimeV1, OptoPrimeV2, TextGrad])
@pytest.mark.parametrize("form", ["json", "tags", "fence"])
def test_every_optimizer_understands_patches(optimizer_class: Any, form: str) -> None:
    GRAPH.clear()
    prompt = node("Be kind.\nBe brief.\nSay goodbye.", name="prompt", trainable=True)
    patch = blocks(("Be brief.", "Answer in one sentence."))
    replies = {
        "json": json.dumps({"reasoning": "", "suggestion": {"prompt0": patch}}),
        "tags": f"<reasoning>r</reasoning><variable><name>prompt0</name><value>\n{patch}\n</value></variable>",
        "fence": f"I shorten it.\n```\n{patch}\n```",
    }
    reply = replies[form]
    if optimizer_class is TextGrad:
        reply = f"<IMPROVED_VARIABLE>{patch}</IMPROVED_VARIABLE>"
    optimizer = optimizer_class(
        [prompt], llm=ScriptedLLM(["too long", reply] if optimizer_class is TextGrad else [reply])
    )
    optimizer.backward(prompt + ".", "too long")
    assert optimizer.step() == {prompt: "Be kind.\nAnswer in one sentence.\nSay goodbye."}


def test_a_patch_that_does_not_apply_is_asked_again_and_changes_nothing() -> None:
    GRAPH.clear()
    prompt = node("Be kind.\nBe brief.", name="prompt", trainable=True, space=Text(must_contain="kind"))
    halves = blocks(("Be kind.", "Be nice."), ("Be quiet.", "x"))
    unkind = blocks(("Be kind.", "Be nice."))
    llm = ScriptedLLM([json.dumps({"suggestion": {"prompt0": patch}}) for patch in (halves, unkind)])
    optimizer = OptoPrime([prompt], llm=llm)
    optimizer.backward(prompt + ".", "be quiet")
    update = optimizer.step()
    assert prompt.data == "Be kind.\nBe brief." and not update, "not even the first half"
    assert "in edit 2, these lines are not in the text: 'Be quiet.'" in str(llm.calls[1]["messages"][-1])
    assert "must contain 'kind'" in (update.reason or ""), "what a patch makes is checked like any value"


def test_code_is_patched_and_checked() -> None:
    GRAPH.clear()

    @bundle(trainable=True)
    def f(x: int) -> int:
        y = x + 1
        return y

    reply = "```diff\n@@ -3,2 +3,2 @@\n     y = x + 1\n-    return y\n+    return 2 * y\n```"
    optimizer = OptoPrime([f.parameter], llm=ScriptedLLM([reply]))
    optimizer.backward(f(1), "twice that")
    optimizer.step()
    assert f(1).data == 4


def test_a_long_part_comes_with_the_offer_of_a_patch_that_we_can_read() -> None:
    GRAPH.clear()
    llm = ScriptedLLM(["{}", "{}"] * 2)
    for size, offered in ((100, False), (3_000, True)):
        prompt = node("Be kind. " * (size // 9), name="prompt", trainable=True)
        optimizer = OptoPrime([prompt], llm=llm, memory_size=0)
        optimizer.backward(prompt + ".", "too long")
        optimizer.step()
        shown = str(llm.calls[-1]["messages"])
        assert ("SEARCH" in shown) is offered
    example_block = prompt_text("lean_patch").partition("<")[1:]
    edits = as_patch("".join(example_block))
    assert edits == (Edit(("lines to find, exactly as they are",), ("lines to put there",)),)
