"""The base of optimizers that ask a model: the model and its cost, the summary of a run, checks of a reply, logs."""

from __future__ import annotations

import copy
import logging
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from opto.cost import Cost
from opto.errors import LLMResponseError, ReplyError
from opto.optimizers.buffers import FIFOBuffer
from opto.optimizers.formats.own_methods import STOP_WORD
from opto.optimizers.formats.texts import fill
from opto.optimizers.optimizer import Optimizer, Parameters, Update, refuse, why_refused
from opto.optimizers.problem.problem import (
    FeedbackOfProblem,
    FunctionFeedback,
    Problem,
    collect,
    part_of,
)
from opto.optimizers.replies.json_replies import CutText
from opto.optimizers.replies.shapes import Suggestion, clean_name
from opto.optimizers.replies.values import check_code, format_code, read_value
from opto.optimizers.utils import print_color
from opto.registry import implementation
from opto.trace.nodes import ParameterNode
from opto.trace.propagators.graph_propagator import TraceGraph, accumulate
from opto.trace.propagators.propagators import Propagator
from opto.trace.spaces.space import space_of

__all__ = ["LLM", "LLMOptimizer", "StepSummary", "reply_texts", "send_first", "stopped"]

_log = logging.getLogger(__name__)
_LOGGED_STEPS = 100
_COUNTING = threading.Lock()  # candidates are drawn in threads; a lock of one's own would not be copied or pickled


def LLM(*args: Any, **kwargs: Any) -> Any:
    """A new default model: `opto.utils.llm.LLM`, as that is when this is called."""
    return implementation("default model")(*args, **kwargs)


@dataclass(frozen=True, eq=False, repr=False)
class StepSummary(Mapping[str, Any]):
    """An entry of `summary_log`: the `summary` of a step, and its `problem_instance`, rendered when it is read.

    `settings` are the attributes of the optimizer (of the class `kind`) at that step: its objective, its format.
    """

    kind: type[LLMOptimizer]
    settings: Mapping[str, Any]
    summary: FunctionFeedback
    mask: list[str] | None

    def __getitem__(self, key: str) -> Any:
        if key == "summary":
            return self.summary
        if key == "problem_instance":
            optimizer = self.kind.__new__(self.kind)
            vars(optimizer).update(self.settings)
            return optimizer.problem_instance(self.summary, mask=self.mask)
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(("problem_instance", "summary"))

    def __len__(self) -> int:
        return 2

    def __deepcopy__(self, memo: dict[int, Any]) -> StepSummary:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)


