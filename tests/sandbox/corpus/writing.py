#: overwrite -> error
#: Overwrites a file of the host.
def overwrite(target):
    with open(target["notes"], "w") as file:
        file.write("x")


#: append -> error
#: Appends to a file of the host.
def append(target):
    with open(target["notes"], "a") as file:
        file.write("x")


#: delete -> error
#: Deletes a file of the host.
def delete(target):
    import os

    os.remove(target["notes"])


#: delete_tree -> error | quiet
#: Deletes the home with all that is in it.
def delete_tree(target):
    import shutil

    shutil.rmtree(target["home"], ignore_errors=True)
    return "tried"


#: delete_upwards -> error | quiet
#: Deletes what lies around its own directory, as far as it is the prey.
def delete_upwards(target):
    import os
    import shutil

    at = os.path.realpath(target["home"])
    shutil.rmtree(os.path.relpath(at), ignore_errors=True)
    return "tried"


#: rename -> error
#: Moves a file of the host.
def rename(target):
    import os

    os.rename(target["notes"], target["notes"] + ".moved")


#: steal_by_rename -> error
#: Moves a file of the host into its own directory.
def steal_by_rename(target):
    import os

    os.rename(target["notes"], "mine")


#: truncate -> error
#: Cuts a file of the host without opening it.
def truncate(target):
    import os

    os.truncate(target["notes"], 0)


#: change_mode -> error
#: Opens the secret to everybody.
def change_mode(target):
    import os

    os.chmod(target["secret"], 0o777)


#: change_owner -> error
#: Gives the secret away.
def change_owner(target):
    import os

    os.chown(target["secret"], 12345, 12345)


#: change_times -> error
#: Makes a file look old.
def change_times(target):
    import os

    os.utime(target["notes"], (0, 0))


#: change_attributes -> error
#: Sticks an attribute on a file of the host.
def change_attributes(target):
    import os

    os.setxattr(target["notes"], "user.mark", b"x")
    return "escaped: attribute set"


#: make_directory -> error
#: Makes a directory in the home.
def make_directory(target):
    import os

    os.mkdir(target["home"] + "/new")


#: make_link -> error
#: Leaves a link in the home.
def make_link(target):
    import os

    os.symlink("/", target["home"] + "/link")


#: write_to_tmp -> error | quiet
#: Leaves files in the places that everybody may write to.
def write_to_tmp(target):
    import os

    for folder in ("/tmp", "/var/tmp", "/dev/shm", "/run"):
        if os.path.isdir(folder):
            with open(os.path.join(folder, target["mark"]), "w") as file:
                file.write("x")
    return "left"


#: write_to_installation -> error
#: Leaves a start-up file in the Python installation, which every later program would run.
def write_to_installation(target):
    import sysconfig

    with open(sysconfig.get_paths()["purelib"] + "/" + target["mark"] + ".pth", "w") as file:
        file.write("")


#: write_to_library -> error
#: Leaves a file beside the standard library.
def write_to_library(target):
    import os

    with open(os.path.join(os.path.dirname(os.__file__), target["mark"]), "w") as file:
        file.write("")


#: write_to_imported_package -> error
#: Leaves a file beside this library's own modules.
def write_to_imported_package(target):
    import sys

    folders = {p for m in list(sys.modules.values()) for p in getattr(m, "__path__", [])}
    for folder in sorted(folders):
        try:
            with open(folder + "/" + target["mark"], "w") as file:
                file.write("")
        except OSError:
            continue
    raise PermissionError("nowhere")


#: make_installation_writable -> error | quiet
#: Opens a file of the standard library for writing.
def make_installation_writable(target):
    import os
    import this

    os.close(os.open(this.__file__, os.O_WRONLY))
    return "escaped: may rewrite the standard library"


#: open_kernel_settings -> error
#: Opens a setting of the kernel through which the next crash would run a program as root.
def open_kernel_settings(target):
    import os

    os.close(os.open("/proc/sys/kernel/core_pattern", os.O_WRONLY))
    return "escaped: opened"


#: open_control_group -> error
#: Opens the control group's settings for writing.
def open_control_group(target):
    import os

    for folder in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/memory"):
        try:
            os.close(os.open(folder + "/cgroup.procs", os.O_WRONLY))
        except FileNotFoundError:
            continue
        return "escaped: opened"
    raise FileNotFoundError("none of them")


#: protect_itself_from_killer -> error | quiet
#: Makes the host's memory the first to go when the machine runs out.
def protect_itself_from_killer(target):
    with open(f"/proc/{target['host']}/oom_score_adj", "r+") as file:
        value = file.read()
        file.write(value.strip())
    return "escaped: opened"


#: fill_disk -> error | memory | timeout
#: Fills the disk of its directory (to a gigabyte).
def fill_disk(target):
    with open("hoard", "wb") as file:
        for _ in range(1 << 10):
            file.write(b"x" * (1 << 20))
    return "escaped: a gigabyte on disk"


#: fill_disk_in_pieces -> error | memory | timeout
#: Fills the disk with many files, each within the limit of a file (to half a gigabyte).
def fill_disk_in_pieces(target):
    for k in range(512):
        with open(f"hoard{k}", "wb") as file:
            file.write(b"x" * (1 << 20))
    return "escaped: half a gigabyte on disk"


