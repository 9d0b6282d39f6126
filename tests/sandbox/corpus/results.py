#: reduce_runs_code -> value | error
#: Returns an object whose pickle makes a directory where it is read.
def reduce_runs_code(target):
    import os

    class Run:
        def __reduce__(self):
            return os.mkdir, (target["home"] + "/reduced",)

    return Run()


#: reduce_in_a_list -> value | error
#: Hides such an object deep in plain data.
def reduce_in_a_list(target):
    import os

    class Run:
        def __reduce__(self):
            return os.mkdir, (target["home"] + "/reduced",)

    return {"rows": [(1, 2, {"deep": [Run()]})]}


#: reduce_in_a_key -> value | error
#: Hides it in the key of a dict.
def reduce_in_a_key(target):
    import os

    class Run:
        def __reduce__(self):
            return os.mkdir, (target["home"] + "/reduced",)

    return {Run(): 1}


#: reduce_evaluates -> value | error
#: Returns an object whose pickle evaluates a text.
def reduce_evaluates(target):
    class Run:
        def __reduce__(self):
            return eval, (f"__import__('os').mkdir({target['home']!r} + '/evaluated')",)

    return Run()


#: reduce_by_setstate -> value | error
#: Returns an object that runs code when its state is set.
def reduce_by_setstate(target):
    import os

    class Run:
        def __getstate__(self):
            return {"path": target["home"] + "/state"}

        def __setstate__(self, state):
            os.mkdir(state["path"])

    return Run()


#: reduce_by_items -> value | error
#: Lets a harmless class of the standard library call a function for it.
def reduce_by_items(target):
    import functools
    import os

    return functools.partial(os.mkdir, target["home"] + "/partial")


#: reduce_for_ever -> value | error | timeout | memory | crash
#: Returns an object whose pickle contains another, and so on.
def reduce_for_ever(target):
    class Nest:
        def __reduce__(self):
            return list, ([Nest()],)

    return Nest()


#: reduce_that_loops -> timeout | value
#: Returns an object that loops while it is pickled.
def reduce_that_loops(target):
    class Slow:
        def __reduce_ex__(self, version):
            while True:
                pass

        __getstate__ = __reduce__ = __reduce_ex__

    return Slow()


#: reduce_that_exits -> crash | value | error
#: Returns an object that ends the process while it is pickled.
def reduce_that_exits(target):
    import os

    class Exit:
        def __reduce_ex__(self, version):
            os._exit(0)

    return Exit()


#: billion_laughs -> value | memory | error | quiet | timeout
#: Returns a small pickle that stands for a million million rows once it is walked.
def billion_laughs(target):
    rows = ["ha"] * 10
    for _ in range(30):
        rows = [rows, rows, rows, rows]
    return rows


#: deep_result -> value | error | crash | timeout
#: Returns a list a million levels deep.
def deep_result(target):
    rows = []
    for _ in range(1_000_000):
        rows = [rows]
    return rows


#: rather_deep_result -> value | error | quiet
#: Returns a tuple of nine hundred levels, just below the usual recursion limit.
def rather_deep_result(target):
    rows = ()
    for _ in range(900):
        rows = (rows,)
    return rows


#: circular_result -> value | error | quiet
#: Returns a list that contains itself.
def circular_result(target):
    rows = [1]
    rows.append(rows)
    return rows


#: huge_result -> value | memory | timeout
#: Returns fifty megabytes.
def huge_result(target):
    return "x" * 50_000_000


#: wide_result -> value | memory | timeout
#: Returns three million small things.
def wide_result(target):
    return list(range(3_000_000))


#: amplified_result -> value | memory | quiet | timeout
#: Returns a million empty lists, which are short to write and long to hold.
def amplified_result(target):
    return [[] for _ in range(1_000_000)]


#: huge_integer -> value | error | quiet
#: Returns an integer that takes minutes to print.
def huge_integer(target):
    return 1 << 10_000_000


#: colliding_keys -> value | error | quiet | timeout
#: Returns a dict whose keys all have the same hash, so that rebuilding it takes quadratic time.
def colliding_keys(target):
    prime = (1 << 61) - 1
    return dict.fromkeys(range(0, prime * 4000, prime))


#: repr_runs_code -> value | error
#: Returns an object that acts when somebody prints it.
def repr_runs_code(target):
    import os

    class Loud:
        def __repr__(self):
            os.mkdir(target["home"] + "/printed")
            return "harmless"

        __str__ = __format__ = __repr__

    return Loud()


