#: fork -> error | crash
#: Forks once.
def fork(target):
    import os

    if os.fork() == 0:
        os._exit(0)
    os.wait()
    return "escaped: forked"


#: fork_bomb -> error | crash | timeout
#: Forks in generations (six at most here, so that it ends where nothing stops it).
def fork_bomb(target):
    import os
    import time

    for _ in range(6):
        os.fork()
    time.sleep(1)
    os._exit(0)


#: fork_and_outlive -> error | crash | quiet
#: Leaves a daemon in a session of its own that writes into the home after the call.
def fork_and_outlive(target):
    import os
    import time

    if os.fork():
        return "parent is gone"
    os.setsid()
    if os.fork():
        os._exit(0)
    time.sleep(0.2)
    with open(target["home"] + "/daemon", "w") as file:
        file.write("alive")
    os._exit(0)


#: fork_by_syscall -> error | crash | quiet
#: Forks by its number, past Python and the C library's wrappers.
def fork_by_syscall(target):
    import ctypes
    import os
    import platform

    number = {"x86_64": 57, "aarch64": 220}[platform.machine()]
    child = ctypes.CDLL(None, use_errno=True).syscall(number, 17, 0, 0, 0, 0)
    if child == 0:
        os._exit(0)
    return "escaped: forked" if child > 0 else "refused"


#: fork_by_clone3 -> error | crash | quiet
#: Forks by clone3, whose flags a filter cannot read.
def fork_by_clone3(target):
    import ctypes
    import os

    arguments = (ctypes.c_uint64 * 8)(0, 0, 0, 0, 17, 0, 0, 0)
    child = ctypes.CDLL(None).syscall(435, arguments, 64)
    if child == 0:
        os._exit(0)
    return "escaped: forked" if child > 0 else "refused"


#: run_subprocess -> error
#: Runs a program.
def run_subprocess(target):
    import subprocess

    return subprocess.run(["/bin/cat", target["secret"]], capture_output=True, text=True, check=True).stdout


#: run_shell -> error | quiet
#: Runs a shell line.
def run_shell(target):
    import os

    status = os.system(f"echo overwritten > {target['notes']}")
    return "escaped" if status == 0 else f"status {status}"


#: open_pipe_to_shell -> error | quiet
#: Reads the output of a shell.
def open_pipe_to_shell(target):
    import os

    return os.popen("cat " + target["secret"]).read()


#: posix_spawn -> error
#: Starts a program through posix_spawn, which uses vfork.
def posix_spawn(target):
    import os

    child = os.posix_spawn("/bin/sh", ["sh", "-c", "echo x > " + target["notes"]], {})
    return f"escaped: started {child}"


#: fork_exec_by_hand -> error | quiet
#: Starts a program through the private function under subprocess.
def fork_exec_by_hand(target):
    import subprocess
    import sys

    class Loud(subprocess.Popen):
        pass

    with Loud([sys.executable, "-c", f"open({target['notes']!r}, 'w').write('x')"]) as child:
        return "escaped" if child.wait() == 0 else "refused"


#: replace_process -> error | crash
#: Replaces its process by a shell that overwrites a file.
def replace_process(target):
    import os

    os.execv("/bin/sh", ["sh", "-c", "echo overwritten > " + target["notes"]])


#: replace_process_by_python -> error | crash | timeout
#: Replaces its process by a fresh interpreter without our set-up.
def replace_process_by_python(target):
    import os
    import sys

    os.execve(sys.executable, [sys.executable, "-c", f"open({target['notes']!r}, 'w').write('x')"], {})


#: run_anonymous_program -> error | crash
#: Copies a program into an anonymous file and runs that.
def run_anonymous_program(target):
    import os
    import sys

    file = os.memfd_create("program")
    with open(os.path.realpath(sys.executable), "rb") as program:
        os.write(file, program.read())
    os.execve(f"/proc/self/fd/{file}", ["python", "-c", f"open({target['notes']!r}, 'w').write('x')"], {})


#: multiprocessing_pool -> error | timeout | crash
#: Starts a pool of processes.
def multiprocessing_pool(target):
    import multiprocessing

    with multiprocessing.get_context("fork").Pool(2) as pool:
        return "escaped: " + str(pool.map(abs, [-1, -2]))


#: hard_exit -> crash
#: Ends its process with success, without saying goodbye.
def hard_exit(target):
    import os

    os._exit(0)


#: hard_exit_by_syscall -> crash | error
#: Ends its process with exit_group by number.
def hard_exit_by_syscall(target):
    import ctypes
    import platform

    ctypes.CDLL(None).syscall({"x86_64": 231, "aarch64": 94}[platform.machine()], 0)


#: system_exit -> error | crash
#: Leaves by sys.exit.
def system_exit(target):
    import sys

    sys.exit(0)


#: keyboard_interrupt -> error | crash
#: Raises KeyboardInterrupt, which hosts take for the user.
def keyboard_interrupt(target):
    raise KeyboardInterrupt


#: base_exception -> error | crash
#: Raises a BaseException of its own, past every `except Exception`.
def base_exception(target):
    class Fatal(BaseException):
        pass

    raise Fatal("nobody catches me")


#: generator_exit -> error | crash
#: Raises GeneratorExit.
def generator_exit(target):
    raise GeneratorExit


#: stop_iteration -> error
#: Raises StopIteration, which ends loops in silence.
def stop_iteration(target):
    raise StopIteration(1)


#: cancelled_error -> error | crash
#: Raises the error by which asyncio cancels tasks.
def cancelled_error(target):
    import asyncio

    raise asyncio.CancelledError("the host's task, please")


#: abort -> crash
#: Aborts.
def abort(target):
    import os

    os.abort()