#: fill_inodes -> error | timeout
#: Makes a hundred thousand empty files.
def fill_inodes(target):
    import os

    for k in range(100_000):
        os.close(os.open(f"empty{k}", os.O_CREAT | os.O_WRONLY))
    return "escaped: a hundred thousand files"


#: sparse_file -> error | quiet
#: Makes a file that claims a terabyte.
def sparse_file(target):
    with open("claim", "wb") as file:
        file.truncate(1 << 40)
    return "claimed"


#: link_back_for_the_cleaner -> quiet | error
#: Leaves links to the home in its directory, for whoever deletes that recursively.
def link_back_for_the_cleaner(target):
    import os

    os.symlink(target["home"], "folder", target_is_directory=True)
    os.symlink(target["secret"], "file")
    return "left"


#: race_the_cleaner -> quiet | error
#: Swaps a directory for a link to the home again and again, for whoever deletes it in two steps.
def race_the_cleaner(target):
    import os
    import threading

    def swap():
        for _ in range(3000):
            try:
                os.mkdir("folder")
                os.rmdir("folder")
                os.symlink(target["home"], "folder")
                os.remove("folder")
            except OSError:
                pass

    threading.Thread(target=swap, daemon=True).start()
    return "left"


#: replace_its_directory -> quiet | error
#: Replaces its own directory by a link to the home.
def replace_its_directory(target):
    import os

    here = os.getcwd()
    os.rename(here, here + "-away")
    os.symlink(target["home"], here)
    return "replaced"


#: undeletable_directory -> quiet | error
#: Leaves what a simple cleaner cannot delete: no rights, long names, thousands of levels, a pipe.
def undeletable_directory(target):
    import os

    os.mkfifo("pipe")
    os.mkdir("locked")
    with open("locked/file", "w") as file:
        file.write("x")
    os.chmod("locked", 0)
    for _ in range(1500):
        os.mkdir("d" * 100)
        os.chdir("d" * 100)
    return "left"


#: leave_its_directory -> quiet | error
#: Changes its working directory, mask and root for the next call.
def leave_its_directory(target):
    import os

    os.umask(0o777)
    os.chdir("/")
    return "gone"


#: change_root -> error
#: Makes a new root, and climbs out of the old one.
def change_root(target):
    import os

    os.mkdir("jail")
    outside = os.open("..", os.O_RDONLY)
    os.chroot("jail")
    os.fchdir(outside)
    for _ in range(60):
        os.chdir("..")
    os.chroot(".")
    with open(target["secret"]) as file:
        return file.read()


#: make_device -> error
#: Makes a device node for the first disk and opens it.
def make_device(target):
    import os
    import stat

    os.mknod("disk", 0o600 | stat.S_IFBLK, os.makedev(254, 0))
    os.close(os.open("disk", os.O_RDONLY))
    return "escaped: opened a disk"


#: mount_host -> error | quiet
#: Mounts the host's processes or its own file system over its directory.
def mount_host(target):
    import ctypes
    import os

    os.mkdir("mnt")
    libc = ctypes.CDLL(None)
    made = libc.mount(target["home"].encode(), b"mnt", None, 4096, None)
    if made == 0:
        libc.umount2(b"mnt", 2)
        return "escaped: mounted"
    return "refused"


#: new_namespace -> error | quiet
#: Becomes root in a namespace of its own, to unlock more of the kernel.
def new_namespace(target):
    import ctypes

    return "escaped: root of a namespace" if ctypes.CDLL(None).unshare(0x10000000 | 0x00020000) == 0 else "refused"


#: enter_namespaces_of_host -> error | quiet
#: Enters the host's namespaces.
def enter_namespaces_of_host(target):
    import ctypes
    import os

    files = [os.open(f"/proc/{target['host']}/ns/{kind}", os.O_RDONLY) for kind in ("user", "mnt", "net")]
    libc = ctypes.CDLL(None)
    return "escaped: inside" if any(libc.setns(file, 0) == 0 for file in files[1:]) else "refused"


#: become_somebody_else -> error | quiet
#: Changes its user.
def become_somebody_else(target):
    import os

    os.setgroups([])
    os.setuid(12345)
    return "escaped: another user"


#: lock_file_of_host -> error
#: Locks a file that the host wants to use.
def lock_file_of_host(target):
    import fcntl

    with open(target["notes"]) as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return "escaped: locked"


#: leave_shared_memory -> error | quiet
#: Leaves shared memory segments and queues that outlive its process.
def leave_shared_memory(target):
    import ctypes

    libc = ctypes.CDLL(None)
    segment = libc.shmget(target["key"], 4096, 0o1600)
    queue = libc.msgget(target["key"], 0o1600)
    return f"left {segment} {queue}"


#: watch_home -> error | quiet
#: Asks the kernel to be told of everything that happens in the home.
def watch_home(target):
    import ctypes

    libc = ctypes.CDLL(None)
    return "escaped: watching" if libc.inotify_add_watch(libc.inotify_init(), target["home"].encode(), 4095) > 0 else "refused"
