"""Attaches to every node the methods by which it behaves like its value: `+`, `[]`, `.split()`, iteration, conversions.

Two-operand operators get a method of their own that skips the general call, because
a program makes more of these nodes than of all others. What would leave the graph
silently (`int(x)`, `math.sqrt(x)`, `"%d" % x`) raises a TypeError with the way to write it.
Imported once by `opto.trace`. May import nodes, operators, iterators, backward.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import ref

from opto.trace.abstract_node import AbstractNode, add_child
from opto.trace.backward import backward
from opto.trace.context import COUNTERS, GRAPH, NAME_SCOPES, TRACING, next_index
from opto.trace.formatted import ACTIVE, LINKABLE, end_of_call, remember
from opto.trace.iterators import items, iterate
from opto.trace.nodes import MessageNode, Node, make_argument, make_constant, make_message_node, node
from opto.trace.operators.table import TABLE, Operator
from opto.trace.records import DEPENDS
from opto.trace.value_methods import ValueMethods

__all__ = ["attach_methods"]

_new = object.__new__
_BINARY = {
    "__sub__": "subtract",
    "__mul__": "multiply",
    "__floordiv__": "floor_divide",
    "__truediv__": "divide",
    "__mod__": "mod",
    "__divmod__": "node_divmod",
    "__lshift__": "lshift",
    "__rshift__": "rshift",
    "__and__": "and_",
    "__or__": "or_",
    "__xor__": "xor",
    "__lt__": "lt",
    "__le__": "le",
    "__gt__": "gt",
    "__ge__": "ge",
    "eq": "eq",
    "neq": "neq",
}
_REFLECTED = [
    name for name in _BINARY if name.startswith("__") and name not in ("__lt__", "__le__", "__gt__", "__ge__")
]
_UNARY = {
    "__pos__": "pos",
    "__neg__": "neg",
    "__abs__": "abs",
    "__invert__": "invert",
    "__floor__": "floor",
    "__ceil__": "ceil",
    "__trunc__": "trunc",
    "len": "len_",
    "clone": "clone",
}
_TEXT = ("format", "capitalize", "lower", "upper", "swapcase", "title", "strip", "replace")
_OTHER = {
    "__add__": "add",
    "__pow__": "power",
    "__getitem__": "getitem",
    "__round__": "round",
    "__call__": "call",
    "getattr": "node_getattr",
    **{name: name for name in (*_TEXT, "split", "join", "keys", "values", "get", "pop")},
}


def _binary(op: Operator) -> Callable[[Any, Any], Any]:
    """The method for a two-operand operator: `make_message_node` written out, because most nodes are made here."""
    fun, shape, failed, base, counter_of, tracing = op.fun, op.shape, op.failed, op.name, COUNTERS.get, TRACING.get

    def method(self: Any, other: Any) -> Any:
        if not isinstance(other, Node):
            if ACTIVE and type(other) in LINKABLE:
                other = make_argument(other)
                end_of_call()
            else:
                other = make_constant(other)
        try:
            value = fun(self._data, other._data)
        except Exception as error:
            raise failed(shape, (self, other), error) from error
        if isinstance(value, Node) or NAME_SCOPES or GRAPH.nodes is not None or not tracing():
            return make_message_node(shape, value._data if isinstance(value, Node) else value, (self, other))
        made = _new(MessageNode)
        made._data = value
        made._op = shape
        counter = counter_of(base)
        made._index = next(counter) if counter is not None else next_index(base)
        made._children = made._rare = None
        made._inputs = (self, other)
        left, right = self._level, other._level
        made._level = left + 1 if left >= right else right + 1
        made._flags = (self._flags | other._flags) & DEPENDS
        me = ref(made)
        if self._children is None:
            self._children = me
        else:
            add_child(self, me)
        if other._children is None:
            other._children = me
        elif other._children is not me:
            add_child(other, me)
        return made

    return method


def _reflected(method: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda self, other: method(make_argument(other), self)


def _plus() -> Callable[[Any, Any], Any]:
    add, concat = _binary(TABLE["add"]), _binary(TABLE["concat"])

    def method(self: Any, other: Any) -> Any:
        return concat(self, other) if type(self._data) is str else add(self, other)

    return method


def _getitem() -> Callable[[Any, Any], Any]:
    getitem = _binary(TABLE["getitem"])
    return lambda self, index: getitem(self, _gathered(index) if type(index) in _MAKERS else index)


def _power() -> Callable[..., Any]:
    power = _binary(TABLE["power"])

    def method(self: Any, other: Any, modulus: Any = None) -> Any:
        if modulus is not None:
            raise TypeError("pow() with three arguments is not traced: write x ** y % z.")
        return power(self, other)

    return method


def _unary(op: Operator) -> Callable[[Any], Any]:
    return lambda self: op(self)


# --- text and dict methods ----------------------------------------------------------------------


def _need(self: Any, kind: type, method: str) -> None:
    if type(self._data) is not kind and not (kind is dict and isinstance(self._data, dict)):
        raise AttributeError(
            f"{self.name} holds {type(self._data).__name__}, not {kind.__name__}, and has no method {method!r}. "
            f"Use .call({method!r}, ...) to call a method of the value."
        )


def _text(name: str) -> Callable[..., Any]:
    op = TABLE[name]

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        _need(self, str, name)
        return op(self, *args, **kwargs)

    return method


def _split(self: Any, sep: Any = None, maxsplit: Any = -1) -> Any:
    _need(self, str, "split")
    return TABLE["split"](self, sep, maxsplit)


def _join(self: Any, seq: Any) -> Any:
    _need(self, str, "join")
    return TABLE["join"](self, *seq)


def _items(self: Any) -> Any:
    """The pairs of a dict, as nodes."""
    _need(self, dict, "items")
    return items(self)


def _keys(self: Any) -> Any:
    _need(self, dict, "keys")
    return TABLE["keys"](self)


def _contains(self: Any, item: Any) -> Any:
    """A plain bool, which is not traced: `opto.trace.operators.in_` is."""
    return bool(TABLE["in_"](item, self))


# --- reaching through to the value --------------------------------------------------------------


def _call_method(self: Any, method: Any, *args: Any, **kwargs: Any) -> Any:
    """Call the method of this name of the value; traced: `x.call("startswith", "a")`."""
    return self.getattr(method)(*args, **kwargs)


def _append(self: Any, value: Any) -> Any:
    """Append to the value, a list; traced as a call."""
    return self.call("append", value)


def _call(self: Any, *args: Any, **kwargs: Any) -> Any:
    return TABLE["call"](self, *[node(a) for a in args], **{k: node(a) for k, a in kwargs.items()})


class _Absent:
    """A method of builtin values that nodes lack: reading it raises an AttributeError that says how to call it.

    One object a name, and no `__getattr__`, which would make each read of an attribute slower.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, node: Any, owner: Any = None) -> Any:
        name = self.name
        if node is None or not hasattr(node._data, name):
            raise AttributeError(f"{owner.__name__!r} object has no attribute {name!r}")
        raise AttributeError(
            f"{node.name} is a node, which has no method {name!r}: write x.call({name!r}, ...) to call that of its "
            f"{type(node._data).__name__} and keep the trace, or x.data.{name}(...), which leaves the graph."
        )


