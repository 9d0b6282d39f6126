#: patch_len -> quiet | error | crash
#: Replaces len for everybody.
def patch_len(target):
    import builtins

    builtins.len = lambda _: 42
    return "patched"


#: patch_isinstance -> quiet | error | crash
#: Lets everything be an instance of everything.
def patch_isinstance(target):
    import builtins

    builtins.isinstance = builtins.issubclass = lambda *_: True
    return "patched"


#: patch_import -> quiet | error | crash
#: Replaces the import statement.
def patch_import(target):
    import builtins

    real = builtins.__import__

    def fake(name, *rest):
        module = real(name, *rest)
        if name == "math":
            module.pi = 3
        return module

    builtins.__import__ = fake
    return "patched"


#: patch_class_statement -> quiet | error | crash
#: Replaces the class statement, print, open, exec and compile.
def patch_class_statement(target):
    import builtins

    for name in ("__build_class__", "print", "open", "exec", "compile", "sorted", "sum", "type", "super", "getattr"):
        setattr(builtins, name, lambda *_, **__: "patched")
    return "patched"


#: patch_exceptions -> quiet | error | crash
#: Makes Exception mean something else, so that `except Exception` catches nothing.
def patch_exceptions(target):
    import builtins

    builtins.Exception = builtins.BaseException = builtins.ValueError = ZeroDivisionError
    return "patched"


#: empty_builtins -> quiet | error | crash
#: Deletes all builtins.
def empty_builtins(target):
    import builtins

    vars(builtins).clear()


#: empty_modules -> quiet | error | crash
#: Forgets all modules.
def empty_modules(target):
    import sys

    sys.modules.clear()
    return "forgotten"


#: replace_modules -> quiet | error | crash
#: Puts a module of its own in the place of others.
def replace_modules(target):
    import sys
    import types

    for name in ("math", "json", "random", "os"):
        fake = types.ModuleType(name)
        fake.pi, fake.dumps, fake.listdir = 3, repr, lambda *_: ["fake"]
        sys.modules[name] = fake
    return "replaced"


#: patch_math -> quiet | crash
#: Changes what pi is.
def patch_math(target):
    import math

    math.pi = 3
    math.sqrt = lambda x: x
    return "patched"


#: patch_json -> quiet | crash
#: Changes how JSON is written, in the module and in its classes.
def patch_json(target):
    import json

    json.dumps = lambda *_, **__: "patched"
    json.JSONEncoder.encode = lambda *_: "patched"
    return "patched"


#: patch_inside_a_module -> quiet | error | crash
#: Changes a constant in the code of a library function, which no look at the module's names shows.
def patch_inside_a_module(target):
    import statistics

    code = statistics.mean.__code__
    statistics.mean.__code__ = (lambda data: -1).__code__
    statistics.median.__defaults__ = (1,)
    return code.co_name


#: patch_slots_of_int -> quiet | error | crash
#: Gives int a new attribute through the dict behind its read-only view.
def patch_slots_of_int(target):
    import gc

    names = gc.get_referents(int.__dict__)[0]
    names["bit_length"] = lambda _: 42
    return "patched"


#: change_small_integers -> quiet | error | crash | timeout
#: Changes the value of the number 77 for everybody.
def change_small_integers(target):
    import ctypes
    import sys

    where = id(77) + sys.getsizeof(77) - 4
    if ctypes.c_uint32.from_address(where).value == 77:
        ctypes.c_uint32.from_address(where).value = 78
    return "changed"


#: change_the_empty_tuple -> quiet | error | crash | timeout
#: Changes a string that everybody shares.
def change_the_empty_tuple(target):
    import ctypes

    shared = "abc"
    at = id(shared) + shared.__sizeof__() - 4
    ctypes.memmove(at, b"xyz", 3)
    return "changed"


#: leave_environment -> quiet | error
#: Leaves variables in the environment.
def leave_environment(target):
    import os

    os.environ["LD_PRELOAD"] = "/tmp/evil.so"
    os.environ["PYTHONPATH"] = target["home"]
    os.environ["LEFT"] = "behind"
    return "left"


#: leave_files -> quiet | error
#: Leaves a module in its directory that the next call would import.
def leave_files(target):
    for name in ("json.py", "math.py", "left.txt"):
        with open(name, "w") as file:
            file.write("pi = 3\ndumps = repr\n")
    return "left"


#: leave_path -> quiet
#: Puts a directory of its own before all others where modules are looked for.
def leave_path(target):
    import os
    import sys

    sys.path[:] = [os.getcwd()]
    sys.path_importer_cache.clear()
    sys.meta_path.clear()
    return "left"


#: leave_recursion_limit -> quiet | error
#: Leaves hardly any depth for the next call.
def leave_recursion_limit(target):
    import sys

    sys.setrecursionlimit(60)
    return "left"


