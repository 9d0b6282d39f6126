"""What the documentation shows is run: doctests of every module, the blocks of README and guide, the idea."""

from __future__ import annotations

import doctest
import importlib
import json
import pkgutil
import re
import runpy
from pathlib import Path
from typing import Any

import pytest

import opto
from opto.llm import OpenAICompatible, Response, Usage
from opto.llm.fakes import DummyLLM
from opto.llm.flow import Flow
from opto.trace import GRAPH

ROOT = Path(__file__).parent.parent
MODULES = sorted(info.name for info in pkgutil.walk_packages(opto.__path__, "opto.") if "__main__" not in info.name)


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name: str) -> None:
    failed, _ = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert not failed


def answer(*args: Any, messages: Any = None, **options: Any) -> str:
    """Stands in for a model: names the language and the name for the agent, rewrites `greet` for the optimizer."""
    text = (messages or args[0])[-1]["content"]
    code = re.search(r"__code\d+", text)
    if code is None:
        return "English"
    greet = 'def greet(self, lang, user_name):\n    """Produce a greeting based on the language"""\n    return "Hello"'
    names = re.findall(r"__code\d+(?:_copy\d+)?", text)
    return json.dumps({"reasoning": "It must say Hello.", "suggestion": {name: greet for name in set(names)}})


def served(self: OpenAICompatible, messages: Any, options: Any) -> Flow[Response]:
    """Stands in for a server: what `answer` says, and what it used."""
    return Response.of(answer(messages=messages), usage=Usage(1000, 100))
    yield  # makes this a flow


def test_the_blocks_of_readme_and_guide_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(OpenAICompatible, "flow", served)
    monkeypatch.setattr("opto.utils.llm.LLM", lambda *args, **kwargs: DummyLLM(answer))
    GRAPH.clear()  # as in a new program
    text = (ROOT / "README.md").read_text() + (ROOT / "docs" / "guide.md").read_text()  # the guide goes on
    names: dict[str, Any] = {"__name__": "readme"}
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) >= 8
    for number, block in enumerate(blocks):
        path = tmp_path / f"readme_{number}.py"
        path.write_text(block)
        exec(compile(block, str(path), "exec"), names)
    assert names["update"], names["update"].reason
    assert names["done"].before == names["done"].after == 0.5  # the stand-in knows one language
    budget, llm = names["budget"], names["llm"]
    assert budget.spent.calls == llm.stats.misses >= 1 and (tmp_path / "answers.db").exists()
    assert budget.spent.money == pytest.approx(budget.spent.calls * (1000 * 0.2 + 100 * 0.8) / 1e6)
    llm.close()


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md"))]
)
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text()
    for link, _, heading in (link.partition("#") for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link):
        target = (ROOT / page).parent / link
        assert target.exists(), link
        assert not heading or heading in _headings(target), f"{link}#{heading}"


def _headings(page: Path) -> set[str]:
    """What links to the headings of a page are made of: `## A, and b` is `a-and-b`."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}


def test_the_idea_from_scratch_runs(capsys: pytest.CaptureFixture[str]) -> None:
    path = ROOT / "docs" / "from_scratch.py"
    assert len(path.read_text().splitlines()) <= 250
    runpy.run_path(str(path), run_name="__main__")
    assert "All correct" in capsys.readouterr().out