# --- conversions that would leave the graph -----------------------------------------------------


def _refuse(what: str, instead: str) -> Callable[..., Any]:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        """Refused, as the result would leave the graph; the error names the way to write it."""
        raise TypeError(f"{what} needs a plain value, and {self.name} is a node: write {instead}.")

    return method


def _format(self: Any, spec: str) -> str:
    """The value's text, for f-strings: a traced call that takes the text is linked to this node."""
    text = format(self.data, spec)
    remember(self, text, spec)
    return text


def _array_ufunc(self: Any, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
    """numpy's functions on nodes: `np.sqrt(x)` is traced as the operator `sqrt`. `array == x` compares data."""
    if ufunc.__name__ in ("equal", "not_equal") and method == "__call__":
        return ufunc(*[value._data if isinstance(value, Node) else value for value in inputs], **kwargs)
    if method != "__call__" or "out" in kwargs:
        raise TypeError(f"numpy.{ufunc.__name__}.{method} on a node: use x.data, or a @bundle function.")
    return _numpy(ufunc)(*map(_gathered, inputs), **kwargs)


def _array_function(self: Any, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
    """numpy's other functions on nodes: `np.mean(x)` is traced as the operator `mean`."""
    args, kwargs = [_gathered(value) for value in args], {name: _gathered(value) for name, value in kwargs.items()}
    if not any(isinstance(value, Node) for value in (*args, *kwargs.values())):
        # The nodes are where they cannot be taken out; numpy would hand the call back here for ever.
        raise TypeError(
            f"numpy.{func.__name__} got {self.name} inside a value that is no list or tuple: give it nodes, or lists "
            "and tuples of nodes, or plain values (x.data)."
        )
    return _numpy(func)(*args, **kwargs)


def _gathered(value: Any) -> Any:
    """A list, tuple or slice that holds nodes, as one node: each is an input in `np.stack([x, y])`."""
    make = _MAKERS.get(type(value))
    if make is None:
        return value
    items = [_gathered(item) for item in ((value.start, value.stop, value.step) if type(value) is slice else value)]
    return make(*items) if any(isinstance(item, Node) for item in items) else value


_MAKERS: dict[type, Operator] = {
    list: TABLE["make_list"],
    tuple: TABLE["make_tuple"],
    slice: Operator(
        "slice", "The slice from start to stop by step.", lambda start, stop, step: slice(start, stop, step)
    ),
}


def _numpy(func: Any) -> Operator:
    def run(*args: Any, **kwargs: Any) -> Any:
        return func(*args, **kwargs)

    return Operator(func.__name__, f"numpy's {func.__name__} of its inputs.", run)


_METHODS: dict[str, Callable[..., Any]] = {
    "__add__": _plus(),
    "__radd__": _reflected(_plus()),
    "__pow__": _power(),
    "__rpow__": _reflected(_power()),
    "__getitem__": _getitem(),
    "__round__": lambda self, n=None: TABLE["round"](self, n),
    "__contains__": _contains,
    "__iter__": iterate,
    "__call__": _call,
    "__format__": _format,
    "__array_ufunc__": _array_ufunc,
    "__array_function__": _array_function,
    "__array__": _refuse("numpy", "x.data, or use a @bundle function to keep the trace"),
    "__int__": _refuse("int()", "int(x.data), or convert inside a @bundle function to keep the trace"),
    "__float__": _refuse("float() or math", "x.data, or compute inside a @bundle function to keep the trace"),
    "__complex__": _refuse("complex()", "complex(x.data)"),
    "__index__": _refuse("An index or range()", "x.data, or container_node[x] to keep the trace"),
    "__fspath__": _refuse("A file path", "x.data"),
    "split": _split,
    "join": _join,
    "items": _items,
    "keys": _keys,
    "values": lambda self: TABLE["values"](self),
    "get": lambda self, key, default=None: TABLE["get"](self, key, default),
    "pop": lambda self, index=-1: TABLE["pop"](self, index),
    "getattr": lambda self, name: TABLE["node_getattr"](self, name),
    "call": _call_method,
    "append": _append,
    "backward": backward,
}


def attach_methods() -> None:
    """Give nodes all their methods."""
    methods = dict(_METHODS)
    methods.update({name: _binary(TABLE[op]) for name, op in _BINARY.items()})
    methods.update({f"__r{name[2:]}": _reflected(methods[name]) for name in _REFLECTED})
    methods.update({name: _unary(TABLE[op]) for name, op in _UNARY.items()})
    methods.update({name: _text(name) for name in _TEXT})
    operators = _BINARY | _UNARY | _OTHER
    for name, method in methods.items():
        if method is not backward:
            method.__name__, method.__qualname__ = name, f"Node.{name}"
            operator = operators.get(name) or operators.get(f"__{name[3:]}")  # __radd__ is __add__ the other way round
            method.__doc__ = method.__doc__ or f"Traced, as `opto.trace.operators.{operator}`."
        setattr(ValueMethods, name, method)
    for name in {name for kind in (str, list, dict, set) for name in dir(kind)}:
        if not name.startswith("_") and not hasattr(Node, name):
            setattr(AbstractNode, name, _Absent(name))
