"""OptoPrime: the optimizer to use. One lean question a step, replies in the shape that fits the model.

A step shows what may change, the run in one line a call, and each output with its feedback, asks for a reply in the
shape that the model's profile names (`formats/lean.py`), believes nothing unchecked, and asks once more if the reply
cannot be used. `OptoPrimeV1` speaks the format of the existing library instead (`formats/classic.py`).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from opto.cost import Cost
from opto.errors import LLMError, LLMRequestError, LLMResponseError
from opto.events import emit
from opto.llm.profile import ModelProfile, profile_of
from opto.optimizers.formats.classic import ClassicMethods, ProblemInstance, classic_text
from opto.optimizers.formats.lean import FORMATS, Format, Message, Prompt, re_ask
from opto.optimizers.formats.own_methods import REPLACEABLE, STOP_WORD, OwnMethods
from opto.optimizers.formats.small import Small
from opto.optimizers.formats.texts import PromptText, prompt_text
from opto.optimizers.llm_optimizer import LLM, LLMOptimizer, stopped
from opto.optimizers.optimizer import Parameters, ReplyAsked, Update
from opto.optimizers.problem.problem import (
    Attempt,
    FunctionFeedback,
    Problem,
    get_fun_name,
    node_to_function_feedback,
    repr_function_call,
)
from opto.optimizers.replies.shapes import Suggestion
from opto.optimizers.replies.values import same_value

__all__ = [
    "LLM",
    "FunctionFeedback",
    "OptoPrime",
    "OptoPrimeV1",
    "ProblemInstance",
    "get_fun_name",
    "node_to_function_feedback",
    "repr_function_call",
]

_log = logging.getLogger(__name__)
_MAX_PROMPT_TOKENS = 8_000
_TEMPERATURES = (0.4, 0.7, 0.9, 1.1)


class OptoPrime(ClassicMethods, LLMOptimizer):
    """Improves parameters with one lean question to a model a step.

    `objective` says what is wanted, where feedback alone does not; `memory_size` earlier attempts are shown;
    `max_tokens` bounds a reply (4,096); `log=False` keeps no prompts and replies.
    `max_prompt_tokens` bounds the prompt (8,000, or what a small window holds). `reply` overrides the
    shape of reply that the model's profile names: "json_object", "json_schema", "text", "prefill", or a `Format`
    of the user's; a profile that says `small` gets one part at a time (`formats/small.py`), the one in `focus` if that
    is set. An option of the classic format (`json_keys`, `prompt_symbols`, `highlight_variables`, `include_example`,
    `mask` of a step) turns to that format, and so does a program that replaces what makes it: a prompt text, or
    `construct_prompt`, `call_llm` … (`formats/own_methods.py`).

    Example:
        >>> from opto.llm.fakes import ScriptedLLM
        >>> from opto.trace import GRAPH, node
        >>> GRAPH.clear()
        >>> x = node(1, name="x", trainable=True)
        >>> llm = ScriptedLLM(['{"reasoning": "4 + 1 is 5", "suggestion": {"x0": 4}}'])
        >>> optimizer = OptoPrime([x], llm=llm)
        >>> optimizer.backward(x + 1, "the result should be 5")
        >>> optimizer.step() == {x: 4}, x.data
        (True, 4)
        >>> print(llm.calls[0]["messages"][1]["content"].split("# Reply")[0].strip())
        # Parts you may change
        x0 (int): 1
        <BLANKLINE>
        # What happened
        add0(x0, 1) -> 2
        <BLANKLINE>
        # Result and feedback
        add0 -> 2
        Feedback: the result should be 5
    """

    _SAVED: tuple[str, ...] = (
        *LLMOptimizer._SAVED,
        "prompt_symbols",
        "json_keys",
        "_own_texts",
        "highlight_variables",
        "use_json_object_format",
        "max_prompt_tokens",
        "turn",
        "by_own_methods",
        "_shape",
    )
    by_own_methods = False
    default_objective = PromptText("lean_objective")

    def __init__(
        self,
        parameters: Parameters,
        llm: Any = None,
        *args: Any,
        max_prompt_tokens: int | None = None,
        reply: str | Format | None = None,
        json_keys: Mapping[str, str | None] | None = None,
        highlight_variables: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(parameters, llm, *args, **kwargs)
        if isinstance(reply, str) and reply not in FORMATS:
            raise ValueError(f"reply is one of {', '.join(sorted(FORMATS))} or a Format, not {reply!r}.")
        self.max_prompt_tokens = max_prompt_tokens
        self.reply = reply
        self.turn = 0
        self.json_keys: dict[str, str | None] = {**self.default_json_keys, **(json_keys or {})}
        self.highlight_variables = highlight_variables
        if json_keys is not None:
            self.by_own_methods = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if REPLACEABLE & vars(cls).keys():
            cls.by_own_methods = True

    def _model_class(self) -> Any:
        return LLM

    @property
    def _shape(self) -> str | None:
        """The part of `reply` that a file keeps: the name of a shape; a format of the user's own is not saved."""
        return self.reply if isinstance(self.reply, str) else None

    @_shape.setter
    def _shape(self, shape: str | None) -> None:
        self.reply = shape or self.reply

    @property
    def _own_texts(self) -> dict[str, str]:
        """The texts of the classic format that were replaced on this optimizer."""
        return {name: text for name, text in vars(self).items() if name in REPLACEABLE and isinstance(text, str)}

    @_own_texts.setter
    def _own_texts(self, texts: dict[str, str]) -> None:
        vars(self).update(texts)

    # --- the step ---

    def _step(self, verbose: bool | str = False, mask: list[str] | None = None, *args: Any, **kwargs: Any) -> Update:
        return next(self._draw([None], verbose, mask))

    def propose_many(self, n: int, temperatures: Sequence[float] | None = None) -> list[Update]:
        """Draw `n` candidates from one prompt, checked and projected, none written: for a gate to choose from.

        Temperatures are used in turn (0.4, 0.7, 0.9, 1.1 unless given). An unusable reply gives an empty
        Update whose `reason` says why.
        """
        return list(self.propose_each(n, temperatures))

    def propose_each(self, n: int, temperatures: Sequence[float] | None = None) -> Iterator[Update]:
        chosen = tuple(temperatures or _TEMPERATURES)
        for update in self._draw([chosen[i % len(chosen)] for i in range(n)]):
            self.project(update)
            yield update

    def _draw(
        self, temperatures: Sequence[float | None], verbose: bool | str = False, mask: list[str] | None = None
    ) -> Iterator[Update]:
        """One update for each temperature; None is the model's own, with a second question if the first fails."""
        self.spent = Cost()
        if not self._trainable():
            yield from [Update(reason="none of the parameters is trainable") for _ in temperatures]
            return
        if not (self._asks_by_own_methods(mask) or any(p.feedback for p in self.parameters)):
            why = "no feedback has reached the parameters: call backward(output, feedback) before step()"
            yield from [Update(reason=why) for _ in temperatures]
            return
        summary = self.summarize()
        known = self._with_all_parts(summary.problem)
        prompt = self._prompt(summary, mask)
        self.turn += 1
        for temperature in temperatures:
            self._sampling = {} if temperature is None else {"temperature": temperature}
            try:
                messages, reply, suggestion, update = self._answer(prompt, known, verbose)
            finally:
                self._sampling = {}
            if STOP_WORD in reply and not suggestion.values:
                update = stopped()
            else:
                self._record(_entry(prompt, messages, reply, suggestion), summary, mask)
            update.blame = self.blamed
            yield update

    def _answer(
        self, prompt: Prompt, known: Problem, verbose: bool | str
    ) -> tuple[list[Message], str, Suggestion, Update]:
        """The chat, the model's reply, its suggestion, and the update; an unusable reply is asked for once more."""
        messages = prompt.messages
        while True:
            reply = self._reply(prompt, messages, verbose)
            suggestion = prompt.read(reply, known)
            if STOP_WORD in reply and not suggestion.values:
                return messages, reply, suggestion, Update()
            update = self._believe(suggestion)
            is_final = prompt.ask is not None or self._sampling or messages is not prompt.messages
            if update or is_final or not (suggestion.fault or update.refused):
                return messages, reply, suggestion, update
            emit(ReplyAsked(update.reason or ""))
            messages = re_ask(messages, reply, update.reason or "")

    def _reply(self, prompt: Prompt, messages: list[Message], verbose: bool | str) -> str:
        """The reply; a server that refuses `response_format` is asked once more without it."""
        if prompt.ask is not None:
            return prompt.ask(messages, verbose)
        options = dict(prompt.options)
        try:
            return self._ask_all(messages, verbose, **options)[0]
        except Exception as error:
            is_refusal = not isinstance(error, LLMError) or isinstance(error, (LLMRequestError, LLMResponseError))
            if "response_format" not in options or not is_refusal:
                raise
            _log.warning("The question with response_format failed and is asked once more without it: %s", error)
        del options["response_format"]
        return self._ask_all(messages, verbose, **options)[0]

    # --- the prompt ---

    def _prompt(self, summary: FunctionFeedback, mask: list[str] | None) -> Prompt:
        """The question about a run, in the format that the user, the program or the model's profile names."""
        if self._asks_by_own_methods(mask):
            return OwnMethods(self, summary, mask).prompt(summary.problem, 0, self.turn)
        prompt = self._lean_prompt(summary)
        if self.memory.size:
            attempt = (summary.variables, summary.user_feedback)
            if not any(same_value(attempt, last) for last in self.memory.buffer[-1:]):  # one may be drawn from often
                self.memory.add(attempt)
        return prompt

    def _asks_by_own_methods(self, mask: list[str] | None) -> bool:
        return bool(
            mask
            or self.by_own_methods
            or self.include_example
            or self.highlight_variables
            or self.prompt_symbols != self.default_prompt_symbols
            or REPLACEABLE & vars(self).keys()
        )

    def _lean_prompt(self, summary: FunctionFeedback) -> Prompt:
        problem = summary.problem
        goal = self.objective
        problem = replace(
            problem,
            parts=problem.parts or self._with_all_parts(problem).parts,
            objective="" if goal == prompt_text("lean_objective") else goal,  # the prompt says the usual itself
            context=self.context,
            history=self._history() if self.memory.size else (),
            blame=self.blamed.shares,
        )
        profile = profile_of(self.llm)
        window, budget = profile.context_tokens, self.max_prompt_tokens
        if budget is None:
            budget = min(_MAX_PROMPT_TOKENS, max(window - self.max_tokens, window // 2))
        room = self.max_tokens
        if isinstance(getattr(self.llm, "profile", None), ModelProfile):  # its window is known
            room = max(min(room, window - budget), 256)
        if self.reply is None and profile.small and problem.parts:
            style: Format = Small(self.focus, prefill=profile.reply == "prefill")
        else:
            shape = self.reply or profile.reply
            style = FORMATS[shape] if isinstance(shape, str) else shape
        prompt = style.prompt(problem, budget, self.turn)
        options = {"max_tokens": room, **prompt.options}
        if not self.use_json_object_format:
            options.pop("response_format", None)
        return replace(prompt, options=options)

    def _compose(self, summary: FunctionFeedback, mask: list[str] | None) -> tuple[str, str]:
        if self._asks_by_own_methods(mask):
            return super()._compose(summary, mask)
        system, user = self._lean_prompt(summary).messages[:2]
        return system["content"], user["content"]

    def _history(self) -> tuple[Attempt, ...]:
        return tuple(
            Attempt({name: value for name, (value, _) in variables.items()}, feedback)
            for variables, feedback in self.memory
        )


class OptoPrimeV1(OptoPrime):
    """The optimizer of Cheng, Nie, Swaminathan (2024, arXiv 2406.16218), in the format of the existing library.

    `json_keys` renames the fields of the reply (`answer: None` drops that field), `prompt_symbols` the
    headings; `highlight_variables` asks for the variables by name once more at the end.

    Example:
        >>> from opto.llm.fakes import ScriptedLLM
        >>> from opto.trace import GRAPH, node
        >>> GRAPH.clear()
        >>> x = node(1, name="x", trainable=True)
        >>> optimizer = OptoPrimeV1([x], llm=ScriptedLLM(['{"suggestion": {"x0": 4}}']))
        >>> optimizer.backward(x + 1, "the result should be 5")
        >>> optimizer.step() == {x: 4}, x.data
        (True, 4)
    """

    by_own_methods = True
    default_objective = PromptText("classic_objective")


def _entry(prompt: Prompt, messages: list[Message], reply: str, suggestion: Suggestion) -> dict[str, Any]:
    """The log entry. Where a lean reply is no JSON object, `response` is one all the same; it stands under `reply`."""
    entry: dict[str, Any] = {
        "system_prompt": messages[0]["content"],
        "user_prompt": "\n\n".join(m["content"] for m in messages[1:]),
        "response": reply,
    }
    if prompt.ask is not None:
        return entry
    try:
        is_object = isinstance(json.loads(reply), dict)
    except (ValueError, RecursionError):
        is_object = False
    if not is_object and suggestion.values:
        entry["response"] = classic_text(suggestion)
    return {**entry, "reply": reply}
