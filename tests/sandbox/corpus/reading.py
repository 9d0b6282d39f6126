#: environment -> quiet | error
#: Returns all of its environment.
def environment(target):
    import os

    return dict(os.environ)


#: environment_of_posix -> quiet | error
#: Returns the environment as the process was started with it.
def environment_of_posix(target):
    import posix

    return [value.decode() for value in posix.environ.values()]


#: environment_of_libc -> quiet | error
#: Walks the C library's `environ`.
def environment_of_libc(target):
    import ctypes

    variables = ctypes.POINTER(ctypes.c_char_p).in_dll(ctypes.CDLL(None), "environ")
    found = []
    while variables and variables[len(found)]:
        found.append(variables[len(found)].decode())
    return found


#: environment_in_proc -> quiet | error
#: Reads the environment that the kernel keeps of its own process.
def environment_in_proc(target):
    with open("/proc/self/environ") as file:
        return file.read()


#: environment_of_parent -> error | quiet
#: Reads its parent's environment.
def environment_of_parent(target):
    import os

    with open(f"/proc/{os.getppid()}/environ") as file:
        return file.read()


#: environment_of_host -> error
#: Reads the host's environment by its id.
def environment_of_host(target):
    with open(f"/proc/{target['host']}/environ") as file:
        return file.read()


#: environment_of_victim -> error
#: Reads another process's environment.
def environment_of_victim(target):
    with open(f"/proc/{target['victim']}/environ") as file:
        return file.read()


#: command_line_of_victim -> error
#: Reads another process's command line.
def command_line_of_victim(target):
    with open(f"/proc/{target['victim']}/cmdline") as file:
        return file.read()


#: status_of_host -> error
#: Learns what the host is doing.
def status_of_host(target):
    with open(f"/proc/{target['host']}/status") as file:
        return "escaped: " + file.readline()


#: memory_of_host -> error
#: Reads the host's memory through /proc.
def memory_of_host(target):
    with open(f"/proc/{target['host']}/maps") as maps, open(f"/proc/{target['host']}/mem", "rb") as memory:
        for line in maps:
            if "[heap]" in line:
                memory.seek(int(line.split("-")[0], 16))
                memory.read(64)
                return "escaped: heap read"
    return "escaped: maps read"


#: memory_of_parent -> error
#: Reads its parent's memory through /proc.
def memory_of_parent(target):
    import os

    with open(f"/proc/{os.getppid()}/maps") as maps:
        start = int(maps.readline().split("-")[0], 16)
    with open(f"/proc/{os.getppid()}/mem", "rb") as memory:
        memory.seek(start)
        return "escaped: " + memory.read(4).decode("latin-1")


#: memory_by_syscall -> error | quiet
#: Reads the host's memory by process_vm_readv; as a copy of the host, the worker knows where things are.
def memory_by_syscall(target):
    import ctypes

    class Piece(ctypes.Structure):
        _fields_ = (("base", ctypes.c_void_p), ("size", ctypes.c_size_t))

    there = id(None)
    buffer = ctypes.create_string_buffer(16)
    local = Piece(ctypes.addressof(buffer), 16)
    remote = Piece(there, 16)
    libc = ctypes.CDLL(None, use_errno=True)
    got = libc.process_vm_readv(target["host"], ctypes.byref(local), 1, ctypes.byref(remote), 1, 0)
    return f"escaped: {got} bytes" if got > 0 or ctypes.get_errno() == 14 else "refused"


#: open_files_of_host -> error
#: Lists and opens what the host has open.
def open_files_of_host(target):
    import os

    folder = f"/proc/{target['host']}/fd"
    return "escaped: " + ", ".join(os.readlink(f"{folder}/{name}") for name in os.listdir(folder))


#: steal_descriptor_of_host -> error | quiet
#: Copies an open file of the host by pidfd_getfd.
def steal_descriptor_of_host(target):
    import ctypes
    import os

    process = os.pidfd_open(target["host"])
    got = [ctypes.CDLL(None).syscall(438, process, number, 0) for number in range(64)]
    return "escaped: copied" if max(got) >= 0 else "refused"


#: root_of_host -> error
#: Enters the host's file tree through /proc.
def root_of_host(target):
    with open(f"/proc/{target['host']}/root{target['secret']}") as file:
        return file.read()


#: working_directory_of_host -> error
#: Lists the host's working directory through /proc.
def working_directory_of_host(target):
    import os

    return "escaped: " + str(os.listdir(f"/proc/{target['host']}/cwd"))


