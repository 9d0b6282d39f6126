"""The demo from end to end with a model that follows rules, in no time."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from opto.cli import demo, main
from opto.cli.demo_customers import draw_customers
from opto.cli.demo_task import BATCH, Measured, run_demo
from opto.cli.demo_view import Watcher, diffs, summary
from opto.events import Event, listen
from opto.llm import DummyLLM
from opto.llm.profile import ModelProfile
from opto.trainer.improve import TrainingPlan
from opto.trainer.training_events import StepEnded

ANSWERS = {
    "decide_lang": '    return "es" if "Spanish" in response else "en"\n',
    "greet": '    word = "Hola" if lang == "es" else "Hello"\n    return f"{word}, {user_name}!"\n',
    "instruction": " Reply with the first name only.",
}


def reply(messages: Any, **options: Any) -> str:
    """A model that knows the answers, and that names people wrongly unless told to give the first name only."""
    last = messages[-1]["content"]
    if messages[-1]["role"] == "assistant":
        name = re.search(r"def (\w+)", last)
        return ANSWERS[name.group(1) if name else "instruction"]
    instruction, query = last.split("\n", 1)
    if "language" in instruction:
        return "Spanish" if re.search(r"[áéíóúñ¿¡]|\b(Hola|Soy|Quisiera|Buenas|pedido|gracias)\b", query) else "English"
    names = re.findall(r"\b[A-ZÁ]\w+", query)
    known = [n for n in names if n in _people()]
    return known[0] if "first name only" in instruction and known else f"The name is {' '.join(known)}."


def _people() -> set[str]:
    return {c.greeting.split()[-1].rstrip("!") for seed in range(3) for group in draw_customers(seed) for c in group}


class Rules(DummyLLM):
    profile = ModelProfile("rules", "prefill", 4096, small=True)
    model_name = "rules"

    def __init__(self) -> None:
        super().__init__(reply)


def test_the_demo_learns_and_is_measured_on_customers_it_never_saw() -> None:
    seen: list[Event] = []
    lines: list[str] = []
    watcher = Watcher(lines.append, lambda: 0.0)
    with listen(seen.append), listen(watcher):
        result = run_demo(Rules(), 1, plan=TrainingPlan(steps=12))
    assert result.unseen_before <= 0.5 and result.unseen_after >= 0.9
    assert result.improvement.solved
    assert result.cached_calls > 50
    measured = [event for event in seen if isinstance(event, Measured)]
    assert [event.when for event in measured] == ["before", "after"]
    assert any(isinstance(event, StepEnded) and event.changed for event in seen)
    text = "\n".join(lines)
    assert "Step 1: a better decide_lang" in text and "instruct2 changed; score" in text
    assert "greeted right" in text and "wanted" in text
    assert "decide_lang before" in diffs(result.before, result.after)
    assert "Customers it never saw" in summary(result)


def test_customers_of_both_groups_differ_in_person_and_sentence() -> None:
    for seed in range(5):
        known, unseen = draw_customers(seed)
        assert len(known) == 20 and len(unseen) == 24
        assert {c.language for c in known[:BATCH]} == {"en", "es"}
        assert not {c.greeting for c in known} & {c.greeting for c in unseen}
        assert {c.language for c in known} == {"en", "es"}
        assert any(len(re.findall(r"[A-ZÁ]\w+ [A-Z]\w+", c.query)) for c in known)
    assert draw_customers(3) == draw_customers(3) != draw_customers(4)


def test_the_command_writes_its_files_and_the_agent_runs_without_opto(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "_model", lambda options: Rules())
    assert main(["demo", "--seed", "2", "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "What changed" in printed and "Customers it never saw" in printed
    assert (tmp_path / "out" / "graph.svg").read_text(encoding="utf-8").startswith("<svg")
    assert "+++" in (tmp_path / "out" / "changes.diff").read_text(encoding="utf-8")
    program = tmp_path / "out" / "agent.py"
    assert "opto" not in re.sub(r'"""Exported by opto.*', "", program.read_text(encoding="utf-8"))
    spec = importlib.util.spec_from_file_location("exported_agent", program)
    assert spec is not None and spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.Agent(Rules())("Hola, soy Juan.") == "Hola, Juan!"
    script = "import sys; sys.modules['opto'] = None; import runpy; runpy.run_path(sys.argv[1])"
    subprocess.run([sys.executable, "-c", script, str(program)], check=True)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [(["--model", "x"], "say which with --llm"), (["--llm", "http://127.0.0.1:9/v1"], "--llm needs --model")],
)
def test_half_of_a_model_is_refused_in_one_sentence(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", *arguments]) == 1
    assert sentence in capsys.readouterr().err


def test_a_server_that_nobody_answers_is_told_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from opto.llm import OpenAICompatible

    monkeypatch.setattr(demo, "_model", lambda options: OpenAICompatible("http://127.0.0.1:9/v1", "x"))
    assert main(["demo", "--out", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("opto: ") and error.count("\n") == 1


def test_ctrl_c_ends_quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "_model", interrupt)
    assert main(["demo"]) == 130


def test_the_command_line_without_its_script() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "opto", "--help"], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.startswith("usage: opto ") and "demo" in done.stdout


def test_a_folder_that_cannot_be_made_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "_model", lambda options: Rules())
    monkeypatch.setattr(demo, "run_demo", lambda *args, **options: pytest.fail("the work began"))
    file = tmp_path / "file"
    file.touch()
    assert main(["demo", "--out", str(file)]) == 1
    assert "name another with --out" in capsys.readouterr().err


def test_a_server_is_named_as_the_user_named_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--llm", "http://me:secret@127.0.0.1:9/v1", "--model", "x", "--out", str(tmp_path)]
    assert main(["demo", *options]) == 1
    assert capsys.readouterr().out.startswith("Model: x, at http://127.0.0.1:9/v1\n")


def test_the_demo_names_what_its_model_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    assert main(["demo", "--out", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert "opto-trace[local]" in error and "OPENAI_API_KEY" not in error  # a key would change nothing here


def test_commands_are_listed_where_none_is_given(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([])
    assert "{demo,doctor}" in capsys.readouterr().err
