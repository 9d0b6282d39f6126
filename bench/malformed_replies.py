"""A thousand malformed replies: none may crash a step, and none may lose one in silence.

Valid replies in every shape that an optimizer asks for are damaged by hypothesis: cut, nested in themselves or in
other wrappers, escaped once too often or too little, wrapped in fences, tags and prose, or two of them run together.
Each goes to an optimizer as the only reply, then (if it asks again) once more. Counted is what became of the step:
`parsed` (the optimizer's own format), `repaired` (some other reading), `re-asked` (the second reply was used or
refused by name), `refused` (nothing was changed and the reason was said). `silent` and `crashed` must be 0. Of the
texts that were believed, `cut` counts beginnings of valid ones, `respaced` those that differ from a valid one by
blanks, escapes or quotes only, and `altered` the others: most have a hole or a piece inserted, which nothing in the
reply betrays. A prefilled reply is a line that goes on after `name: `, so of other shapes it believes the first line; a
server would stop there, this bench does not.

Run: python bench/malformed_replies.py [--count 1000]
"""

from __future__ import annotations

import argparse
import ast
import html
import json
import logging
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from opto.llm.fakes import DummyLLM
from opto.optimizers import OptoPrime, OptoPrimeV1, OptoPrimeV2
from opto.optimizers.formats.lean import FORMATS
from opto.optimizers.formats.tags import OptimizerPromptSymbolSet, OptimizerPromptSymbolSetJSON
from opto.trace import GRAPH, bundle, node

TEXT = 'Say "hola", <b>warmly</b> {now}.\nThen stop.'
CODE = "def greet(prompt, loud):\n    return {'say': f\"{prompt}\\n\" * int(loud)}['say']"
OLD_CODE = "def greet(prompt, loud):\n    return prompt * loud"
PATCHED = OLD_CODE.replace("return", "return 1 +")
VALUES: dict[str, Any] = {"loud0": 2, "prompt0": TEXT, "__code0": CODE}
OPTIMIZERS: dict[str, Callable[..., Any]] = {
    **{f"OptoPrime {shape}": lambda *a, shape=shape, **k: OptoPrime(*a, reply=shape, **k) for shape in FORMATS},
    "OptoPrimeV1": OptoPrimeV1,
    "OptoPrimeV2": OptoPrimeV2,
    "OptoPrimeV2 JSON": lambda *a, **k: OptoPrimeV2(
        *a, optimizer_prompt_symbol_set=OptimizerPromptSymbolSetJSON(), **k
    ),
}


@bundle(trainable=True)
def greet(prompt: str, loud: int) -> str:
    return prompt * loud


VALID = {
    "json": json.dumps({"reasoning": "It is cold.", "answer": "", "suggestion": VALUES}),
    "indented": json.dumps({"reasoning": "It is cold.", "suggestion": VALUES}, indent=2),
    "schema": json.dumps({"reasoning": "cold", "changes": [{"name": k, "value": str(v)} for k, v in VALUES.items()]}),
    "tags": OptimizerPromptSymbolSet().example_output("It is cold.", VALUES),
    "named tags": "".join(f'<variable name="{k}">\n{v}\n</variable>\n' for k, v in VALUES.items()),
    "fence": f"```python\n{CODE}\n```",
    "lines": f"loud0: 2\nprompt0 = {TEXT.splitlines()[0]}",
    "patch": json.dumps({"suggestion": {"__code0": "<<<<<<< SEARCH\nreturn\n=======\nreturn 1 +\n>>>>>>> REPLACE"}}),
}
PROSE = ("Sure! Here you are:\n", "\nI hope that helps {really}.", "<think>maybe {x</think>", "Note: `a` -> [1, 2]\n")
PIECES = ("```", "```json\n", "</variable>", "<reasoning>", "</value>", '"', "{", "}", "]", "\\", "\x00", "\ud800", "—")