#: inherited_files -> quiet | error
#: Reads everything from every descriptor that it was born with, without waiting.
def inherited_files(target):
    import os

    found = []
    for file in range(3, 1024):
        try:
            found.append(os.readlink(f"/proc/self/fd/{file}") if False else os.pread(file, 1 << 16, 0).decode("latin-1"))
        except OSError:
            continue
    return found


#: names_of_inherited_files -> quiet | error
#: Asks the kernel for the paths behind its descriptors.
def names_of_inherited_files(target):
    import os

    names = [os.readlink("/proc/self/fd/" + name) for name in os.listdir("/proc/self/fd") if int(name) > 2]
    return "escaped: " + str(names) if any(target["home"] in name for name in names) else names


#: list_processes -> quiet | error
#: Lists the processes of the machine.
def list_processes(target):
    import os

    numbers = {int(name) for name in os.listdir("/proc") if name.isdigit()}
    return "escaped: sees the host" if target["host"] in numbers else sorted(numbers)


#: read_secret -> error
#: Opens the secret by its path.
def read_secret(target):
    with open(target["secret"]) as file:
        return file.read()


#: read_secret_by_libc -> error | quiet
#: Opens the secret by the C library, past Python's hooks.
def read_secret_by_libc(target):
    import ctypes
    import os

    file = ctypes.CDLL(None).open(target["secret"].encode(), 0)
    return os.read(file, 100).decode() if file >= 0 else "refused"


#: read_secret_by_openat2 -> error | quiet
#: Opens the secret by the newest system call for it.
def read_secret_by_openat2(target):
    import ctypes
    import os

    how = (ctypes.c_uint64 * 3)(0, 0, 0)
    file = ctypes.CDLL(None).syscall(437, -100, target["secret"].encode(), how, 24)
    return os.read(file, 100).decode() if file >= 0 else "refused"


#: read_secret_relative -> error
#: Climbs out of its directory.
def read_secret_relative(target):
    with open("../" * 40 + target["secret"].lstrip("/")) as file:
        return file.read()


#: read_secret_by_directory -> error
#: Opens the root directory first and the secret from there.
def read_secret_by_directory(target):
    import os

    root = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    return os.read(os.open(target["secret"].lstrip("/"), os.O_RDONLY, dir_fd=root), 100).decode()


#: read_secret_by_path_descriptor -> error
#: Opens the secret as a mere path, then reads it through /proc/self/fd.
def read_secret_by_path_descriptor(target):
    import os

    file = os.open(target["secret"], os.O_PATH)
    with open(f"/proc/self/fd/{file}") as again:
        return again.read()


#: read_secret_by_symlink -> error
#: Reads the secret through a link in its own directory.
def read_secret_by_symlink(target):
    import os

    os.symlink(target["secret"], "innocent")
    with open("innocent") as file:
        return file.read()


#: read_secret_by_hard_link -> error
#: Gives the secret a second name in its own directory.
def read_secret_by_hard_link(target):
    import os

    os.link(target["secret"], "innocent-too")
    with open("innocent-too") as file:
        return file.read()


#: read_secret_by_handle -> error | quiet
#: Opens the secret by its file handle, past every directory.
def read_secret_by_handle(target):
    import ctypes
    import os

    class Handle(ctypes.Structure):
        _fields_ = (("size", ctypes.c_uint), ("kind", ctypes.c_int), ("data", ctypes.c_char * 128))

    handle, mount, libc = Handle(128), ctypes.c_int(), ctypes.CDLL(None)
    if libc.name_to_handle_at(-100, target["secret"].encode(), ctypes.byref(handle), ctypes.byref(mount), 0):
        return "refused"
    file = libc.open_by_handle_at(os.open("/", os.O_RDONLY), ctypes.byref(handle), 0)
    return os.read(file, 100).decode() if file >= 0 else "refused"


#: read_secret_by_mmap -> error
#: Maps the secret.
def read_secret_by_mmap(target):
    import mmap
    import os

    return mmap.mmap(os.open(target["secret"], os.O_RDONLY), 0, prot=mmap.PROT_READ)[:].decode()


#: read_secret_by_copy -> error
#: Lets the kernel copy the secret into a file of its own.
def read_secret_by_copy(target):
    import shutil

    shutil.copy(target["secret"], "copy")
    with open("copy") as file:
        return file.read()


#: read_secret_by_linecache -> error | quiet
#: Lets the traceback machinery read the secret.
def read_secret_by_linecache(target):
    import linecache

    return linecache.getlines(target["secret"])


#: read_secret_in_traceback -> error
#: Claims that its code stands in the secret file, so that whoever prints the traceback quotes it.
def read_secret_in_traceback(target):
    exec(compile("1/0", target["secret"], "exec"))


