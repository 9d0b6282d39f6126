"""What all optimizers that ask a model share: the model, memory, logs, summary, and belief in a reply."""

from __future__ import annotations

import copy
import logging
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from opto.errors import ReplyError
from opto.optimizers.asking import Tally, ask, default_model_maker
from opto.optimizers.buffers import FIFOBuffer
from opto.optimizers.formats.texts import fill
from opto.optimizers.optimizer import Optimizer
from opto.optimizers.problem.collect import FunctionFeedback, collect, function_feedback, part_of, unique_parameters
from opto.optimizers.problem.problem import Problem, is_code
from opto.optimizers.replies.shapes import Suggestion, clean_name, read_reply
from opto.optimizers.replies.values import check_code, format_code, read_value
from opto.optimizers.update import Update, refuse, why_refused
from opto.optimizers.utils import print_color
from opto.trace.nodes import ParameterNode
from opto.trace.propagators.graph_propagator import TraceGraph, accumulate
from opto.trace.propagators.propagators import Propagator

__all__ = ["STOP_WORD", "LLMOptimizer", "stopped"]

_log = logging.getLogger(__name__)
STOP_WORD = "TERMINATE"


class LLMOptimizer(Optimizer):
    """An optimizer that shows the run to a model and takes new values from its reply.

    A subclass says how the run is shown (`construct_prompt`) and how the reply is read
    (`extract_llm_suggestion`); whatever that cannot read goes down the ladder of `replies.read_reply`.
    """

    _SAVED: tuple[str, ...] = (
        "context",
        "objective",
        "memory",
        "max_tokens",
        "log",
        "include_example",
        "ignore_extraction_error",
    )
    default_objective: Any
    default_prompt_symbols: Mapping[str, str]

    def __init__(
        self,
        parameters: list[ParameterNode[Any]],
        llm: Any = None,
        *args: Any,
        propagator: Propagator | None = None,
        objective: str | None = None,
        memory_size: int = 0,
        max_tokens: int = 4096,
        log: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(parameters, propagator=propagator)
        self._llm = llm
        self._make_llm: Callable[[], Any] = default_model_maker()
        self.objective: str = objective or self.default_objective
        self.memory = FIFOBuffer(memory_size)
        self.max_tokens = max_tokens
        self.log: list[dict[str, Any]] | None = [] if log else None
        self.summary_log: list[dict[str, Any]] | None = [] if log else None
        self.ignore_extraction_error: bool = kwargs.get("ignore_extraction_error", True)
        self.include_example: bool = kwargs.get("include_example", False)
        self.use_json_object_format: bool = kwargs.get("use_json_object_format", True)
        self.prompt_symbols: dict[str, str] = {**self.default_prompt_symbols, **(kwargs.get("prompt_symbols") or {})}
        self.spent = Tally()
        """What the last step cost so far."""

    @property
    def llm(self) -> Any:
        """The model; the default one is made when first needed."""
        if self._llm is None:
            self._llm = self._make_llm()
        return self._llm

    @llm.setter
    def llm(self, llm: Any) -> None:
        self._llm = llm

    @property
    def memory_size(self) -> int:
        """How many earlier attempts are shown."""
        return self.memory.size

    # --- the problem ---

    def _trainable(self) -> list[ParameterNode[Any]]:
        return [p for p in unique_parameters(self.parameters) if p.trainable]

    def summarize(self) -> FunctionFeedback:
        """The run behind the feedback on the trainable parameters; several outputs keep their own feedback."""
        parameters = self._trainable()
        graph: TraceGraph = accumulate(parameters)
        if not any(p.feedback for p in parameters):
            _log.warning("No feedback has reached the parameters: call backward(output, feedback) before step().")
        return function_feedback(collect(graph, parameters))

    def _known(self, problem: Problem) -> Problem:
        """The problem with all trainable parameters as parts: a reply may name one that was not shown."""
        parts = tuple(part_of(p, p.py_name) for p in self._trainable())
        return Problem(parts, problem.given, problem.calls, problem.outcomes, problem.feedback)

    # --- the step ---

    def _compose(self, summary: FunctionFeedback, mask: list[str] | None) -> tuple[str, str]:
        """(system prompt, user prompt) for a summary, with the default headings."""
        raise NotImplementedError

    def _notes(self) -> str:
        """What a classic prompt says beside the problem: what `set_context` was told, and which parts are blamed."""
        said = {"context": self.context, "blame": str(self.blamed)}
        return "".join(f"{fill(name, **{name: text})}\n\n" for name, text in said.items() if text)

    def construct_prompt(
        self, summary: FunctionFeedback, mask: list[str] | None = None, *args: Any, **kwargs: Any
    ) -> tuple[str, str]:
        """(system prompt, user prompt) for a summary; remembers the attempt that the summary is about."""
        prompts = self._compose(summary, mask)
        self.memory.add((summary.variables, summary.user_feedback))
        return prompts

    @abstractmethod
    def extract_llm_suggestion(self, response: str) -> dict[str, Any]:
        """The suggestion in a reply of this optimizer's own format."""

    @abstractmethod
    def call_llm(
        self, system_prompt: str, user_prompt: str, verbose: bool | str = False, max_tokens: int = 4096
    ) -> str:
        """The model's reply to the two prompts."""

    def _prompts(self, summary: FunctionFeedback, mask: list[str] | None) -> tuple[str, str]:
        """The prompts as they are sent."""
        system, user = self.construct_prompt(summary, mask=mask)
        return self.replace_symbols(system, self.prompt_symbols), self.replace_symbols(user, self.prompt_symbols)

    def replace_symbols(self, text: str, symbols: Mapping[str, str]) -> str:
        """`text` with the default headings replaced by those of `symbols`, where this format has them."""
        for key, heading in self.default_prompt_symbols.items():
            text = text.replace(heading, symbols.get(key, heading))
        return text

    def _step(self, verbose: bool | str = False, mask: list[str] | None = None, *args: Any, **kwargs: Any) -> Update:
        self.spent = Tally()
        if not self._trainable():
            return Update(reason="none of the parameters is trainable")
        summary = self.summarize()
        system, user = self._prompts(summary, mask)
        reply = self.call_llm(system_prompt=system, user_prompt=user, verbose=verbose, max_tokens=self.max_tokens)
        if STOP_WORD in reply:
            return stopped()
        update = self._believe(self._read(reply, summary.problem))
        self._record({"system_prompt": system, "user_prompt": user, "response": reply}, summary, mask)
        return update

    def problem_instance(self, summary: FunctionFeedback, mask: list[str] | None = None) -> Any:
        """The problem as the prompt shows it; `str()` renders it."""
        raise NotImplementedError

    def _record(self, entry: dict[str, Any], summary: FunctionFeedback, mask: list[str] | None) -> None:
        if self.log is not None:
            self.log.append(entry)
        if self.summary_log is not None:
            problem = self.problem_instance(summary, mask=mask)
            self.summary_log.append({"problem_instance": problem, "summary": summary})

    def _ask(self, messages: list[dict[str, str]], verbose: bool | str = False, **options: Any) -> str:
        if verbose not in (False, "output"):
            print_color("Prompt\n" + "\n".join(m["content"] for m in messages), "green")
        reply = ask(self.llm, messages, self.spent, **options)
        if verbose:
            print_color("LLM response:\n" + reply, "green")
        return reply

    # --- the reply ---

    def _own_values(self, reply: str) -> tuple[str, Mapping[str, Any]]:
        """(reasoning, values) of a reply in this optimizer's own format."""
        return "", self.extract_llm_suggestion(reply)

    def _read(self, reply: str, problem: Problem) -> Suggestion:
        """The suggestion of a reply in this optimizer's own format, else in any known one."""
        known = self._known(problem)
        reasoning, own = self._own_values(reply)
        if any(clean_name(key) in known.names for key in own):
            return Suggestion({clean_name(k): v for k, v in own.items()}, str(reasoning))
        return read_reply(reply, known)

    def _believe(self, suggestion: Suggestion) -> Update:
        """The update that the suggestion makes, after every value was checked; nothing is refused in silence."""
        found = self.construct_update_dict(dict(suggestion.values))
        update = found if isinstance(found, Update) else Update(found)
        update.reasoning = suggestion.reasoning
        for parameter, value in list(update.items()):
            try:
                if is_code(parameter.py_name) and isinstance(value, str):
                    check_code(value, str(parameter._data), parameter.description)
            except ReplyError as error:
                del update[parameter]
                update.refused[parameter.py_name] = str(error)
        for name, fault in update.refused.items():
            refuse(update, name, fault)
        if not update:
            update.reason = _why_empty(suggestion, update)
        elif suggestion.fault is not None:
            _log.warning("Not all of the reply was used: %s", suggestion.fault)
        return update

    def construct_update_dict(self, suggestion: dict[str, Any]) -> dict[ParameterNode[Any], Any]:
        """The suggested values by parameter, converted to the type that each has.

        A value that cannot be converted is left out (and listed in the result's `refused`), or raises
        ReplyError if `ignore_extraction_error` is False. Keys that name no parameter are ignored.
        """
        named = {key if type(key) is str else str(key): value for key, value in suggestion.items()}
        if any(":" in key for key in named):
            named = {clean_name(key): value for key, value in named.items()} | named
        update = Update()
        mine = self._trainable()
        parts = [part_of(p, p.py_name) for p in mine]
        for parameter in mine:
            name = parameter.py_name
            if name not in named:
                continue
            try:
                value = read_value(named[name], parameter, parts)
            except ReplyError as error:
                if not self.ignore_extraction_error:
                    raise ReplyError(f"The value suggested for {name} is refused: {error}.") from error
                update.refused[name] = str(error)
                continue
            update[parameter] = format_code(value) if isinstance(value, str) else value
        return update

    # --- copies ---

    def _copy_attribute(self, key: str, value: Any, memo: dict[int, Any]) -> Any:
        if key in ("log", "summary_log") and value is not None:
            return list(value)  # entries are records: shared, never changed
        return copy.deepcopy(value, memo)


def stopped() -> Update:
    """The update of a step in which the model ended the optimization."""
    return Update(reason=f"the model ended the optimization: it replied {STOP_WORD}")


def _why_empty(suggestion: Suggestion, update: Update) -> str:
    return why_refused(update) or suggestion.fault or "the model suggested no change"