#: eq_and_hash_run_code -> value | error
#: Returns an object that acts when somebody compares it.
def eq_and_hash_run_code(target):
    import os

    class Jealous:
        def __eq__(self, other):
            os.mkdir(target["home"] + "/compared")
            return True

        def __hash__(self):
            os.mkdir(target["home"] + "/hashed")
            return 1

        def __bool__(self):
            os.mkdir(target["home"] + "/asked")
            return True

    return Jealous()


#: getattr_runs_code -> value | error
#: Returns an object that acts on any look at it, and lies about its class.
def getattr_runs_code(target):
    import os

    class Shy:
        @property
        def __class__(self):
            os.mkdir(target["home"] + "/asked-for-class")
            return int

        def __getattr__(self, name):
            os.mkdir(target["home"] + "/looked-at")
            return 1

    return Shy()


#: del_runs_code -> value | error
#: Returns an object that acts when the host lets it go.
def del_runs_code(target):
    import os

    class Last:
        def __del__(self, mkdir=os.mkdir, path=target["home"] + "/freed"):
            mkdir(path)

    return Last()


#: string_with_methods -> value | error | quiet
#: Returns what looks like a string and acts when it is split or compared.
def string_with_methods(target):
    import os

    class Text(str):
        def split(self, *_):
            os.mkdir(target["home"] + "/split")
            return ["patched"]

        __eq__ = __add__ = __repr__ = __str__ = split
        __hash__ = str.__hash__

    return Text("plain")


#: dict_with_methods -> value | error | quiet
#: Returns what looks like a dict and acts when it is read.
def dict_with_methods(target):
    import os

    class Table(dict):
        def __getitem__(self, key):
            os.mkdir(target["home"] + "/read")

        items = keys = values = __iter__ = __repr__ = __getitem__

    return Table(a=1)


#: function_as_result -> value | error
#: Returns a function, for the host to call.
def function_as_result(target):
    import os

    return lambda *_: os.mkdir(target["home"] + "/called-back")


#: class_as_result -> value | error
#: Returns a class whose metaclass acts when it is rebuilt.
def class_as_result(target):
    import os

    class Meta(type):
        def __init__(cls, *_):
            if os.path.isdir(target["home"]):
                os.mkdir(target["home"] + "/built")

    return Meta("Built", (), {})


#: module_as_result -> value | error
#: Returns a module that the host would have to import.
def module_as_result(target):
    import json

    return json


#: library_function_as_result -> value | error
#: Returns a dangerous function by its name.
def library_function_as_result(target):
    import os

    return os.system


#: class_that_claims_a_name -> value | error
#: Returns an instance of a class that claims to be another one.
def class_that_claims_a_name(target):
    class Popen:
        def __reduce__(self):
            return Popen, (["touch", target["home"] + "/claimed"],)

    Popen.__module__, Popen.__qualname__ = "subprocess", "Popen"
    return Popen()


#: name_as_reduce -> value | error
#: Says that it is a global of another module.
def name_as_reduce(target):
    class Name:
        def __reduce__(self):
            return "breakpoint"

    Name.__module__ = "builtins"
    return Name()


#: open_file_as_result -> value | error | quiet
#: Returns an open file.
def open_file_as_result(target):
    return open("own.txt", "w")


#: generator_as_result -> value | error | quiet
#: Returns a generator inside a list.
def generator_as_result(target):
    return [(n for n in iter(int, 1))]


#: frame_as_result -> value | error
#: Returns its own frame and a traceback.
def frame_as_result(target):
    import sys

    return [sys._getframe()]


#: array_of_objects -> value | error
#: Returns an array of numpy that holds objects which act when they are read.
def array_of_objects(target):
    import os

    import numpy

    class Run:
        def __reduce__(self):
            return os.mkdir, (target["home"] + "/array",)

    return numpy.array([Run()], dtype=object)


#: array_of_claimed_size -> value | error | memory | quiet
#: Returns an array of numpy that stands for terabytes by its strides.
def array_of_claimed_size(target):
    import numpy

    return numpy.broadcast_to(numpy.zeros(1), (1 << 40,))


#: reduce_of_known_class -> value | error | quiet
#: Lets classes that hosts trust call functions that they should not.
def reduce_of_known_class(target):
    import os

    class Run:
        def __reduce__(self):
            import collections

            return collections.defaultdict, (os.getcwd,), None, None, iter([("k", Make())])

    class Make:
        def __reduce__(self):
            import numpy

            return numpy.load, (target["secret"], None, True)

    return Run()