class LLMOptimizer(Optimizer):
    """An optimizer that shows the run to a model and takes new values from its reply.

    `log` and `summary_log` hold the last 100 steps, or as many as `log` says; they are None with `log=False`.
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
    by_own_methods: bool = True
    """Whether the rules of the existing library hold: the optimizer's methods, which a program may override, make the
    prompt and read the reply (`formats/own_methods.py`), and 2.7 for a whole number is read as 2, with a warning."""

    default_objective: Any
    default_prompt_symbols: Mapping[str, str]

    def __init__(
        self,
        parameters: Parameters,
        llm: Any = None,
        *args: Any,
        propagator: Propagator | None = None,
        objective: str | None = None,
        memory_size: int = 0,
        max_tokens: int = 4096,
        log: bool | int = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(parameters, propagator=propagator)
        self._llm = implementation("default model")(model=llm) if isinstance(llm, str) else llm
        self._make_llm: Callable[[], Any] = LLM
        if llm is None:
            replaced = self._model_class()
            self._make_llm = implementation("default model") if replaced is LLM else replaced
        self.objective: str = objective or self.default_objective
        self.memory = FIFOBuffer(memory_size)
        self.max_tokens = max_tokens
        self.logged_steps = _LOGGED_STEPS if log is True else int(log)
        self.log: list[dict[str, Any]] | None = [] if log else None
        self.summary_log: list[Mapping[str, Any]] | None = [] if log else None
        self.ignore_extraction_error: bool = kwargs.get("ignore_extraction_error", True)
        self.include_example: bool = kwargs.get("include_example", False)
        self.use_json_object_format: bool = kwargs.get("use_json_object_format", True)
        self.prompt_symbols: dict[str, str] = {**self.default_prompt_symbols, **(kwargs.get("prompt_symbols") or {})}
        self._sampling: dict[str, Any] = {}  # options of the calls that are made now, as a temperature

    # --- the model ---

    def _model_class(self) -> Callable[[], Any]:
        """The maker of the default model. Programs replace it under the name `LLM` in the modules of the optimizers."""
        return LLM

    @property
    def llm(self) -> Any:
        """The model; the default one is made when first needed."""
        if self._llm is None:
            self._llm = self._make_llm()
        return self._llm

    @llm.setter
    def llm(self, llm: Any) -> None:
        self._llm = llm

    def _ask(self, messages: list[dict[str, str]], verbose: bool | str = False, **options: Any) -> str:
        """The reply of one call."""
        return self._ask_all(messages, verbose, **options)[0]

    def _ask_all(
        self,
        messages: list[dict[str, str]],
        verbose: bool | str = False,
        *,
        llm: Any = None,
        send: Callable[..., Any] | None = None,
        **options: Any,
    ) -> list[str]:
        """The replies of one call, whose cost goes to `spent`; `send(model, messages, **options)` calls the model."""
        if verbose not in (False, "output"):
            print_color("Prompt\n" + "\n".join(m["content"] for m in messages), "green")
        start = time.perf_counter()
        model = self.llm if llm is None else llm
        options |= self._sampling
        response = model(messages=messages, **options) if send is None else send(model, messages, **options)
        cost = Cost.of_call(getattr(response, "usage", None), seconds=time.perf_counter() - start)
        with _COUNTING:
            self.spent += cost
        replies = reply_texts(response)
        if verbose:
            print_color("LLM response:\n" + "\n".join(replies), "green")
        return replies

    # --- the problem ---

    @property
    def memory_size(self) -> int:
        """How many earlier attempts are shown."""
        return self.memory.size

    def _trainable(self) -> list[ParameterNode[Any]]:
        return [p for p in dict.fromkeys(self.parameters) if p.trainable]

    def summarize(self) -> FunctionFeedback:
        """The run behind the feedback on the trainable parameters; several outputs keep their own feedback."""
        parameters = self._trainable()
        graph: TraceGraph = accumulate(parameters)
        if graph.user_feedback is None and not any(p.feedback for p in parameters):
            _log.warning("No feedback has reached the parameters: call backward(output, feedback) before step().")
        return FeedbackOfProblem(collect(graph, parameters))

    def _with_all_parts(self, problem: Problem) -> Problem:
        """The problem with all trainable parameters as parts: a reply may name one that was not shown."""
        mine = self._trainable()
        if len(problem.parts) == len(mine):
            return problem
        return replace(problem, parts=tuple([part_of(p, p.py_name) for p in mine]))

    def _notes(self) -> str:
        """The notes of a classic prompt beside the problem: the text of `set_context`, and the blamed parts."""
        notes = {"context": self.context, "blame": str(self.blamed)}
        return "".join(f"{fill(name, **{name: text})}\n\n" for name, text in notes.items() if text)

    # --- methods that programs for the existing library call and override ---

    def construct_prompt(
        self, summary: FunctionFeedback, mask: list[str] | None = None, *args: Any, **kwargs: Any
    ) -> tuple[str, str]:
        """(system prompt, user prompt) for a summary; remembers the attempt that the summary is about."""
        prompts = self._compose(summary, mask)
        if self.memory.size:
            self.memory.add((summary.variables, summary.user_feedback))
        return prompts

    def _compose(self, summary: FunctionFeedback, mask: list[str] | None) -> tuple[str, str]:
        """(system prompt, user prompt) for a summary, with the default headings."""
        raise NotImplementedError

    def problem_instance(self, summary: FunctionFeedback, mask: list[str] | None = None) -> Any:
        """The problem as the prompt shows it; `str()` renders it."""
        raise NotImplementedError

    def replace_symbols(self, text: str, symbols: Mapping[str, str]) -> str:
        """`text` with the default headings replaced by those of `symbols`, where this format has them."""
        for key, heading in self.default_prompt_symbols.items():
            text = text.replace(heading, symbols.get(key, heading))
        return text

    @abstractmethod
    def call_llm(
        self, system_prompt: str, user_prompt: str, verbose: bool | str = False, max_tokens: int = 4096
    ) -> str:
        """The model's reply to the two prompts."""

    @abstractmethod
    def extract_llm_suggestion(self, response: str) -> dict[str, Any]:
        """The suggestion in a reply of this optimizer's own format."""

    def own_values(self, reply: str) -> tuple[str, Mapping[str, Any]]:
        """(reasoning, values) of a reply in this optimizer's own format."""
        return "", self.extract_llm_suggestion(reply)

    # --- from a suggestion to an update ---

    def _believe(self, suggestion: Suggestion) -> Update:
        """The update that the suggestion makes, after every value was checked; nothing is refused in silence."""
        found = self.construct_update_dict(dict(suggestion.values))
        update = found if isinstance(found, Update) else Update(found)
        update.reasoning = suggestion.reasoning
        for parameter, value in list(update.items()):
            try:
                if isinstance(value, str) and parameter.is_code and space_of(parameter) is None:
                    check_code(value, str(parameter._data), parameter.description)
            except ReplyError as error:
                del update[parameter]
                update.refused[parameter.py_name] = str(error)
        for name, fault in update.refused.items():
            refuse(update, name, fault)
        if not update:
            update.reason = why_refused(update) or suggestion.fault or "the model suggested no change"
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
        for parameter, part in zip(mine, parts, strict=True):
            if part.name not in named:
                continue
            try:
                value = read_value(named[part.name], parameter, parts, rounds=self.by_own_methods)
            except ReplyError as error:
                if not self.ignore_extraction_error:
                    raise ReplyError(f"The value suggested for {part.name} is refused: {error}.") from error
                update.refused[part.name] = str(error)
                continue
            update[parameter] = format_code(value) if part.is_code and isinstance(value, str) else value
        return update

    # --- logs and copies ---

    def _record(self, entry: dict[str, Any], summary: FunctionFeedback, mask: list[str] | None) -> None:
        """Add a step to the logs, which forget the oldest."""
        if self.log is not None:
            self.log.append(entry)
            del self.log[: -self.logged_steps]
        if self.summary_log is not None:
            self.summary_log.append(StepSummary(type(self), {**vars(self)}, summary, mask))
            del self.summary_log[: -self.logged_steps]

    def _copy_attribute(self, key: str, value: Any, memo: dict[int, Any]) -> Any:
        if key in ("log", "summary_log") and value is not None:
            return list(value)  # entries are records: shared, never changed
        return copy.deepcopy(value, memo)


