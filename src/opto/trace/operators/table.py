"""Traced operators: each is a table row (name, doc, inputs, function) and works on nodes and raw values alike.

`operators.add(x, y)` unwraps its arguments, computes, and links the result under
the names of its parameters, so prompts read `add0 = add(x=a0, y=int0)`. An error
becomes an `ExecutionError`. The functions are public as `opto.trace.operators`,
a module of its own because their names hide builtins. May import `opto.trace.nodes`.
"""

from __future__ import annotations

import copy
import inspect
import math
import operator as op
from collections.abc import Callable
from functools import cached_property
from types import BuiltinFunctionType, MethodDescriptorType, MethodWrapperType, WrapperDescriptorType
from typing import Any

from opto.errors import BudgetExceeded, ExecutionError
from opto.registry import implementation
from opto.trace.bundle.source import Failure
from opto.trace.formatted import ACTIVE, Recognised, end_of_call
from opto.trace.nodes import Node, Operation, make_argument, make_exception_node, make_message_node, root_operation
from opto.trace.records import exception_text

__all__ = ["TABLE", "Operator", "make_format_node"]

Function = Callable[..., Any]
_VARARGS, _VARKEYWORDS = 4, 8  # flags of code objects


class Operator:
    """A traced function of fixed meaning; `op_name` is its name in the graph, `fun` computes on raw data.

    `names` are those of its inputs where `fun`, being written in C, has none that could be read.
    """

    def __init__(
        self, name: str, doc: str, fun: Function, names: str = "", *, raw: bool = True, catch: bool = True
    ) -> None:
        self.__name__ = self.op_name = self.name = name
        self.__doc__ = self.description = f"[{name}] {doc}"
        self.fun = fun
        self.raw = raw  # whether `fun` gets the data or the nodes
        self.catch = catch  # whether its errors become ExecutionErrors
        self._shapes: dict[tuple[str, ...], Operation] = {}
        self._names = tuple(names.split())
        self._star = self._stars = None
        keys = self._names
        if not keys:
            code = fun.__code__
            args, kwargs = bool(code.co_flags & _VARARGS), bool(code.co_flags & _VARKEYWORDS)
            keys = code.co_varnames[: code.co_argcount + args + kwargs]
            self._star, self._stars = keys[-1 - kwargs] if args else None, keys[-1] if kwargs else None
        self.shape = self.shape_for(keys)
        self._arity = -1 if self._star or self._stars else len(keys)

    @cached_property
    def _signature(self) -> inspect.Signature:
        if not self._names:
            return inspect.signature(self.fun)
        return inspect.Signature([inspect.Parameter(n, inspect.Parameter.POSITIONAL_OR_KEYWORD) for n in self._names])

    def __repr__(self) -> str:
        return f"<operator {self.name}>"

    def __reduce__(self) -> str | tuple[Any, ...]:
        return _operator_named, (self.name,)

    def __copy__(self) -> Operator:
        return self

    def __deepcopy__(self, memo: Any) -> Operator:
        return self

    def shape_for(self, keys: tuple[str, ...]) -> Operation:
        """The operation whose inputs are named `keys`; few per operator, kept."""
        shape = self._shapes.get(keys)
        if shape is None:
            if len(self._shapes) > 1000:
                self._shapes.clear()
            shape = Operation(self.name, self.description, keys=keys, info=self._info)
            self._shapes[keys] = shape
        return shape

    def _info(self, node: Any) -> dict[str, Any]:
        args = [parent._data for parent in node._inputs]
        return {
            "fun": self.fun,
            "fun_name": self.name,
            "_fun_name": self.name,
            "doc": self.description,
            "signature": self._signature,
            "source": None,
            "line_number": None,
            "file": None,
            "error_comment": None,
            "traceback": None,
            "output": node._data,
            "inputs": {"args": args, "kwargs": {}},
            "external_dependencies": [],
        }

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if len(args) == self._arity and not kwargs:
            inputs = tuple([_named(x, key) for x, key in zip(args, self.shape.keys, strict=True)])
            if ACTIVE:
                end_of_call()
            return self.run(self.shape, inputs, inputs if not self.raw else [n._data for n in inputs], {})
        return self._bound(args, kwargs)

    def _bound(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The general call: defaults, *args and **kwargs become named inputs."""
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.name}: {error}") from None
        bound.apply_defaults()
        inputs: dict[str, Node[Any]] = {}
        for name, value in bound.arguments.items():
            if name == self._star:
                inputs.update(
                    {f"args_{i}": x if isinstance(x, Node) else make_argument(x) for i, x in enumerate(value)}
                )
            elif name != self._stars:
                inputs[name] = _named(value, name)
        first: list[Any] = list(inputs.values())
        rest: dict[str, Any] = {key: _named(x, key) for key, x in bound.kwargs.items()}
        if ACTIVE:
            end_of_call()
        star = ("args_", "kwargs_") if self._star else ()
        inputs.update({f"kwargs_{k}" if k in inputs or k.startswith(star) else k: x for k, x in rest.items()})
        if self.raw:
            first, rest = [x._data for x in first], {key: x._data for key, x in rest.items()}
        return self.run(self.shape_for(tuple(inputs)), tuple(inputs.values()), first, rest)

    def run(self, shape: Operation, inputs: tuple[Any, ...], args: Any, kwargs: dict[str, Any]) -> Any:
        """Compute on `args`, link the result to `inputs`."""
        try:
            value = self.fun(*args, **kwargs)
        except Exception as error:
            if not self.catch:
                raise
            raise self.failed(shape, inputs, error) from error
        return make_message_node(shape, value._data if isinstance(value, Node) else value, inputs)

    def failed(self, shape: Operation, inputs: tuple[Any, ...], error: Exception) -> ExecutionError:
        """The ExecutionError that stands for `error` in this operator; a used-up budget ends the run as itself."""
        if isinstance(error, BudgetExceeded):
            raise error
        call = f"{self.name}({', '.join(f'{k}={n.py_name}' for k, n in zip(shape.keys, inputs, strict=False))})"
        info = {
            "fun_name": self.name,
            "error_comment": f"{call} <--- {exception_text(error)}\n",
            "traceback": Failure(error).traceback(),
        }
        return ExecutionError(make_exception_node(error, self.name, shape.keys, inputs, info))


def _named(value: Any, name: str) -> Node[Any]:
    """A node as it is; a raw argument as a node named after its parameter."""
    return value if isinstance(value, Node) else make_argument(value, root_operation(name))


def _operator_named(name: str) -> Operator:
    return TABLE[name]


# --- functions that need more than a line -------------------------------------------------------


def _copied(change: Callable[..., Any]) -> Function:
    """A function that changes a shallow copy of its first argument and returns the copy."""

    def changed(x: Any, *args: Any) -> Any:
        twin = copy.copy(x)
        change(twin, *args)
        return twin

    return changed


def _list_sort(x: Any, key: Any = None, reverse: Any = False) -> Any:
    twin = copy.copy(x)
    twin.sort(key=key, reverse=reverse)
    return twin


def _get(x: Any, key: Any, default: Any = None) -> Any:
    return x.get(key, default)


def _keys(x: Any) -> Any:
    return [k for k in _a_dict(x)]


def _values(x: Any) -> Any:
    return list(_a_dict(x).values())


def _a_dict(x: Any) -> dict[Any, Any]:
    if not isinstance(x, dict):
        raise AttributeError(f"{type(x).__name__} has no keys and values; only a dict has.")
    return x


def _split(x: Any, y: Any, maxsplit: Any = -1) -> Any:
    return x.split(y, maxsplit)


def _strip(x: Any, chars: Any = None) -> Any:
    return x.strip(chars)


def _replace(x: Any, old: Any, new: Any, count: Any = -1) -> Any:
    return x.replace(old, new, count)


def _format(x: Any, /, *args: Any, **kwargs: Any) -> Any:
    """The text, or the list, dict or tuple of texts, with its fields filled in."""
    if type(x) in (list, tuple):
        return type(x)([_format(item, *args, **kwargs) for item in x])
    if type(x) is dict:
        return {key: _format(item, *args, **kwargs) for key, item in x.items()}
    return x.format(*args, **kwargs) if isinstance(x, str) else x


def _join(x: Any, *y: Any) -> Any:
    return x.join([item._data if isinstance(item, Node) else item for item in y])


def _round(x: Any, n: Any = None) -> Any:
    return round(x) if n is None else round(x, n)


_C_CODE = (BuiltinFunctionType, MethodWrapperType, MethodDescriptorType, WrapperDescriptorType)


def _call(fun: Any, /, *args: Any, **kwargs: Any) -> Any:
    function = fun._data
    if not callable(function):
        raise TypeError(f"The value of {fun.name} is of type {type(function).__name__}, which cannot be called.")
    if isinstance(function, _C_CODE) or getattr(function, "__module__", None) == "builtins":
        args, kwargs = tuple(a._data for a in args), {k: a._data for k, a in kwargs.items()}  # C knows no nodes
    return function(*args, **kwargs)


def _call_llm(llm: Any, system_prompt: Any, *user_prompts: Any, **kwargs: Any) -> Any:
    if not callable(llm):  # the older form: call_llm(system_prompt, *user_prompts)
        user_prompts = user_prompts if system_prompt is None else (system_prompt, *user_prompts)
        system_prompt = llm
        asked: Any = implementation("default model")()
    else:
        asked = llm
    messages = [] if system_prompt is None else [{"role": "system", "content": system_prompt}]
    messages += [{"role": "user", "content": prompt} for prompt in user_prompts]
    return asked(messages=messages, **kwargs).choices[0].message.content


# --- the table ----------------------------------------------------------------------------------


_ROWS: list[tuple[str, str, str, Function]] = [
    ("clone", "A deep copy of x.", "x", copy.deepcopy),
    ("pos", "+x.", "x", op.pos),
    ("neg", "-x.", "x", op.neg),
    ("abs", "The absolute value of x.", "x", abs),
    ("invert", "~x, the bits of x inverted.", "x", op.invert),
    ("round", "x rounded to n digits after the point.", "", _round),
    ("floor", "The largest whole number that is not above x.", "x", math.floor),
    ("ceil", "The smallest whole number that is not below x.", "x", math.ceil),
    ("trunc", "x cut to a whole number, towards zero.", "x", math.trunc),
    ("add", "The sum x + y.", "x y", op.add),
    ("subtract", "The difference x - y.", "x y", op.sub),
    ("multiply", "The product x * y.", "x y", op.mul),
    ("floor_divide", "x // y, the quotient rounded down.", "x y", op.floordiv),
    ("divide", "The quotient x / y.", "x y", op.truediv),
    ("mod", "x % y, what remains of x divided by y.", "x y", op.mod),
    ("node_divmod", "The pair (x // y, x % y).", "x y", divmod),
    ("power", "x to the power y.", "x y", op.pow),
    ("lshift", "The bits of x moved left by y.", "x y", op.lshift),
    ("rshift", "The bits of x moved right by y.", "x y", op.rshift),
    ("and_", "x & y.", "x y", op.and_),
    ("or_", "x | y.", "x y", op.or_),
    ("xor", "x ^ y.", "x y", op.xor),
    ("lt", "Whether x < y.", "x y", op.lt),
    ("le", "Whether x <= y.", "x y", op.le),
    ("eq", "Whether x == y.", "x y", op.eq),
    ("neq", "Whether x != y.", "x y", op.ne),
    ("ne", "Whether x != y.", "x y", op.ne),
    ("ge", "Whether x >= y.", "x y", op.ge),
    ("gt", "Whether x > y.", "x y", op.gt),
    ("cond", "x if the condition holds, else y.", "", lambda condition, x, y: x if condition else y),
    ("not_", "Whether x counts as false.", "x", op.not_),
    ("is_", "Whether x and y are one object.", "x y", op.is_),
    ("is_not", "Whether x and y are two objects.", "x y", op.is_not),
    ("in_", "Whether x is in y.", "", lambda x, y: x in y),
    ("not_in", "Whether x is not in y.", "", lambda x, y: x not in y),
    ("getitem", "x[index].", "x index", op.getitem),
    ("pop", "Takes the item at index out of x and returns it.", "", lambda x, index: x.pop(index)),
    ("len_", "The number of items in x.", "x", len),
    ("get", "x[key], or the default if x has no such key.", "", _get),
    ("keys", "The keys of the dict x, as a list.", "", _keys),
    ("values", "The values of the dict x, as a list.", "", _values),
    ("ord_", "The code point of the character x.", "x", ord),
    ("chr_", "The character with the code point x.", "x", chr),
    ("concat", "x followed by y.", "x y", op.add),
    ("lower", "x in lower case.", "x", op.methodcaller("lower")),
    ("upper", "x in upper case.", "x", op.methodcaller("upper")),
    ("title", "x with each word capitalised.", "x", op.methodcaller("title")),
    ("swapcase", "x with upper and lower case swapped.", "x", op.methodcaller("swapcase")),
    ("capitalize", "x with its first letter in upper case and the rest in lower.", "x", op.methodcaller("capitalize")),
    ("split", "The parts of the text x between occurrences of y.", "", _split),
    ("strip", "x without the given characters (white space) at both ends.", "", _strip),
    ("replace", "x with occurrences of old replaced by new.", "", _replace),
    ("format", "The template x with its fields filled in.", "", _format),
    ("join", "The texts y with x between them.", "", _join),
    ("node_getattr", "The attribute of obj that is called attr.", "obj attr", getattr),
    ("make_list", "The list of the arguments.", "", lambda *args: list(args)),
    ("make_tuple", "The tuple of the arguments.", "", lambda *args: args),
    ("make_set", "The set of the arguments.", "", lambda *args: set(args)),
    ("make_dict", "The dict of the named arguments.", "", lambda **kwargs: kwargs),
    ("to_list", "The items of x as a list.", "x", list),
    ("to_dict", "The pairs of x as a dict.", "x", dict),
    ("to_set", "The items of x as a set.", "x", set),
    ("to_tuple", "The items of x as a tuple.", "x", tuple),
    ("dict_update", "A copy of the dict x updated with y.", "x y", _copied(dict.update)),
    ("dict_pop", "A copy of the dict x without the key.", "x key", _copied(dict.pop)),
    ("dict_popitem", "A copy of the dict x without its last item.", "x", _copied(dict.popitem)),
    ("list_append", "A copy of the list x with y at its end.", "x y", _copied(list.append)),
    ("list_clear", "An empty copy of the list x.", "x", _copied(list.clear)),
    ("list_extend", "A copy of the list x with the items of y at its end.", "x y", _copied(list.extend)),
    ("list_insert", "A copy of the list x with y put in at index.", "x index y", _copied(list.insert)),
    ("list_pop", "A copy of the list x without the item at index.", "x index", _copied(list.pop)),
    ("list_remove", "A copy of the list x without the first y.", "x y", _copied(list.remove)),
    ("list_reverse", "A copy of the list x, backwards.", "x", _copied(list.reverse)),
    ("list_sort", "A copy of the list x, sorted.", "", _list_sort),
    ("set_add", "A copy of the set x with y in it.", "x y", _copied(set.add)),
    ("set_clear", "An empty copy of the set x.", "x", _copied(set.clear)),
    ("set_discard", "A copy of the set x without y, if it was there.", "x y", _copied(set.discard)),
    ("set_intersection_update", "The items in both sets.", "x y", _copied(set.intersection_update)),
    ("set_pop", "A copy of the set x without one of its items.", "x", _copied(set.pop)),
    ("set_remove", "A copy of the set x without y.", "x y", _copied(set.remove)),
    (
        "set_symmetric_difference_update",
        "The items in just one of the two sets.",
        "x y",
        _copied(set.symmetric_difference_update),
    ),
    ("set_update", "The items in either set.", "x y", _copied(set.update)),
]

TABLE: dict[str, Operator] = {name: Operator(name, doc, fun, names) for name, doc, names, fun in _ROWS}
TABLE["call"] = Operator("call", "Calls the function fun with the other inputs.", _call, raw=False)
TABLE["call_llm"] = Operator("call_llm", "Asks the language model llm and returns its answer.", _call_llm, catch=False)
TABLE["identity"] = TABLE["clone"]


def make_format_node(found: Recognised) -> Any:
    """The node of a value made of nodes: the operator `format`, with the template and the nodes as its inputs."""
    shape = TABLE["format"].shape_for(("x", *found.nodes))
    op = shape.renamed(shape.base, description=f"[{shape.base}] {found.template}")
    template: Node[Any] = Node(found.template, name="template")
    return make_message_node(op, found.value, (template, *found.nodes.values()))