#: exception_with_code -> error | value
#: Raises an exception whose pickle acts.
def exception_with_code(target):
    import os

    class Loud(Exception):
        def __reduce__(self):
            return os.mkdir, (target["home"] + "/raised",)

        def __str__(self):
            return "harmless"

    raise Loud()


#: exception_with_loaded_arguments -> error | value
#: Raises an ordinary exception with an argument that acts.
def exception_with_loaded_arguments(target):
    import os

    class Run:
        def __reduce__(self):
            return os.mkdir, (target["home"] + "/argument",)

    raise ValueError("bad value", Run())


#: exception_with_cause -> error | value
#: Hides what acts in the cause and the notes of an exception.
def exception_with_cause(target):
    import os

    class Loud(Exception):
        def __reduce__(self):
            return os.mkdir, (target["home"] + "/cause",)

    error = ValueError("outer")
    error.__notes__ = [Loud(), 3]
    error.extra = Loud()
    raise error from Loud()


#: exception_of_gigabytes -> error | memory | value | timeout
#: Raises an exception with a message of fifty megabytes.
def exception_of_gigabytes(target):
    raise ValueError("x" * 50_000_000)


#: exception_about_a_long_line -> error
#: Raises an error that draws a line of a hundred million signs under its text when it is printed.
def exception_about_a_long_line(target):
    raise SyntaxError("there", ("<text>", 1, 1, "x", 1, 10**8))


#: exception_about_no_line -> error
#: Raises an error that cannot be printed: the place in its text is a list.
def exception_about_no_line(target):
    raise SyntaxError("there", ("<text>", 1, 1, "x", 1, []))


#: exception_before_its_text -> error
#: Raises an error that shows, when it is printed, what stands before its text in memory.
def exception_before_its_text(target):
    raise UnicodeEncodeError("ascii", "x", -5, -4, "is not there")


#: exception_chain -> error | value | crash | timeout
#: Raises an exception with a hundred thousand causes.
def exception_chain(target):
    error = None
    for k in range(100_000):
        later = ValueError(k)
        later.__cause__ = error
        error = later
    raise error


#: exception_ring -> error | value | timeout
#: Raises an exception that is its own distant cause.
def exception_ring(target):
    first, second = ValueError(1), ValueError(2)
    first.__cause__, second.__cause__ = second, first
    raise first


#: exception_group -> error | value | timeout
#: Raises a group of groups of groups.
def exception_group(target):
    group = ExceptionGroup("deep", [ValueError(1)])
    for _ in range(2000):
        group = ExceptionGroup("deep", [group, group])
    raise group


#: exception_that_raises -> error | value | crash
#: Raises an exception that raises when it is looked at.
def exception_that_raises(target):
    class Broken(Exception):
        def __str__(self):
            raise SystemExit(3)

        __repr__ = __str__

        def __getattribute__(self, name):
            raise KeyboardInterrupt

    raise Broken()


#: exception_with_lying_name -> error | value
#: Raises an exception that looks like the sandbox's own, to be taken for an excuse.
def exception_with_lying_name(target):
    class ExecutionError(Exception):
        exception_node = None

    ExecutionError.__module__ = "opto.errors"
    raise ExecutionError("all is well")


#: deep_traceback -> error | value | memory
#: Raises from five hundred frames of different functions with long names.
def deep_traceback(target):
    previous = lambda: 1 / 0  # noqa: E731
    for k in range(500):
        names = {"previous": previous}
        exec(f"def {'f' * 1000}{k}():\n    return previous()", names)
        previous = names["f" * 1000 + str(k)]
    return previous()


#: surrogates_in_error -> error | value
#: Raises with a message that no encoding can write.
def surrogates_in_error(target):
    raise ValueError("\ud800\udfff\x00\x1b[2J")


#: surrogates_in_result -> quiet | value | error
#: Returns a text that no encoding can write.
def surrogates_in_result(target):
    return {"\ud800": ["\udfff\x00"]}


#: write_in_wrapped_generator -> error | value | quiet
#: Is a generator that acts on being closed and thrown into.
def write_in_wrapped_generator(target):
    try:
        yield 1
    finally:
        with open(target["home"] + "/closed", "w") as file:
            file.write("x")
