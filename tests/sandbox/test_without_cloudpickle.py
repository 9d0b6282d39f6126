"""A base install has no `cloudpickle`: methods work all the same, and what does not says which extra to install."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = '''
import sys
sys.modules["cloudpickle"] = sys.modules["cloudpickle.cloudpickle"] = None
from dataclasses import dataclass
from opto.errors import ExecutionError
from opto.optimizers.optimizer import Optimizer
from opto.trace import bundle, model, node


@dataclass(frozen=True, slots=True)
class Customer:
    name: str


@model
class Agent:
    def __init__(self):
        self.word = "Hola"
        self.style = node("!", trainable=True)

    @bundle(trainable=True)
    def greet(self, customer):
        """Greets"""
        return None

    def shout(self, text):
        return text.upper()


class Told(Optimizer):
    def _step(self, text):
        return {self.parameters[0]: text}


agent = Agent()
optimizer = Told([agent.greet.parameter])


def outcome(body):
    optimizer.step(text=f"def greet(self, customer):\\n    return {body}")
    try:
        return agent.greet(Customer("Eva")).data
    except ExecutionError as error:
        return str(error.exception_node.data)


print(outcome("f'{self.word}, {customer.name}'"))
print(outcome("customer.name.lower()"))
print(outcome("self.shout(customer.name)"))
print(outcome("(customer, type(customer).__name__)"))
for body in REFUSED:
    print(outcome(body))
'''

REFUSED = {
    "printed": "f'{customer}'",
    "compared": "customer == customer",
    "asked for its class": "isinstance(customer, Customer)",
    "made": "Customer('Ann')",
    "a key": "{customer: 1}",
}


def test_methods_read_attributes_of_self_and_of_arguments_without_the_extra(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(SCRIPT.replace("REFUSED", str([*REFUSED.values()])), encoding="utf-8")
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    whole, plain, method, returned, *refused = done.stdout.splitlines()
    assert (whole, plain) == ("Hola, Eva", "eva")
    assert "Agent.shout did not come along" in method and "opto-trace[sandbox]" in method and "Agent" in method
    assert returned == "(Customer(name='Eva'), 'Customer')", "as it went"
    assert len(refused) == len(REFUSED)
    for name, told in zip(REFUSED, refused, strict=True):
        assert "Your class Customer travels" in told and "pip install 'opto-trace[sandbox]'" in told, (name, told)
