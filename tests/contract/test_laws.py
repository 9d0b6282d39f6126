"""Laws over random programs and values: tracing, saving, pickling and reading replies lose nothing."""

from __future__ import annotations

import os
import pickle
import tempfile
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from opto.optimizers import OptoPrimeV1
from opto.optimizers.optoprime_v2 import (
    OptimizerPromptSymbolSet,
    OptimizerPromptSymbolSet2,
    OptimizerPromptSymbolSetJSON,
)
from opto.trace import GRAPH, Module, bundle, model, node, stop_tracing
from opto.trace.containers import Map, Seq
from opto.trace.nodes import Node, ParameterNode
from opto.utils.llm import DummyLLM

quick = settings(max_examples=40, deadline=None)

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=12), st.binary(max_size=6)
)
keys = st.one_of(st.text(max_size=6), st.integers(-9, 9), st.tuples(st.integers(0, 3), st.text(max_size=2)))
values = st.recursive(
    st.one_of(scalars, st.frozensets(st.integers(), max_size=3), st.sets(st.text(max_size=3), max_size=3)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(keys, inner, max_size=3),
    ),
    max_leaves=10,
)


def same(left: Any, right: Any) -> bool:
    """Equal, and of the same types all the way down."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[k], right[k]) for k in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(same(a, b) for a, b in zip(left, right, strict=True))
    return bool(left == right)


# --- programs -------------------------------------------------------------------------------------------------------


def poly(a, b, c=1):
    """a + b * c."""
    return a + b * c


def pair(a, b):
    """Both orders."""
    return (a - b, b - a)


TRACED = {"poly": bundle()(poly), "pair": bundle()(pair)}
RAW = {"poly": poly, "pair": pair}
STEP = st.tuples(st.sampled_from(["poly", "pair", "add", "index"]), st.integers(0, 9), st.integers(0, 9))


def run(steps: list[tuple[str, int, int]], leaves: list[Any], functions: dict[str, Any]) -> Any:
    stack = list(leaves)
    for op, i, j in steps:
        a, b = stack[i % len(stack)], stack[j % len(stack)]
        if op == "add":
            stack.append(a + b)
        elif op == "index":
            stack.append(functions["pair"](a, b)[j % 2])
        else:
            out = functions[op](a, b)
            stack.append(out[0] if op == "pair" else out)
    return stack[-1]


@quick
@given(st.lists(STEP, max_size=12), st.lists(st.integers(-9, 9), min_size=1, max_size=4))
def test_traced_is_untraced(steps: Any, leaves: list[int]) -> None:
    want = run(steps, leaves, RAW)
    traced = run(steps, [node(v, trainable=True) for v in leaves], TRACED)
    assert traced.data == want and type(traced.data) is type(want)
    with stop_tracing():
        silent = run(steps, [node(v, trainable=True) for v in leaves], TRACED)
    assert silent.data == want and silent.parents == []


@quick
@given(st.lists(STEP, max_size=12), st.lists(st.integers(-9, 9), min_size=1, max_size=4))
def test_dependencies_are_the_reachable_parameters(steps: Any, leaves: list[int]) -> None:
    parameters = [node(v, trainable=True) for v in leaves]
    out = run(steps, parameters, TRACED)
    reached, ahead = set(), [out]
    while ahead:
        n = ahead.pop()
        if n not in reached:
            reached.add(n)
            ahead.extend(n.parents)
    assert out.parameter_dependencies == {p for p in parameters if p in reached}
    assert out.level == (1 + max(p.level for p in out.parents) if out.parents else 0)


def shape(out: Any) -> list[Any]:
    """The graph behind `out`, walked in one order, as plain values."""
    order: dict[Any, int] = {}
    rows, ahead = [], [out]
    while ahead:
        n = ahead.pop()
        if n in order:
            continue
        order[n] = len(order)
        ahead.extend(reversed(n.parents))
        rows.append(n)
    return [
        (type(n), n.name, n._data, n.description, n.op_name, n.trainable, {k: order[v] for k, v in n.inputs.items()})
        if n.parents
        else (type(n), n.name, n._data, n.description, n.op_name, n.trainable)
        for n in rows
    ]


@quick
@given(st.lists(STEP, max_size=12), st.lists(st.integers(-9, 9), min_size=1, max_size=4))
def test_pickled_graphs_have_the_same_shape(steps: Any, leaves: list[int]) -> None:
    out = run(steps, [node(v, name="p", trainable=True, description=f"leaf {v}") for v in leaves], TRACED)
    assert shape(pickle.loads(pickle.dumps(out))) == shape(out)


# --- values ---------------------------------------------------------------------------------------------------------


class Holder(Module):
    def __init__(self, value: Any) -> None:
        self.p = ParameterNode(value, name="p")
        self.s = Seq(ParameterNode(value, name="s"))
        self.m = Map({"m": ParameterNode(value, name="m")})


@model
class Agent:
    def __init__(self, value: Any) -> None:
        self.p = node(value, name="p", trainable=True)
        self.plain = value


def through_a_file(save: Any, load: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "sub", "file")
        save(path)
        load(path)


@quick
@given(values)
def test_load_of_save_is_the_same(value: Any) -> None:
    a, b = Holder(value), Holder(None)
    through_a_file(a.save, b.load)
    assert all(same(p.data, value) for p in b.parameters()) and len(b.parameters()) == 3
    c, d = Agent(value), Agent(0)
    through_a_file(c.save, d.load)
    assert same(d.p.data, value) and same(d.plain, value)


@quick
@given(values)
def test_pickle_and_deepcopy_of_nodes_keep_data(value: Any) -> None:
    n = node(value, name="n")
    assert same(pickle.loads(pickle.dumps(n)).data, value) and same(n.detach().data, value)
    assert isinstance(n.detach(), Node)


# --- replies --------------------------------------------------------------------------------------------------------

words = st.text(st.characters(codec="utf-8", exclude_characters="<>", exclude_categories=["Cc", "Zl", "Zp", "Zs"]))
names = st.from_regex(r"[a-z_]{1,8}[0-9]{1,2}", fullmatch=True)


@quick
@given(words, st.dictionaries(names, words, max_size=4))
def test_read_of_written_tags_is_the_same(reasoning: str, wanted: dict[str, str]) -> None:
    for kind in (OptimizerPromptSymbolSet, OptimizerPromptSymbolSet2, OptimizerPromptSymbolSetJSON):
        s = kind()
        out = s.output_response_extractor(s.example_output(reasoning, wanted))
        found = {k: v for k, v in wanted.items() if v or "__code" not in k}
        assert out["reasoning"] == reasoning and out["variables"] == found


@quick
@given(st.dictionaries(names, st.one_of(st.text(max_size=20), st.integers(), st.booleans()), min_size=1, max_size=4))
def test_read_of_written_json_is_the_same(wanted: dict[str, Any]) -> None:
    import json

    o = OptoPrimeV1([node(1, trainable=True)], llm=DummyLLM(str))
    if any(isinstance(v, str) and "```" in v for v in wanted.values()):
        return
    want = {k: v for k, v in wanted.items() if not ("__code" in k and isinstance(v, str) and not v.strip())}
    for text in (
        json.dumps({"reasoning": "r", "suggestion": wanted}),
        "Sure!\n```json\n" + json.dumps({"reasoning": "r", "suggestion": wanted}, indent=2) + "\n```\n",
    ):
        assert o.extract_llm_suggestion(text) == want


@quick
@given(values)
def test_any_value_can_be_shown(value: Any) -> None:
    GRAPH.clear()
    p = node(value, name="p", trainable=True)
    o = OptoPrimeV1([p], llm=DummyLLM(str))
    o.backward(p.clone(), "fb")
    assert f"({type(value).__name__}) p0={value}" in str(o.problem_instance(o.summarize()))
