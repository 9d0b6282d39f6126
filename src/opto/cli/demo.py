"""`opto demo`: a real agent, a real language model on this machine, and what feedback makes of them."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from opto.cli.demo_task import BATCH, DemoResult, run_demo
from opto.cli.demo_view import Watcher, diffs, summary
from opto.errors import LLMConfigError, OptoError
from opto.events import listen
from opto.llm.base import LLM
from opto.llm.local.local_llm import LocalLLM
from opto.llm.transport.failures import shown_url
from opto.llm.transport.openai_compatible import OpenAICompatible
from opto.llm.wrappers.retry import Retry
from opto.trainer.improve import TrainingPlan

__all__ = ["HELP", "configure", "run"]

HELP = "Optimize a greeting agent with a language model that runs on this machine, and show what changed and why."


def configure(parser: argparse.ArgumentParser) -> None:
    """Describe the command's options."""
    parser.add_argument("--seed", type=int, default=0, help="which customers are drawn (default: 0)")
    parser.add_argument("--steps", type=int, default=60, help="steps at most (default: 60)")
    parser.add_argument("--seconds", type=float, default=600, help="stop learning after so long (default: 600)")
    parser.add_argument("--llm", metavar="URL", help="base URL of an OpenAI-compatible server to use instead")
    parser.add_argument("--model", metavar="NAME", help="the model's name on that server; its key is OPENAI_API_KEY")
    parser.add_argument("--out", type=Path, default=Path("demo-output"), help="where files go (default: demo-output)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the demo and write its files."""
    llm = _model(options)
    _make(options.out)
    watcher = Watcher()
    print(f"Model: {_describe(options, llm)}")
    if isinstance(llm, LocalLLM):
        llm.start()
        watcher.line("The model is loaded")
    with listen(watcher):
        result = run_demo(
            llm, options.seed, plan=TrainingPlan(steps=options.steps, seconds=options.seconds, batch=BATCH)
        )
    print("\nWhat changed\n")
    print(diffs(result.before, result.after))
    print(f"\n{summary(result)}")
    for path, what in _write_files(result, options.out):
        print(f"{what}: {path}")
    return 0


def _model(options: argparse.Namespace) -> LLM:
    if options.llm is None:
        if options.model is not None:
            raise LLMConfigError("--model names a model of a server: say which with --llm URL.")
        return LocalLLM()
    if options.model is None:
        raise LLMConfigError("--llm needs --model NAME, the name that the server knows the model by.")
    return Retry(OpenAICompatible(options.llm, options.model, api_key=os.environ.get("OPENAI_API_KEY"), timeout=600))


def _describe(options: argparse.Namespace, llm: LLM) -> str:
    if options.llm:
        return f"{options.model}, at {shown_url(options.llm)}"
    return f"{getattr(llm, 'model_name', llm)}, on this machine"


def _make(folder: Path) -> None:
    """Makes the folder before the work, which would be lost if it could not be written down."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptoError(f"The folder {folder} cannot be made ({error.strerror}): name another with --out.") from error


def _write_files(result: DemoResult, folder: Path) -> list[tuple[Path, str]]:
    picture, program, changes = folder / "graph.svg", folder / "agent.py", folder / "changes.diff"
    result.picture.save(picture)
    result.agent.export(program)
    changes.write_text(diffs(result.before, result.after) + "\n", encoding="utf-8")
    return [
        (picture, "One run as a graph"),
        (program, "The agent as plain Python, without opto"),
        (changes, "What changed"),
    ]