#: read_secret_in_syntax_error -> error
#: Claims that a syntax error stands in the secret file.
def read_secret_in_syntax_error(target):
    raise SyntaxError("look there", (target["secret"], 1, 1, None))


#: import_secret -> error
#: Imports a module from the host's home.
def import_secret(target):
    import sys

    sys.path.insert(0, target["home"])
    import private_module

    return private_module.KEY


#: load_secret_as_code -> error
#: Lets the import machinery read the secret.
def load_secret_as_code(target):
    from importlib.machinery import SourceFileLoader

    return SourceFileLoader("x", target["secret"]).get_data(target["secret"]).decode()


#: attach_secret_database -> error | quiet
#: Lets SQLite open and write a file in the home.
def attach_secret_database(target):
    import sqlite3

    with sqlite3.connect(":memory:") as base:
        base.execute("attach ? as other", (target["home"] + "/new.db",))
        base.execute("create table other.t(x)")
    return "escaped: wrote a database"


#: list_home -> error
#: Lists the home.
def list_home(target):
    import os

    return "escaped: " + str(os.listdir(target["home"]))


#: glob_home -> quiet | error
#: Looks for files with a pattern.
def glob_home(target):
    import glob

    found = glob.glob(target["home"] + "/**", recursive=True)
    return "escaped: " + str(found) if len(found) > 1 else found


#: stat_secret -> error
#: Learns size and age of the secret.
def stat_secret(target):
    import os

    return f"escaped: {os.stat(target['secret']).st_size} bytes"


#: find_home_of_user -> quiet | error
#: Asks where the user's home is and looks whether something is there.
def find_home_of_user(target):
    import os

    home = os.path.expanduser("~")
    if os.path.realpath(home).startswith(os.getcwd()):
        return "its own directory"
    return f"escaped: {len(os.listdir(home))} names" if os.listdir(home) else "nothing"


#: read_passwords -> error
#: Reads who has an account here.
def read_passwords(target):
    with open("/etc/passwd") as file:
        return "escaped: " + file.readline()


#: open_disk -> error | quiet
#: Opens a disk below its file system.
def open_disk(target):
    import os
    import stat

    for name in os.listdir("/dev"):
        path = "/dev/" + name
        if stat.S_ISBLK(os.stat(path).st_mode):
            os.close(os.open(path, os.O_RDONLY))
            return "escaped: opened " + path
    return "none to be seen"


#: open_kernel_memory -> error
#: Opens the kernel's memory or its log.
def open_kernel_memory(target):
    import os

    for path in ("/dev/mem", "/proc/kcore", "/dev/kmsg"):
        try:
            os.close(os.open(path, os.O_RDONLY))
        except FileNotFoundError:
            continue
        return "escaped: opened " + path
    raise FileNotFoundError("none of them")


#: read_shared_memory -> error | quiet
#: Attaches to a shared memory segment of another process.
def read_shared_memory(target):
    from multiprocessing import shared_memory

    return bytes(shared_memory.SharedMemory(target["shared"]).buf[:64]).decode("latin-1")


#: secret_in_objects -> quiet | error | timeout
#: Searches all objects that the collector knows for the host's secret.
def secret_in_objects(target):
    import gc

    found = [o["vault"] for o in gc.get_objects() if type(o) is dict and isinstance(o.get("vault"), str)]
    return found


#: secret_in_frames -> quiet | error
#: Walks the frames below its own, of all threads, for the host's secret.
def secret_in_frames(target):
    import sys

    found = []
    for frame in sys._current_frames().values():
        while frame:
            for names in (frame.f_locals, frame.f_globals):
                found += [v for k, v in list(names.items()) if k == "vault" and isinstance(v, str)]
            frame = frame.f_back
    return found


#: secret_in_modules -> quiet | error
#: Looks for the host's secret in all loaded modules.
def secret_in_modules(target):
    import sys

    found = []
    for module in list(sys.modules.values()):
        found += [v for k, v in list(vars(module).items()) if k == "vault" and isinstance(v, str)]
    return found


#: secret_in_memory -> quiet | error
#: Searches its own heap for what a fork left there.
def secret_in_memory(target):
    import re

    with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb") as memory:
        for line in maps:
            if "rw" in line and "[v" not in line:
                start, end = (int(x, 16) for x in line.split()[0].split("-"))
                memory.seek(start)
                try:
                    found = re.search(rb"canary-[0-9a-f]{32}", memory.read(min(end - start, 1 << 26)))
                except OSError:
                    continue
                if found:
                    return found.group().decode()
    return "nothing"
