"""OptoPrimeMultiV2: candidate sets in the format of OptoPrimeV2."""

from __future__ import annotations

from opto.optimizers.candidate_sets import CandidateSets
from opto.optimizers.optoprime_v2 import OptoPrimeV2

__all__ = ["OptoPrimeMultiV2"]


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
