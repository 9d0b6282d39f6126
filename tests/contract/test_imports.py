"""The import map."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

MAP = {
    "opto.trace": "node bundle model Module Model Node NodeContainer GRAPH ExecutionError stop_tracing apply_op "
    "operators propagators projections nodes modules containers broadcast errors utils",
    "opto.trace.nodes": "node Node AbstractNode ParameterNode MessageNode ExceptionNode GRAPH Graph NAME_SCOPES "
    "USED_NODES IDENTITY_OPERATORS get_op_name NodeVizStyleGuide NodeVizStyleGuideColorful",
    "opto.trace.bundle": "bundle FunModule ExecutionError TraceMissingInputsError ExceptionNode MessageNode "
    "ParameterNode Node to_data wrap_node detach_inputs trace_nodes "
    "disable_external_dependencies_check ALLOW_EXTERNAL_DEPENDENCIES",
    "opto.trace.errors": "ExecutionError TraceMissingInputsError",
    "opto.trace.modules": "Module Model model",
    "opto.trace.containers": "NodeContainer ParameterContainer Seq Map trainable_method",
    "opto.trace.broadcast": "apply_op recursive_conversion",
    "opto.trace.iterators": "iterate SeqIterable DictIterable",
    "opto.trace.propagators": "Propagator SumPropagator GraphPropagator TraceGraph",
    "opto.trace.propagators.propagators": "AbstractPropagator AbstractFeedback Propagator SumPropagator",
    "opto.trace.propagators.graph_propagator": "GraphPropagator TraceGraph",
    "opto.trace.projections": "Projection BlackCodeFormatter DocstringProjection",
    "opto.trace.operators": "clone identity add call call_llm concat cond getitem",
    "opto.trace.utils": "sum_feedback contain parse_eqs_to_dict for_all_methods render_opt_step "
    "escape_json_nested_quotes remove_non_ascii dedent",
    "opto.optimizers": "OptoPrime OptoPrimeV1 OptoPrimeV2 OPRO OPROv2 OptoPrimeMulti TextGrad",
    "opto.optimizers.optoprimemulti": "OptoPrimeMulti OptoPrimeMultiV2 OptoprimeBatchOpt",
    "opto.optimizers.textgrad": "TextGrad",
    "opto.optimizers.opro": "OPRO",
    "opto.optimizers.opro_v2": "OPROv2 OPROPromptSymbolSet ProblemInstance",
    "opto.optimizers.optimizer": "AbstractOptimizer Optimizer",
    "opto.optimizers.optoprime": "OptoPrime FunctionFeedback ProblemInstance node_to_function_feedback get_fun_name"
    " repr_function_call",
    "opto.optimizers.optoprime_v2": "OptoPrimeV2 OptimizerPromptSymbolSet OptimizerPromptSymbolSetJSON"
    " OptimizerPromptSymbolSet2 ProblemInstance MemoryInstance extract_xml_like_data",
    "opto.optimizers.buffers": "FIFOBuffer",
    "opto.optimizers.utils": "print_color extract_top_level_blocks extract_first_top_level_block strip_nested_blocks"
    " extract_reasoning_and_remainder truncate_expression",
    "opto.utils.llm": "LLM LLMFactory AbstractModel LiteLLM CustomLLM AutoGenLLM DummyLLM embed"
    " auto_construct_oai_config_list_from_env",
    "opto.utils.auto_retry": "retry_with_exponential_backoff",
    "opto.features.flows.compose": "TracedLLM ChatHistory",
    "opto.features.flows.types": "TraceObject",
    "opto.features.predefined_agents": "BasicLearner Learner call_llm",
    "opto.version": "__version__",
}


@pytest.mark.parametrize("path", MAP)
def test_names(path: str) -> None:
    module = importlib.import_module(path)
    missing = [name for name in MAP[path].split() if not hasattr(module, name)]
    assert not missing


def test_same_objects_everywhere() -> None:
    import opto.trace as trace
    from opto.trace import bundle, errors, modules, nodes

    assert trace.GRAPH is nodes.GRAPH and trace.ExecutionError is errors.ExecutionError
    assert trace.Module is modules.Module and trace.node is nodes.node
    module = importlib.import_module("opto.trace.bundle")
    assert module.bundle is bundle is trace.bundle and module.MessageNode is nodes.MessageNode


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


CHECK = "assert callable(b) and type(b).__name__ == 'function', b\n@b()\ndef f(x): return x\nassert f(1).data == 1"


@pytest.mark.parametrize(
    "head",
    [
        "from opto.trace.bundle import FunModule\nfrom opto.trace import bundle as b",
        "from opto.trace import bundle as b\nfrom opto.trace.bundle import FunModule",
        "import opto.trace.bundle as b",
        "import opto.trace.bundle\nimport opto.trace\nb = opto.trace.bundle",
        "import opto.trace as trace\nimport opto.trace.bundle\nb = trace.bundle",
        "from opto import trace\nb = trace.bundle",
        "import importlib\nimportlib.import_module('opto.trace.bundle')\nfrom opto.trace import bundle as b",
        "from opto.trace import *\nb = bundle\nutils.contain; node(1)",
    ],
)
def test_bundle_trap(head: str) -> None:
    python(f"{head}\n{CHECK}")


def test_operators_do_not_break_builtins() -> None:
    python("from opto.trace import *\nassert abs(-1) == 1 and round(1.5) == 2 and len([1]) == 1")


def test_imports_are_light() -> None:
    code = (
        "import sys\nimport opto, opto.trace\n"
        "print([m for m in ('numpy','graphviz','litellm','autogen','openai','black','sklearn','torch','IPython',"
        "'httpx2','xllamacpp') if m in sys.modules])"
    )
    assert python(code) == "[]"


def test_optimizer_needs_no_optional_package() -> None:
    block = (
        "import sys\n"
        "for m in ('litellm','autogen','openai','azure','black','sklearn','graphviz','numpy','IPython','xllamacpp'):\n"
        "    sys.modules[m] = None\n"
    )
    code = (
        "from opto.trace import node\nfrom opto.optimizers import OptoPrimeV1\nfrom opto.utils.llm import DummyLLM\n"
        "p = node(1, name='p', trainable=True)\n"
        'reply = \'{"reasoning": "r", "answer": "a", "suggestion": {"p0": 5}}\'\n'
        "o = OptoPrimeV1([p], llm=DummyLLM(lambda *a, **k: reply))\n"
        "o.zero_feedback()\no.backward(p + 1, 'more')\no.step()\nprint(p.data)"
    )
    assert python(block + code) == "5"


def test_version_is_text() -> None:
    from opto.version import __version__

    assert isinstance(__version__, str) and __version__[0].isdigit()


def test_the_names_of_a_first_program_are_at_the_top() -> None:
    code = "import sys, opto\nassert 'opto.trace' not in sys.modules\nfrom opto import bundle, model, node, trace\n"
    code += "assert node is trace.node and bundle is trace.bundle and model is trace.model\n"
    code += "assert opto.Module is trace.Module\n"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_model_is_written_with_or_without_parentheses() -> None:
    from opto.trace import Module, bundle, model

    @model()
    class Agent:
        @bundle
        def forward(self, x: int) -> int:
            return x + 1

    assert isinstance(Agent(), Module) and Agent()(1).data == 2
    with pytest.raises(TypeError, match="decorates a class"):
        model(3)  # type: ignore[call-overload]