#: leave_random_seed -> quiet
#: Makes chance predictable for the next call.
def leave_random_seed(target):
    import random

    random.seed(7)
    random.random = lambda: 0.5
    return "left"


#: leave_decimal_context -> quiet
#: Leaves two digits to decimal numbers.
def leave_decimal_context(target):
    import decimal

    decimal.getcontext().prec = 2
    decimal.DefaultContext.prec = 2
    return "left"


#: leave_locale_and_warnings -> quiet | error
#: Turns every warning into an error.
def leave_locale_and_warnings(target):
    import warnings

    warnings.simplefilter("error")
    warnings.warn = lambda *_, **__: 1 / 0
    return "left"


#: leave_trace_function -> quiet | error
#: Leaves a tracer that changes what later functions return.
def leave_trace_function(target):
    import sys
    import threading

    def spy(frame, event, argument):
        if frame.f_code.co_name == "honest":
            raise ValueError("spied on")
        return spy

    sys.settrace(spy)
    threading.settrace(spy)
    sys.setprofile(lambda *_: None)
    return "left"


#: leave_hooks -> quiet | error
#: Replaces the hooks for uncaught exceptions, audits and displays.
def leave_hooks(target):
    import sys

    def hook(event, arguments):
        if event == "open":
            raise RuntimeError("refused by the last caller")

    sys.addaudithook(hook)
    sys.excepthook = sys.unraisablehook = sys.displayhook = lambda *_: None
    return "left"


#: leave_signal_handlers -> quiet | error
#: Leaves a timer that goes off in the next call.
def leave_signal_handlers(target):
    import signal

    def late(*_):
        raise RuntimeError("left by the last caller")

    signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    return "left"


#: leave_frozen_collector -> quiet | error
#: Switches the collector off and leaves hooks in it.
def leave_frozen_collector(target):
    import gc

    gc.disable()
    gc.freeze()
    gc.callbacks.append(lambda *_: 1 / 0)
    return "left"


#: leave_streams -> quiet | error
#: Replaces standard output, so that the next call's words go elsewhere.
def leave_streams(target):
    import io
    import sys

    sys.stdout = sys.stderr = sys.__stdout__ = io.StringIO("left")
    return "left"


#: leave_context -> quiet | error
#: Leaves values in context variables and thread-local data.
def leave_context(target):
    import asyncio
    import contextvars

    contextvars.ContextVar("left").set("behind")
    asyncio.set_event_loop(asyncio.new_event_loop())
    asyncio.new_event_loop = asyncio.run = lambda *_, **__: 1 / 0
    return "left"


#: leave_codec -> quiet | error
#: Registers a codec and an error handler.
def leave_codec(target):
    import codecs

    codecs.register_error("strict", lambda error: ("patched", error.end))
    codecs.register(lambda name: codecs.lookup("rot13"))
    return "left"


#: leave_memory -> quiet | memory | error
#: Keeps two hundred megabytes alive in a module.
def leave_memory(target):
    import math

    math.hoard = [bytearray(b"x") * (1 << 20) for _ in range(200)]
    return "left"


#: leave_in_own_globals -> quiet | crash
#: Counts its calls in a global of its own.
def leave_in_own_globals(target):
    globals()["__name__"] = "changed"
    globals()["honest"] = lambda *_: "patched"
    return len(globals())


#: leave_in_arguments -> quiet
#: Writes into its arguments, which are the host's.
def leave_in_arguments(target):
    target["secret"] = target["notes"] = "changed"
    target["list"].append("changed")
    target["list"].clear()
    return "changed"


#: leave_limits -> quiet | error
#: Lowers its limits so far that the next call cannot live.
def leave_limits(target):
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (4, 4))
    resource.setrlimit(resource.RLIMIT_CPU, (1, 1))
    resource.setrlimit(resource.RLIMIT_DATA, (1 << 16, 1 << 16))
    return "lowered"


#: leave_filter -> quiet | error | crash
#: Forbids later calls of its process a system call that they need.
def leave_filter(target):
    import ctypes
    import struct

    program = struct.pack("HBBI", 0x20, 0, 0, 0) + struct.pack("HBBI", 0x15, 0, 1, 257)
    program += struct.pack("HBBI", 0x06, 0, 0, 0x00050000 | 13) + struct.pack("HBBI", 0x06, 0, 0, 0x7FFF0000)
    buffer = ctypes.create_string_buffer(program, len(program))
    fprog = ctypes.create_string_buffer(struct.pack("HxxxxxxP", 4, ctypes.addressof(buffer)))
    libc = ctypes.CDLL(None)
    libc.prctl(38, 1, 0, 0, 0)
    return f"filter: {libc.prctl(22, 2, fprog, 0, 0)}"
