"""TextGrad: criticism is carried back call by call, then each parameter is rewritten by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from opto.cost import Cost
from opto.optimizers.formats.classic import memory_text
from opto.optimizers.formats.texts import PromptText, fill, prompt_text
from opto.optimizers.llm_optimizer import LLM, LLMOptimizer, send_first
from opto.optimizers.optimizer import Parameters, Update
from opto.optimizers.problem.problem import holds_code, part_of, repr_function_call
from opto.optimizers.replies.shapes import Suggestion
from opto.optimizers.utils import extract_first_top_level_block, print_color
from opto.show import held, text_of
from opto.trace.nodes import MessageNode, Node
from opto.trace.propagators.graph_propagator import TraceGraph, accumulate
from opto.trace.propagators.readable import readable

__all__ = ["LLM", "TextGrad", "edge_prompt", "merge_prompt", "textual_gradients"]

_TAG = "IMPROVED_VARIABLE"
_LONGEST = 4000  # characters of a value
_TAGS = ("result", "criticism", "argument", "value", _TAG)
_HEADINGS = (
    *("The step:", "What the function does:", "What went in:", "What came out:", "What was said about what came out:"),
    *("Its value:", "The criticisms:", "The criticism of it:", "How should the argument "),
)
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
        self,
        parameters: Parameters,
        llm: Any = None,
        *args: Any,
        log: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(parameters, llm, *args, log=log, **kwargs)

    def _model_class(self) -> Any:
        return LLM

    def _step(self, verbose: bool | str = False, mask: list[str] | None = None, *args: Any, **kwargs: Any) -> Update:
        self.spent = Cost()
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
            kind=part.kind,
            value=part.value,
            constraint=fill("textgrad_constraint", description=part.conditions) if part.conditions else "",
            criticism=_held(criticism),
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
            del self.log[: -self.logged_steps]
        return reply

    def extract_llm_suggestion(self, response: str) -> dict[str, Any]:
        """`{"value": text}` with the text between the tags; {} without tags."""
        text = extract_first_top_level_block(response, _TAG)
        return {} if text is None else {"value": text.strip()}


# --- criticism walks back ---

Criticize = Callable[[MessageNode[Any], Node[Any], str], str]
Merge = Callable[[Node[Any], list[str]], str]


def textual_gradients(
    graph: TraceGraph, parameters: Iterable[Node[Any]], criticize: Criticize, merge: Merge
) -> dict[Node[Any], str]:
    """The criticism of each parameter that feedback reaches.

    `criticize(call, parent, criticism)` is asked once for each edge on a way to a parameter, later calls first;
    `merge(node, criticisms)` once for each node with several different ones.
    """
    nodes: list[Any] = [node for _, node in graph]
    targets = {id(p) for p in parameters}
    within = _leading_to(nodes, targets)
    heard: dict[int, list[str]] = {}
    for output, feedback in graph.outputs:
        heard.setdefault(id(output), []).append(text_of(readable(feedback)))
    found: dict[Node[Any], str] = {}
    for node in reversed(nodes):
        criticisms = list(dict.fromkeys(heard.get(id(node), ())))
        if not criticisms or id(node) not in within:
            continue
        criticism = criticisms[0] if len(criticisms) == 1 else merge(node, criticisms)
        if id(node) in targets:
            found[node] = criticism
        for parent in {id(p): p for p in node._inputs if id(p) in within}.values():
            heard.setdefault(id(parent), []).append(criticize(node, parent, criticism))
    return found


def _leading_to(nodes: list[Any], targets: set[int]) -> set[int]:
    """The nodes among `nodes` (in topological order) that are targets or made from one."""
    within: set[int] = set()
    for node in nodes:
        if id(node) in targets or any(id(parent) in within for parent in node._inputs):
            within.add(id(node))
    return within


# --- the questions about an edge and about a node ---


def edge_prompt(call: MessageNode[Any], parent: Node[Any], criticism: str) -> str:
    """Asks how `parent` should differ, given the criticism of the result of `call`."""
    inputs = list(zip(call._op.keys, call._inputs, strict=False))
    return fill(
        "textgrad_edge",
        call=repr_function_call(call),
        documentation=_held(call.description or "(nothing is said)"),
        arguments="\n".join(_argument(key, value) for key, value in inputs),
        result=_held(text_of(call._data_seen(), _LONGEST)),
        criticism=_held(criticism),
        argument=" and ".join(key for key, value in inputs if value is parent),
    )


def _held(text: str) -> str:
    return held(text, _HEADINGS, _TAGS)


def _argument(key: str, value: Node[Any]) -> str:
    kind = "code" if holds_code(value) else type(value._data).__name__
    return fill("textgrad_argument", name=key, kind=kind, value=_held(text_of(value._data_seen(), _LONGEST)))


def merge_prompt(node: Node[Any], criticisms: list[str]) -> str:
    """Asks for one criticism in place of several."""
    said = "\n".join(fill("textgrad_criticism", criticism=_held(text)) for text in criticisms)
    value = text_of(node._data_seen(), _LONGEST)
    return fill("textgrad_merge", name=node.py_name, value=value, criticisms=said)
