#: leave_a_key -> error | quiet
#: Leaves a key in the keyring of the session.
def leave_a_key(target):
    import ctypes
    import platform

    number = {"x86_64": 248, "aarch64": 217}[platform.machine()]
    word = target["mark"].encode()
    key = ctypes.CDLL(None).syscall(number, b"user", word, word, len(word), -3)
    return "escaped: a key" if key > 0 else "refused"


#: list_the_keys -> error | quiet
#: Reads the keyring of the user.
def list_the_keys(target):
    import ctypes
    import platform

    number = {"x86_64": 250, "aarch64": 219}[platform.machine()]
    found = ctypes.CDLL(None).syscall(number, 11, -4, None, 0)
    return "escaped: a keyring" if found >= 0 else "refused"


#: handle_faults -> error | quiet
#: Opens a descriptor of userfaultfd, by which exploits stop the kernel in the middle.
def handle_faults(target):
    import ctypes
    import platform

    number = {"x86_64": 323, "aarch64": 282}[platform.machine()]
    return "escaped" if ctypes.CDLL(None).syscall(number, 1) >= 0 else "refused"


#: count_events -> error | quiet
#: Opens a counter of the processor's events.
def count_events(target):
    import ctypes
    import platform

    number = {"x86_64": 298, "aarch64": 241}[platform.machine()]
    wanted = (ctypes.c_uint64 * 16)(1 | (128 << 32), 0)
    return "escaped" if ctypes.CDLL(None).syscall(number, wanted, 0, -1, -1, 0) >= 0 else "refused"


#: other_personality -> error | quiet
#: Makes all that can be read executable.
def other_personality(target):
    import ctypes

    libc = ctypes.CDLL(None)
    before = libc.personality(0xFFFFFFFF)
    if before < 0 or libc.personality(before | 0x0400000) < 0:
        return "refused"
    libc.personality(before)
    return "escaped: another personality"


#: leave_a_queue -> error | quiet
#: Makes a message queue.
def leave_a_queue(target):
    import ctypes
    import platform

    number = {"x86_64": 240, "aarch64": 180}[platform.machine()]
    queue = ctypes.CDLL(None).syscall(number, target["mark"].encode(), 0o102, 0o600, None)
    if queue < 0:
        return "refused"
    ctypes.CDLL(None).syscall(number + 1, target["mark"].encode())
    return "escaped: a queue"


#: signal_everybody -> error | quiet | crash
#: Sends a signal to every process there is.
def signal_everybody(target):
    import os
    import signal

    os.kill(-1, signal.SIGURG)
    return "sent"


#: signal_every_number -> quiet
#: Tries whether there are processes with the first ten thousand numbers.
def signal_every_number(target):
    import os

    found = []
    for number in range(2, 10_000):
        try:
            os.kill(number, 0)
            found.append(number)
        except OSError:
            continue
    return f"escaped: saw {found[:5]}" if found else "nobody"


#: outlive_the_parent -> error | quiet
#: Takes back that it is killed when its parent dies.
def outlive_the_parent(target):
    import ctypes

    return "escaped" if ctypes.CDLL(None).prctl(1, 0, 0, 0, 0) == 0 else "refused"


#: let_itself_be_dumped -> error | quiet
#: Allows all processes to trace it, and a dump of its memory.
def let_itself_be_dumped(target):
    import ctypes

    libc = ctypes.CDLL(None)
    done = libc.prctl(4, 1, 0, 0, 0) == 0, libc.prctl(0x59616D61, -1, 0, 0, 0) == 0
    return f"escaped: {done}" if any(done) else "refused"


#: filter_of_its_own -> error | quiet
#: Puts a filter of its own before that of the sandbox.
def filter_of_its_own(target):
    import ctypes

    code = ctypes.create_string_buffer(b"\x06\x00\x00\x00\x00\x00\xff\x7f", 8)

    class Filter(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]

    program = Filter(1, ctypes.cast(code, ctypes.c_void_p))
    return "escaped" if ctypes.CDLL(None).prctl(22, 2, ctypes.byref(program), 0, 0) == 0 else "refused"


#: filter_on_a_socket -> error | quiet
#: Hands the kernel a program to run for each message of a socket.
def filter_on_a_socket(target):
    import socket

    one, _ = socket.socketpair()
    one.setsockopt(socket.SOL_SOCKET, 26, b"\x01" + b"\x00" * 15)
    return "escaped: a filter"