#: segfault -> crash | error
#: Reads address zero.
def segfault(target):
    import ctypes

    return ctypes.string_at(0)


#: crash_by_bytecode -> crash | error | timeout
#: Runs garbage as bytecode.
def crash_by_bytecode(target):
    def empty():
        pass

    empty.__code__ = empty.__code__.replace(co_code=b"\x7d\x63\x64\x01" * 40, co_stacksize=0)
    return empty()


#: kill_itself -> crash | quiet | error
#: Kills its own process.
def kill_itself(target):
    import os
    import signal

    os.kill(os.getpid(), signal.SIGKILL)


#: stop_itself -> timeout | error | crash | quiet
#: Stops its own process, which then neither works nor dies.
def stop_itself(target):
    import os
    import signal

    os.kill(os.getpid(), signal.SIGSTOP)
    return "woken"


#: signal_parent -> error | quiet | crash
#: Sends a signal to its parent.
def signal_parent(target):
    import os
    import signal

    os.kill(os.getppid(), signal.SIGURG)
    return "sent"


#: signal_host -> error
#: Sends a signal to the host by its id.
def signal_host(target):
    import os
    import signal

    os.kill(target["host"], signal.SIGURG)
    return "escaped: sent"


#: signal_group -> error | quiet | crash
#: Sends a signal to its whole process group.
def signal_group(target):
    import os
    import signal

    os.killpg(0, signal.SIGURG)
    return "sent"


#: queue_signal_by_pidfd -> error
#: Sends a signal to the host through a pidfd.
def queue_signal_by_pidfd(target):
    import os
    import signal

    signal.pidfd_send_signal(os.pidfd_open(target["host"]), signal.SIGURG)
    return "escaped: sent"


#: own_signals_by_fcntl -> error | quiet
#: Makes the host the owner of a pipe, so that the kernel signals it on every write.
def own_signals_by_fcntl(target):
    import fcntl
    import os
    import signal

    reader, writer = os.pipe()
    fcntl.fcntl(reader, fcntl.F_SETOWN, target["host"])
    fcntl.fcntl(reader, 10, signal.SIGURG)
    fcntl.fcntl(reader, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    os.write(writer, b"x")
    return "sent"


#: kill_victim -> error
#: Kills another process of the same user.
def kill_victim(target):
    import os
    import signal

    os.kill(target["victim"], signal.SIGKILL)
    return "escaped: killed"


#: slow_down_host -> error | quiet
#: Lowers the host's priority.
def slow_down_host(target):
    import os

    os.setpriority(os.PRIO_PROCESS, target["host"], 1)
    return "escaped: priority changed"


#: limit_host -> error
#: Changes a resource limit of the host.
def limit_host(target):
    import resource

    soft, hard = resource.prlimit(target["host"], resource.RLIMIT_CORE)
    resource.prlimit(target["host"], resource.RLIMIT_CORE, (soft, hard))
    return "escaped: limit changed"


#: pin_host -> error
#: Changes on which processors the host may run.
def pin_host(target):
    import os

    os.sched_setaffinity(target["host"], os.sched_getaffinity(target["host"]))
    return "escaped: pinned"


#: trace_host -> error | quiet
#: Attaches to the host as a debugger (PTRACE_SEIZE, which does not stop it).
def trace_host(target):
    import ctypes

    result = ctypes.CDLL(None).ptrace(0x4206, target["host"], 0, 0)
    if result == 0:
        ctypes.CDLL(None).ptrace(17, target["host"], 0, 0)
        return "escaped: attached"
    return "refused"


#: trace_victim -> error | quiet
#: Attaches to another process as a debugger.
def trace_victim(target):
    import ctypes

    return "escaped: attached" if ctypes.CDLL(None).ptrace(0x4206, target["victim"], 0, 0) == 0 else "refused"


#: outliving_thread -> quiet | error | crash
#: Leaves a thread that patches builtins a moment after the call.
def outliving_thread(target):
    import builtins
    import threading

    def later():
        for _ in range(200_000):
            builtins.len = lambda _: -1

    threading.Thread(target=later, daemon=True).start()
    return "left"


#: outliving_thread_that_writes -> quiet | error | crash | value
#: Leaves a thread that writes to every descriptor after the call, to disturb the answers of later calls.
def outliving_thread_that_writes(target):
    import os
    import threading

    def later():
        for _ in range(300):
            for file in range(0, 64):
                try:
                    os.set_blocking(file, False)
                    os.write(file, b"\x00\x00\x00\x04junk")
                except OSError:
                    pass

    threading.Thread(target=later, daemon=True).start()
    return "left"


#: register_atexit -> quiet | error
#: Registers a farewell that writes into the home when the process ends.
def register_atexit(target):
    import atexit

    def farewell():
        with open(target["home"] + "/farewell", "w") as file:
            file.write("x")

    atexit.register(farewell)
    return "registered"


#: loop_at_exit -> quiet | error | timeout
#: Registers a farewell that never ends, with a thread that cannot be joined.
def loop_at_exit(target):
    import atexit
    import threading
    import time

    atexit.register(lambda: time.sleep(3600))
    threading.Thread(target=lambda: time.sleep(3600)).start()
    return "registered"


#: finalize_later -> quiet | error
#: Leaves an object in a module whose destructor writes into the home at the end.
def finalize_later(target):
    import math

    class Bomb:
        def __del__(self, open=open, path=target["home"] + "/finalized"):
            open(path, "w").write("x")

    math.bomb = Bomb()
    return "left"


#: fork_handler -> quiet | error
#: Registers handlers for the next fork of its process.
def fork_handler(target):
    import os

    def handler():
        open(target["home"] + "/forked", "w").write("x")

    os.register_at_fork(before=handler, after_in_child=handler, after_in_parent=handler)
    return "registered"
