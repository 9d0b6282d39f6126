"""OptoPrime: the optimizer to use. Lean prompts, replies in the shape that fits the model.

By default a step shows only what may change, the run in one line a call, and each output with its
feedback (`render_lean.py`), asks for a reply in the shape that the model's profile names
(`prompts_lean.py`), believes nothing unchecked, and asks once more if the reply cannot be used.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from opto.errors import LLMError, LLMRequestError, LLMResponseError
from opto.events import emit
from opto.llm.profile import ModelProfile, profile_of
from opto.optimizers.asking import Tally
from opto.optimizers.formats.classic import ProblemInstance
from opto.optimizers.formats.lean import SHAPES, ClassicPrompt, Message, Prompt, ShapeFactory, classic_text, re_ask
from opto.optimizers.formats.small import focus_prompt
from opto.optimizers.formats.texts import PromptText
from opto.optimizers.llm_optimizer import STOP_WORD, stopped
from opto.optimizers.optoprime_v1 import OptoPrimeV1
from opto.optimizers.problem.collect import (
    FunctionFeedback,
    get_fun_name,
    node_to_function_feedback,
    repr_function_call,
)
from opto.optimizers.problem.problem import Attempt, Problem
from opto.optimizers.problem.uses import Focus
from opto.optimizers.replies.shapes import Suggestion
from opto.optimizers.replies.values import same_value
from opto.optimizers.update import ReplyAsked, Update
from opto.trace.nodes import ParameterNode

__all__ = [
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
_CLASSIC_METHODS = ("construct_prompt", "problem_instance", "call_llm", "extract_llm_suggestion")
_CLASSIC_TEXTS = ("representation_prompt", "user_prompt_template", "final_prompt")


class OptoPrime(OptoPrimeV1):
    """Improves parameters with one lean question to a model a step.

    `objective` says what is wanted, where feedback alone does not; `memory_size` earlier attempts are shown;
    `max_tokens` bounds a reply (4,096); `log=False` keeps no prompts and replies.
    `max_prompt_tokens` bounds the prompt (8,000, or what a small window holds). `reply` overrides the
    shape of reply that the model's profile names: "json_object", "json_schema", "text", "prefill", or a
    function `(problem, budget, turn) -> Prompt`; a profile that says `small` gets one part at a time (`small.py`),
    the one in `focus` if that is set. An option of the classic format (`json_keys`,
    `prompt_symbols`, `highlight_variables`, `include_example`, `mask` of a step) turns to that format, and so does
    whoever replaces what makes it: a prompt text, or `construct_prompt`, `call_llm` … in a subclass.

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

    _SAVED: tuple[str, ...] = (*OptoPrimeV1._SAVED, "max_prompt_tokens", "turn", "_json_keys_given", "_shape")
    default_objective = PromptText("lean_objective")

    def __init__(
        self,
        parameters: list[ParameterNode[Any]],
        llm: Any = None,
        *args: Any,
        max_prompt_tokens: int | None = None,
        reply: str | ShapeFactory | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(parameters, llm, *args, **kwargs)
        if isinstance(reply, str) and reply not in SHAPES:
            raise ValueError(f"reply is one of {', '.join(sorted(SHAPES))} or a function, not {reply!r}.")
        self.max_prompt_tokens = max_prompt_tokens
        self.reply = reply
        self.turn = 0
        self.focus: Focus | None = None
        self._json_keys_given = kwargs.get("json_keys") is not None

    @property
    def _shape(self) -> str | None:
        """What a file keeps of `reply`: the name of a shape; a function of the user's stays where it is."""
        return self.reply if isinstance(self.reply, str) else None

    @_shape.setter
    def _shape(self, shape: str | None) -> None:
        self.reply = shape or self.reply

    def is_classic(self, mask: list[str] | None = None) -> bool:
        """Whether the next prompt is in the classic format, because an option of that format is in use."""
        return bool(
            mask
            or self._json_keys_given
            or self.include_example
            or self.highlight_variables
            or self.prompt_symbols != self.default_prompt_symbols
            or self._has_own_methods()
            or self._has_own_texts()
        )

    def _has_own_methods(self) -> bool:
        """Whether a subclass or the user replaced a method of the classic format."""
        return any(
            getattr(getattr(self, name), "__func__", None) is not getattr(OptoPrime, name) for name in _CLASSIC_METHODS
        )

    def _has_own_texts(self) -> bool:
        """Whether a subclass or the user replaced a text of the classic format."""
        usual = self._with_keys(OptoPrime.output_format_prompt_template, "classic_answer_line")
        return self.output_format_prompt != usual or any(
            getattr(self, name) != getattr(OptoPrime, name) for name in _CLASSIC_TEXTS
        )

    # --- the prompt ---

    def _problem(self, summary: FunctionFeedback) -> Problem:
        """What the lean prompt shows; without any feedback all trainable parameters are parts."""
        problem = summary.problem
        history = tuple(
            Attempt({name: value for name, (value, _) in variables.items()}, feedback)
            for variables, feedback in self.memory
        )
        parts = problem.parts or self._known(problem).parts
        goal = "" if self.objective == self.default_objective else self.objective  # the prompt says the usual itself
        problem = replace(problem, parts=parts, objective=goal, context=self.context, history=history)
        return replace(problem, blame=self.blamed.shares)

    def _prompt(self, problem: Problem) -> Prompt:
        """The prompt for a problem: the shape that the user or the model's profile names."""
        profile = profile_of(self.llm)
        if self.reply is None and profile.small and problem.parts:
            prefill = profile.reply == "prefill"
            return focus_prompt(problem, self._budget(profile), self.turn, focus=self.focus, prefill=prefill)
        shape = self.reply or profile.reply
        factory = SHAPES[shape] if isinstance(shape, str) else shape
        return factory(problem, self._budget(profile), self.turn)

    def _budget(self, profile: ModelProfile) -> int:
        """Tokens for the prompt: the user's bound, else what the window leaves beside the reply, 8,000 at most."""
        if self.max_prompt_tokens is not None:
            return self.max_prompt_tokens
        window = profile.context_tokens
        return min(_MAX_PROMPT_TOKENS, max(window - self.max_tokens, window // 2))

    def _reply_room(self) -> int:
        """Tokens for the reply: `max_tokens`, or what a window that is known to be smaller leaves."""
        profile = getattr(self.llm, "profile", None)
        if not isinstance(profile, ModelProfile):
            return self.max_tokens
        return max(min(self.max_tokens, profile.context_tokens - self._budget(profile)), 256)

    def _compose(self, summary: FunctionFeedback, mask: list[str] | None) -> tuple[str, str]:
        if self.is_classic(mask):
            return super()._compose(summary, mask)
        problem = self._problem(summary)
        messages = self._prompt(problem).messages(problem)
        return messages[0]["content"], messages[1]["content"]

    def _classic_prompt(self, summary: FunctionFeedback) -> Prompt:
        """The classic format as a prompt."""
        system, user = (self.replace_symbols(text, self.prompt_symbols) for text in self._compose(summary, None))
        return ClassicPrompt(system, user, self._read, json_object=self.use_json_object_format)

    # --- the step ---

    def _step(self, verbose: bool | str = False, mask: list[str] | None = None, *args: Any, **kwargs: Any) -> Update:
        if self.is_classic(mask):
            return super()._step(verbose, mask, *args, **kwargs)
        return next(iter(self._draw([None], verbose)))

    def propose_many(self, n: int, temperatures: Sequence[float] | None = None) -> list[Update]:
        """Draw `n` candidates from one prompt, checked and projected, none written: for a gate to choose from.

        Temperatures are used in turn (0.4, 0.7, 0.9, 1.1 unless given). An unusable reply gives an empty
        Update whose `reason` says why.
        """
        return list(self.propose_each(n, temperatures))

    def propose_each(self, n: int, temperatures: Sequence[float] | None = None) -> Iterator[Update]:
        """The same one by one: a candidate is asked for when it is taken, so that whoever has enough can stop."""
        chosen = tuple(temperatures or _TEMPERATURES)
        drawn = self._draw([chosen[i % len(chosen)] for i in range(n)], False)
        if self._has_own_methods():  # they know no temperature
            drawn = (self._step() for _ in range(n))
        for update in drawn:
            self.project(update)
            yield update

    def _draw(self, temperatures: Sequence[float | None], verbose: bool | str) -> Iterator[Update]:
        """One update for each temperature; None is the model's own, with a second question if the first fails."""
        self.spent = Tally()
        if not self._trainable():
            yield from [Update(reason="none of the parameters is trainable") for _ in temperatures]
            return
        summary = self.summarize()
        problem = self._problem(summary)
        prompt = self._classic_prompt(summary) if self.is_classic() else self._prompt(problem)
        attempt = (summary.variables, summary.user_feedback)
        if not any(same_value(attempt, last) for last in self.memory.buffer[-1:]):  # one may be drawn from many times
            self.memory.add(attempt)
        self.turn += 1
        messages = prompt.messages(problem)
        for temperature in temperatures:
            update, entry = self._one(prompt, messages, problem, temperature=temperature, verbose=verbose)
            if entry is not None:
                self._record(entry, summary, None)
            update.blame = self.blamed
            yield update

    def _one(
        self,
        prompt: Prompt,
        messages: list[Message],
        problem: Problem,
        *,
        temperature: float | None,
        verbose: bool | str,
    ) -> tuple[Update, dict[str, Any] | None]:
        """One candidate and its log entry (None if the model ended the optimization)."""
        known = self._known(problem)
        reply = self._call(prompt, messages, temperature=temperature, verbose=verbose)
        suggestion = prompt.read(reply, known)
        if STOP_WORD in reply and not suggestion.values:
            return stopped(), None
        update = self._believe(suggestion)
        if temperature is None and not update and (suggestion.fault or update.refused):
            fault = update.reason or ""
            emit(ReplyAsked(fault))
            messages = re_ask(messages, reply, fault)
            reply = self._call(prompt, messages, temperature=None, verbose=verbose)
            suggestion = prompt.read(reply, known)
            update = self._believe(suggestion)
        return update, _entry(messages, reply, suggestion)

    def _call(self, prompt: Prompt, messages: list[Message], *, temperature: float | None, verbose: bool | str) -> str:
        """The reply; a server that refuses `response_format` is asked once more without it."""
        options: dict[str, Any] = {"max_tokens": self._reply_room(), **prompt.options()}
        if temperature is not None:
            options["temperature"] = temperature
        if not self.use_json_object_format:
            options.pop("response_format", None)
        try:
            return self._ask(messages, verbose, **options)
        except Exception as error:
            if "response_format" not in options or (isinstance(error, LLMError) and not _is_refusal(error)):
                raise
            _log.warning("The question with response_format failed and is asked once more without it: %s", error)
        del options["response_format"]
        return self._ask(messages, verbose, **options)


def _is_refusal(error: LLMError) -> bool:
    """Whether the request itself displeased: then a plainer one may pass."""
    return isinstance(error, (LLMRequestError, LLMResponseError))


def _entry(messages: list[Message], reply: str, suggestion: Suggestion) -> dict[str, Any]:
    """The log entry; `response` is a JSON object whatever the shape of the reply, which stands under `reply`."""
    try:
        is_object = isinstance(json.loads(reply), dict)
    except (ValueError, RecursionError):
        is_object = False
    response = reply if is_object or not suggestion.values else classic_text(suggestion)
    return {
        "system_prompt": messages[0]["content"],
        "user_prompt": "\n\n".join(m["content"] for m in messages[1:]),
        "response": response,
        "reply": reply,
    }
