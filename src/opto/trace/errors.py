"""The exceptions of the tape, under their public path; they live in `opto.errors`."""

from opto.errors import ExecutionError, TraceMissingInputsError

__all__ = ["ExecutionError", "TraceMissingInputsError"]
