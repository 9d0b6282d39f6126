"""Optimizers: feedback on a run in, new values of its parameters out.

May import: `opto.trace`, `opto.llm` and the leaves. Read in this order: `optimizer.py` (the base), `problem/` (graph →
problem), `formats/` (problem → messages), `replies/` (reply → suggestion → values), `llm_optimizer.py` (the step), then
`optoprime.py`, the one to use.
"""

from opto.optimizers.mixed import Mixed
from opto.optimizers.opro import OPRO
from opto.optimizers.opro_v2 import OPROv2
from opto.optimizers.optoprime import OptoPrime, OptoPrimeV1
from opto.optimizers.optoprime_v2 import OptoPrimeV2
from opto.optimizers.optoprimemulti import OptoprimeBatchOpt, OptoPrimeMulti, OptoPrimeMultiV2
from opto.optimizers.textgrad import TextGrad

__all__ = [
    "OPRO",
    "Mixed",
    "OPROv2",
    "OptoPrime",
    "OptoPrimeMulti",
    "OptoPrimeMultiV2",
    "OptoPrimeV1",
    "OptoPrimeV2",
    "OptoprimeBatchOpt",
    "TextGrad",
]
