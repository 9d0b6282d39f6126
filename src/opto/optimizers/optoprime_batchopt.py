"""An older name: a batch needs no optimizer of its own, as each output keeps its own feedback."""

from opto.optimizers.optoprime import OptoPrime

__all__ = ["OptoprimeBatchOpt"]

OptoprimeBatchOpt = OptoPrime