#: type_into_the_terminal -> error | quiet
#: Types a line into whatever terminal it finds.
def type_into_the_terminal(target):
    import fcntl
    import os
    import termios

    for number in range(64):
        try:
            fcntl.ioctl(number, termios.TIOCGWINSZ, b"\0" * 8)
            return "escaped: a terminal"
        except OSError:
            continue
    for name in ("/dev/tty", "/dev/console", "/dev/pts/0", "/dev/ptmx"):
        try:
            os.open(name, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
            return "escaped: " + name
        except OSError:
            continue
    return "none"


#: read_kernel_log -> error | quiet
#: Reads what the kernel logged.
def read_kernel_log(target):
    import ctypes

    buffer = ctypes.create_string_buffer(4096)
    return "escaped: a log" if ctypes.CDLL(None).klogctl(3, buffer, 4096) > 0 else "refused"


#: ask_for_ports -> error | quiet
#: Asks for the ports of the processor.
def ask_for_ports(target):
    import ctypes
    import platform

    if platform.machine() != "x86_64":
        return "there are none"
    libc = ctypes.CDLL(None)
    if libc.syscall(173, 0x80, 1, 1) == 0:
        libc.syscall(173, 0x80, 1, 0)
        return "escaped: a port"
    return "refused"


#: hurry -> error | quiet
#: Gives itself precedence over all others.
def hurry(target):
    import os

    os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0) - 1)
    return "escaped: precedence"


#: real_time -> error | quiet
#: Makes itself a process of real time, which no other interrupts.
def real_time(target):
    import os

    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    return "escaped: real time"


#: lock_memory -> error | quiet
#: Locks all of its memory, so that others must give theirs up.
def lock_memory(target):
    import ctypes

    libc = ctypes.CDLL(None)
    if libc.mlockall(3) == 0:
        libc.munlockall()
        return "escaped: locked"
    return "refused"


#: watch_everything -> error | quiet
#: Watches all files that anybody opens.
def watch_everything(target):
    import ctypes
    import platform

    number = {"x86_64": 300, "aarch64": 262}[platform.machine()]
    return "escaped" if ctypes.CDLL(None).syscall(number, 0, 0) >= 0 else "refused"


#: call_in_another_dialect -> quiet | error | crash
#: Makes a system call by the numbers of another kind of program (x32), which a filter may not know.
def call_in_another_dialect(target):
    import ctypes
    import os
    import platform

    if platform.machine() != "x86_64":
        return "there is none"
    handle = ctypes.CDLL(None).syscall(0x40000000 + 2, target["secret"].encode(), 0)
    return os.read(handle, 100).decode() if handle >= 0 else "refused"


#: call_by_interrupt -> crash | error | quiet
#: Makes a system call of a program of 32 bits by machine code.
def call_by_interrupt(target):
    import ctypes
    import mmap
    import platform

    if platform.machine() != "x86_64":
        return "there is none"
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(b"\x53\xb8\x14\x00\x00\x00\xcd\x80\x5b\xc3")  # getpid
    act = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    return "escaped: a call" if act() > 0 else "refused"


#: bottomless_directory -> quiet | error
#: Leaves directories in each other, deeper than a cleaner that recurses can go.
def bottomless_directory(target):
    import os

    for _ in range(1500):
        os.mkdir("d")
        os.chdir("d")
    return "left"


#: starve_the_clock -> timeout | error
#: Gives a thread that never waits the interpreter for a thousand seconds at a time.
def starve_the_clock(target):
    import sys
    import threading

    sys.setswitchinterval(1000)

    def spin():
        while True:
            pass

    threading.Thread(target=spin, daemon=True).start()
    while True:
        pass


#: lease_a_library -> error
#: Takes a lease on a library: whoever opens that file to write to it then waits most of a minute.
def lease_a_library(target):
    import fcntl
    import os

    handle = os.open(os.__file__, os.O_RDONLY)
    try:
        fcntl.fcntl(handle, 1024, fcntl.F_RDLCK)  # F_SETLEASE
        fcntl.fcntl(handle, 1024, fcntl.F_UNLCK)
    finally:
        os.close(handle)
    return "escaped"


#: watch_the_libraries -> error
#: Asks for a signal whenever somebody adds a file to the installation.
def watch_the_libraries(target):
    import fcntl
    import os
    import signal

    handle = os.open(os.path.dirname(os.__file__), os.O_RDONLY)
    try:
        fcntl.fcntl(handle, 10, signal.SIGURG)  # F_SETSIG
        fcntl.fcntl(handle, 1026, 4)  # F_NOTIFY, DN_CREATE
    finally:
        os.close(handle)
    return "escaped"


#: signal_by_a_descriptor -> error
#: Makes the host the owner of a socket, who gets a signal when something arrives there.
def signal_by_a_descriptor(target):
    import fcntl
    import os
    import signal
    import socket

    ours, theirs = socket.socketpair()
    fcntl.fcntl(ours, fcntl.F_SETOWN, target["host"])
    fcntl.fcntl(ours, 10, signal.SIGURG)  # F_SETSIG
    fcntl.fcntl(ours, fcntl.F_SETFL, os.O_ASYNC)
    theirs.send(b"x")


#: signal_by_a_socket -> error
#: The same by other calls, with data that are urgent.
def signal_by_a_socket(target):
    import fcntl
    import socket
    import struct

    ours, theirs = socket.socketpair()
    fcntl.ioctl(ours, 0x8901, struct.pack("i", target["host"]))  # FIOSETOWN
    theirs.send(b"x", socket.MSG_OOB)


#: send_out_of_band -> error
#: Sends urgent data to itself, by a part of the kernel that exploits like.
def send_out_of_band(target):
    import socket

    ours, theirs = socket.socketpair()
    theirs.send(b"x", socket.MSG_OOB)
    return "escaped"