def damages() -> dict[str, st.SearchStrategy[Callable[[str], str]]]:
    """A strategy for each kind of damage, giving functions text -> text."""
    share = st.floats(0, 1)

    def at(text: str, where: float) -> int:
        return int(len(text) * where)

    return {
        "cut the end": share.map(lambda s: lambda t: t[: at(t, s)]),
        "cut the start": share.map(lambda s: lambda t: t[at(t, s) :]),
        "cut a hole": st.tuples(share, st.integers(1, 30)).map(
            lambda d: lambda t: t[: at(t, d[0])] + t[at(t, d[0]) + d[1] :]
        ),
        "nest": st.sampled_from(
            [
                lambda t: json.dumps({"response": t}),
                lambda t: f"[{t}]",
                lambda t: f'{{"suggestion": {t}}}',
                lambda t: f"<variable><name>prompt0</name><value>{t}</value></variable>",
                lambda t: f"<answer>{t}</answer>",
            ]
        ),
        "escape": st.sampled_from(
            [
                lambda t: json.dumps(t),
                lambda t: t.replace("\\n", "\n").replace('\\"', '"'),
                lambda t: t.replace("\\", "\\\\"),
                lambda t: t.replace('"', "'"),
                lambda t: t.replace('"', "“"),
                lambda t: t.replace("<", "&lt;").replace(">", "&gt;"),
                lambda t: t.replace("true", "True").replace("null", "None"),
                lambda t: t.replace("}", ",}"),
            ]
        ),
        "mix": st.tuples(st.sampled_from(PROSE), st.sampled_from(PROSE), st.booleans()).map(
            lambda d: lambda t: d[0] + (f"```json\n{t}\n```" if d[2] else t) + d[1]
        ),
        "insert": st.tuples(st.sampled_from(PIECES), share).map(
            lambda d: lambda t: t[: at(t, d[1])] + d[0] + t[at(t, d[1]) :]
        ),
        "join": st.sampled_from(sorted(VALID)).map(lambda name: lambda t: f"{t}\n{VALID[name]}"),
    }


def malformed() -> st.SearchStrategy[str]:
    """A valid reply with one to three damages."""
    one = st.one_of(*damages().values())

    def damaged(text: str, changes: list[Callable[[str], str]]) -> str:
        for change in changes:
            text = change(text)
        return text

    return st.builds(damaged, st.sampled_from(sorted(VALID.values())), st.lists(one, min_size=1, max_size=3))


def posed(kind: str, llm: Any) -> Any:
    """An optimizer with feedback on a run that used a number, a text and code."""
    GRAPH.clear()
    code: Any = greet.parameter
    code._data, code._name = OLD_CODE, "__code:0"
    loud, prompt = node(1, name="loud", trainable=True), node("Say hello", name="prompt", trainable=True)
    optimizer = OPTIMIZERS[kind]([loud, prompt, code], llm=llm)
    optimizer.zero_feedback()
    optimizer.backward(greet(prompt, loud), "too quiet", retain_graph=True)
    return optimizer


def bare(text: str) -> str:
    """A text without blanks and escapes, its quotes all alike."""
    text = re.sub("['“”]", '"', html.unescape(text))
    for escape in ("\\n", "\\t", "\\"):
        text = text.replace(escape, "")
    return "".join(text.split())


def same(value: str) -> bool:
    """Whether a believed text is one of the valid ones; code is compared as code, for it is formatted when taken."""
    if value.strip() in (TEXT, TEXT.splitlines()[0]):
        return True
    try:
        return ast.dump(ast.parse(value)) in (ast.dump(ast.parse(code)) for code in (CODE, PATCHED))
    except (SyntaxError, ValueError):
        return False


def likeness(value: Any) -> str | None:
    """How a believed text differs from the valid ones; None if it is one of them, or no text."""
    valid = (TEXT, TEXT.splitlines()[0], CODE)
    if not isinstance(value, str) or same(value):
        return None
    if bare(value) in map(bare, valid):
        return "respaced"
    return "cut" if any(bare(text).startswith(bare(value)) for text in valid) else "altered"


def fate(kind: str, reply: str) -> tuple[str, list[str]]:
    """(what became of a step that got this reply, how each text that was believed differs from the valid ones)."""
    optimizer = posed(kind, DummyLLM(lambda *args, **kwargs: reply))
    update = optimizer.step()
    if not update:
        said = update.reason
        return ("silent" if not said else "re-asked" if optimizer.spent.calls > 1 else "refused"), []
    differences = [found for value in update.values() if (found := likeness(value)) is not None]
    if optimizer.spent.calls > 1:
        return "re-asked", differences
    own = optimizer.own_values(reply)[1]
    known = {p.py_name for p in update} <= {str(key).strip() for key in own}
    return ("parsed" if known else "repaired"), differences


def count(kind: str, many: int) -> Counter[str]:
    """How the steps of one optimizer ended."""
    ends: Counter[str] = Counter()

    @seed(20)
    @settings(
        max_examples=many,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(malformed())
    def run(reply: str) -> None:
        try:
            end, differences = fate(kind, reply)
        except Exception as error:
            print(f"{kind} crashed with {type(error).__name__}: {error} on {reply!r}")
            end, differences = "crashed", []
        ends[end] += 1
        ends.update(differences)

    run()
    return ends


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--count", type=int, default=1000)
    many = arguments.parse_args().count
    logging.disable(logging.WARNING)
    columns = ("parsed", "repaired", "re-asked", "refused", "silent", "crashed", "respaced", "cut", "altered")
    print(f"{'optimizer':<24}" + "".join(f"{name:>10}" for name in columns))
    for kind in OPTIMIZERS:
        ends = count(kind, many)
        print(f"{kind:<24}" + "".join(f"{ends[name]:>10}" for name in columns))


if __name__ == "__main__":
    main()
