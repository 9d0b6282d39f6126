"""TextGrad: criticism is carried back call by call, then each parameter is rewritten by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opto.optimizers.asking import Tally, send_first
from opto.optimizers.formats.classic import memory_text
from opto.optimizers.formats.texts import PromptText, fill, prompt_text
from opto.optimizers.gradients import textual_gradients
from opto.optimizers.llm_optimizer import LLMOptimizer
from opto.optimizers.problem.collect import part_of
from opto.optimizers.problem.problem import kind_of
from opto.optimizers.render_edges import edge_prompt, merge_prompt
from opto.optimizers.replies.shapes import Suggestion
from opto.optimizers.update import Update
from opto.optimizers.utils import extract_first_top_level_block, print_color
from opto.trace.nodes import MessageNode, Node, ParameterNode
from opto.trace.propagators.graph_propagator import accumulate

__all__ = ["TextGrad"]

_TAG = "IMPROVED_VARIABLE"
_NO_SYMBOLS: Mapping[str, str] = {}


class TextGrad(LLMOptimizer):
    """Textual gradients after Yuksekgonul et al. (2024, arXiv 2406.07496): one call of the model for each edge.

    Only edges on a way to a parameter are asked about. With `memory_size` (momentum) earlier values and their
    criticism are shown to the rewriting call. `spent` counts the calls of the last step.

    Example:
        >>> from opto.llm.fakes import ScriptedLLM
        >>> from opto.trace import GRAPH, node
        >>> GRAPH.clear()
        >>> x = node(1, name="x", trainable=True)
        >>> llm = ScriptedLLM(["x is too small", "<IMPROVED_VARIABLE>4</IMPROVED_VARIABLE>"])
        >>> optimizer = TextGrad([x], llm=llm)
        >>> optimizer.backward(x + 1, "the result should be 5")
        >>> optimizer.step() == {x: 4}, optimizer.spent.calls
        (True, 2)
    """

    default_objective = PromptText("textgrad_objective")
    default_prompt_symbols = _NO_SYMBOLS

    def __init__(
        self, parameters: list[ParameterNode[Any]], llm: Any = None, *args: Any, log: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(parameters, llm, *args, log=log, **kwargs)

    def _step(self, verbose: bool | str = False, mask: list[str] | None = None, *args: Any, **kwargs: Any) -> Update:
        self.spent = Tally()
        parameters = self._trainable()
        if not parameters:
            return Update(reason="none of the parameters is trainable")

        def criticize(call: MessageNode[Any], parent: Node[Any], criticism: str) -> str:
            return self.call_llm(prompt_text("textgrad_critic"), edge_prompt(call, parent, criticism), verbose)

        def merge(node: Node[Any], criticisms: list[str]) -> str:
            return self.call_llm(prompt_text("textgrad_critic"), merge_prompt(node, criticisms), verbose)

        found = textual_gradients(accumulate(parameters), parameters, criticize, merge)
        if not found:
            return Update(reason="no feedback reached a parameter")
        return self._rewritten(found, verbose)

    def _rewritten(self, criticisms: Mapping[Node[Any], str], verbose: bool | str) -> Update:
        values: dict[str, Any] = {}
        silent: dict[str, str] = {}
        for parameter, criticism in criticisms.items():
            prompt = self._rewrite_prompt(parameter, criticism)
            found = self.extract_llm_suggestion(self.call_llm(prompt_text("textgrad_editor"), prompt, verbose))
            if found:
                values[parameter.py_name] = found["value"]
            else:
                silent[parameter.py_name] = f"the reply has no <{_TAG}> tags"
                print_color(f"{parameter.py_name} stays as it is: {silent[parameter.py_name]}.", "red")
        self.memory.add({p.py_name: (p._data, criticism) for p, criticism in criticisms.items()})
        update = self._believe(Suggestion(values, fault="; ".join(f"{k}: {v}" for k, v in silent.items()) or None))
        update.refused.update(silent)
        return update

    def _rewrite_prompt(self, parameter: Node[Any], criticism: str) -> str:
        name = parameter.py_name
        past = memory_text(({name: (old[name][0], None)}, old[name][1]) for old in self.memory if name in old)
        part = part_of(parameter, name)
        return fill(
            "textgrad_rewrite",
            name=name,
            kind=kind_of(name, part.value),
            value=part.value,
            constraint=fill("textgrad_constraint", description=part.conditions) if part.conditions else "",
            criticism=criticism,
            past=f"{past}\n\n" if past else "",
            context=self._notes(),
            objective=self.objective,
        )

    def call_llm(
        self, system_prompt: str, user_prompt: str, verbose: bool | str = False, max_tokens: int | None = None
    ) -> str:
        """The text of one reply; its prompt and itself go to `log`."""
        messages = [{"role": "system", "content": system_prompt}, {"role": "user", "content": user_prompt}]
        reply = self._ask(messages, verbose, send=send_first, max_tokens=max_tokens or self.max_tokens)
        if self.log is not None:
            self.log.append({"user_prompt": user_prompt, "response": reply})
        return reply

    def extract_llm_suggestion(self, response: str) -> dict[str, Any]:
        """`{"value": text}` of what stands between the tags; {} without them."""
        text = extract_first_top_level_block(response, _TAG)
        return {} if text is None else {"value": text.strip()}
