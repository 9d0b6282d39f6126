"""Kind 5: the closing fence of code is the last one with which the code parses."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fault_cases import case, fails

from opto.llm import ScriptedLLM
from opto.optimizers import OptoPrime
from opto.trace import bundle

BODY = '''def area(width, height):
    """The area.

    ```python
    area(3, 4)
    ```
    """
    return width * height'''
FLAT = '''def area(width, height):
    """The area.

```
area(3, 4)
```
"""
    return width * height'''
TEXT = """def area(width, height):
    form = '''
```json
{}
```
'''
    return width * height"""
WAVES = '''def area(width, height):
    """The area.

    ~~~
    area(3, 4)
    ~~~
    """
    return width * height'''
PLAIN = "def area(width, height):\n    return width * height"
TWICE = BODY.replace('    """\n    return', '    ```\n    area(1, 2)\n    ```\n    """\n    return')


@bundle(trainable=True)
def area(width: int, height: int) -> int:
    """The area."""
    return width + height


def fenced(code: str, fence: str = "```", language: str = "python") -> str:
    return f"{fence}{language}\n{code}\n{fence}"


def code_after(*replies: str, **options: Any) -> str:
    function = area.detach()
    function.parameter._name = "__code:0"
    optimizer = OptoPrime([function.parameter], llm=ScriptedLLM([*replies, replies[-1]]), **options)
    optimizer.zero_feedback()
    optimizer.backward(function(3, 4), "3 by 4 is 12")
    optimizer.step()
    return str(function.parameter.data)


def suggestion(code: str) -> str:
    return json.dumps({"suggestion": {"__code0": code}})


@pytest.mark.parametrize(
    ("reply", "sign"),
    [
        case("fence in a docstring", fenced(BODY), "area(3, 4)"),
        case("fence at the margin of a docstring", fenced(FLAT), "area(3, 4)"),
        fails(5, "fence in a text", fenced(TEXT), "{}"),
        case("two fences in a docstring", fenced(TWICE), "area(1, 2)"),
        case("waves", fenced(PLAIN, "~~~"), "width"),
        case("waves without a language", fenced(PLAIN, "~~~", ""), "width"),
        case("waves around backticks", fenced(FLAT, "~~~"), "area(3, 4)"),
        case("backticks around waves", fenced(WAVES), "area(3, 4)"),
        case("waves around waves", fenced(WAVES, "~~~"), "area(3, 4)"),
        case("four backticks", fenced(FLAT, "````"), "area(3, 4)"),
        case("four waves", fenced(FLAT, "~~~~"), "area(3, 4)"),
        case("no language", fenced(BODY, language=""), "area(3, 4)"),
        case("language and words", fenced(BODY, language='python title="area.py"'), "area(3, 4)"),
        case("capital", fenced(BODY, language="Python"), "area(3, 4)"),
        case("prose around", f"Here it is:\n{fenced(BODY)}\nIt multiplies.", "area(3, 4)"),
        case("another fence after", f"{fenced(BODY)}\nUse it so:\n```\narea(3, 4) -> 12\n```", "The area"),
        case("another fence before", f"It failed with\n```\nTypeError: x\n```\nso:\n{fenced(BODY)}", "area(3, 4)"),
        fails(5, "never closed", f"```python\n{BODY}", "area(3, 4)"),
        fails(5, "indented", "\n".join(f"  {line}" for line in fenced(PLAIN).split("\n")), "width"),
        case("carriage returns", fenced(BODY).replace("\n", "\r\n"), "area(3, 4)"),
        case("within JSON", suggestion(fenced(BODY)), "area(3, 4)"),
        case("flat within JSON", suggestion(fenced(FLAT)), "area(3, 4)"),
        case("waves within JSON", suggestion(fenced(PLAIN, "~~~")), "width"),
        case("bare within JSON", suggestion(FLAT), "area(3, 4)"),
        case(
            "within tags", f"<variable><name>__code0</name><value>\n{fenced(FLAT)}\n</value></variable>", "area(3, 4)"
        ),
        case("JSON in waves", fenced(suggestion(FLAT), "~~~", "json"), "area(3, 4)"),
        case("JSON in backticks", fenced(suggestion(FLAT), "```", "json"), "area(3, 4)"),
    ],
)
def test_kind_05_code_in_a_fence_is_read_whole(reply: str, sign: str) -> None:
    code = code_after(reply)
    assert "width * height" in code and sign in code and "~~~python" not in code and not code.startswith("`")
    compile(code, "reply", "exec")


@pytest.mark.parametrize(
    "rest",
    [
        case("begun fence, docstring with a fence", BODY),
        case("begun fence, docstring at the margin", FLAT),
        case("begun fence, text with a fence", TEXT),
        case("begun fence, plain", PLAIN),
    ],
)
def test_kind_05_a_begun_fence_is_read_whole(rest: str) -> None:
    body = rest.split("\n", 1)[1]
    code = code_after(f"{body}\n```\nThat is it.", reply="prefill")
    assert "width * height" in code and "That is it" not in code
