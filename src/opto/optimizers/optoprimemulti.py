"""OptoPrimeMulti: several candidate replies to one problem, drawn in one of several ways, and one of them chosen."""

from __future__ import annotations

from opto.optimizers.optoprime import OptoPrime, OptoPrimeV1
from opto.optimizers.optoprime_v2 import OptoPrimeV2
from opto.optimizers.sampling.candidates import CandidateSets

__all__ = ["OptoPrimeMulti", "OptoPrimeMultiV2", "OptoprimeBatchOpt"]

OptoprimeBatchOpt = OptoPrime
"""An older name: a batch needs no optimizer of its own, as each output keeps its own feedback."""


class OptoPrimeMulti(CandidateSets, OptoPrimeV1):  # type: ignore[misc]  # call_llm gives a list
    """OptoPrimeV1 that draws several replies and chooses one; its options are those of `CandidateSets` and
    OptoPrimeV1.

    Example:
        >>> from opto.llm.fakes import DummyLLM
        >>> from opto.trace import GRAPH, node
        >>> GRAPH.clear()
        >>> x = node(1, name="x", trainable=True)
        >>> llm = DummyLLM(lambda messages, **options: '{"suggestion": {"x0": 4}}')
        >>> optimizer = OptoPrimeMulti([x], llm=llm, selection_technique="majority")
        >>> optimizer.backward(x + 1, "the result should be 5")
        >>> optimizer.step() == {x: 4}, len(optimizer.candidates), optimizer.spent.calls
        (True, 3, 3)
    """

    _SAVED: tuple[str, ...] = tuple(dict.fromkeys((*CandidateSets._SAVED, *OptoPrimeV1._SAVED)))


class OptoPrimeMultiV2(CandidateSets, OptoPrimeV2):  # type: ignore[misc]  # call_llm gives a list
    """OptoPrimeV2 that draws several replies and chooses one; its options are those of `CandidateSets` and
    OptoPrimeV2. Tags need no escaping, so candidates of code and long texts survive better than in JSON.

    Example:
        >>> from opto.llm.fakes import DummyLLM
        >>> from opto.trace import GRAPH, node
        >>> GRAPH.clear()
        >>> x = node(1, name="x", trainable=True)
        >>> llm = DummyLLM(lambda messages, **options: '<variable><name>x0</name><value>4</value></variable>')
        >>> optimizer = OptoPrimeMultiV2([x], llm=llm, selection_technique="majority")
        >>> optimizer.backward(x + 1, "the result should be 5")
        >>> optimizer.step() == {x: 4}, len(optimizer.candidates), optimizer.spent.calls
        (True, 3, 3)
    """

    _SAVED: tuple[str, ...] = tuple(dict.fromkeys((*CandidateSets._SAVED, *OptoPrimeV2._SAVED)))