def send_first(llm: Any, messages: list[dict[str, str]], **options: Any) -> Any:
    """Call `create` of a client that has one, any other model with the messages as the first argument."""
    create = getattr(llm, "create", None)
    return create(messages=messages, **options) if callable(create) else llm(messages, **options)


def reply_texts(response: Any) -> list[str]:
    """The texts of all choices; LLMResponseError if there are none.

    A reply that the model did not end, or did not give, is a `CutText` that says why.
    """
    try:
        texts = [_reply_text(choice) for choice in response.choices]
    except (AttributeError, TypeError) as error:
        raise _without_choices(response) from error
    if not texts:
        raise _without_choices(response)
    return texts


def _reply_text(choice: Any) -> str:
    message, reason = choice.message, getattr(choice, "finish_reason", None)
    content = message.content
    if isinstance(content, (list, tuple)):  # parts, as some servers give them
        parts: list[Any] = [
            part.get("text") if isinstance(part, dict) else getattr(part, "text", part) for part in content
        ]
        content = "".join(part for part in parts if isinstance(part, str))
    text = "" if content is None else str(content)
    refusal = getattr(message, "refusal", None)
    if reason == "length":
        return CutText(text)
    if reason == "content_filter":
        return CutText("", "a content filter cut the reply off, so that none of it is believed")
    if not text.strip() and refusal:
        return CutText(text, f"the model refused: {str(refusal)[:300]}")
    if not text.strip() and (calls := getattr(message, "tool_calls", None)):
        call = calls[0] if isinstance(calls, (list, tuple)) else calls
        function = call.get("function") if isinstance(call, dict) else getattr(call, "function", None)
        name = function.get("name") if isinstance(function, dict) else getattr(function, "name", None)
        return CutText(text, f"the model called {f'the tool {name}' if name else 'a tool'} and said nothing")
    return text


def _without_choices(response: Any) -> LLMResponseError:
    return LLMResponseError(f"The model's response (a {type(response).__name__}) has no choices[0].message.content.")


def stopped() -> Update:
    """The update of a step in which the model ended the optimization."""
    return Update(reason=f"the model ended the optimization: it replied {STOP_WORD}")
