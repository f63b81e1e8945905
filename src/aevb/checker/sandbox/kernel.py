"""Linux's own guards: filters on system calls and on writing files, which nothing can undo.

Each function returns whether it took effect. It returns False and changes nothing on systems other
than Linux, on processors other than x86_64 and aarch64, and where a container forbids it. Numbers
are those of the kernel's headers (seccomp.h, landlock.h, unistd.h of both processors).
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import signal
import struct
import sys
from collections.abc import Sequence

PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38
SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC = 1, 1
ALLOW, KILL, IGNORE = 0x7FFF0000, 0x80000000, 0x50000
REFUSE, UNKNOWN = 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS
LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
NUMBER, ARCHITECTURE, ARGUMENT = 0, 4, (16, 24, 32)
CLONE_THREAD = 0x10000

MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
"""The kernel's number of an architecture, and its column in the tables below."""
SECCOMP = (317, 277)
# x86_64, aarch64; -1 where the processor has no such call.
REFUSED = {
    "socket": (41, 198), "socketpair": (53, 199), "io_uring_setup": (425, 425),
    "fork": (57, -1), "vfork": (58, -1), "execve": (59, 221), "execveat": (322, 281),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "tkill": (200, 130), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240),
    "pidfd_open": (434, 434), "pidfd_send_signal": (424, 424), "pidfd_getfd": (438, 438),
    "setsid": (112, 157), "setpgid": (109, 154), "setrlimit": (160, 164),
    "memfd_create": (319, 279), "memfd_secret": (447, 447),
    "shmget": (29, 194), "semget": (64, 190), "msgget": (68, 186), "mq_open": (240, 180),
    "chown": (92, -1), "lchown": (94, -1), "fchown": (93, 55), "fchownat": (260, 54),
    "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16),
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "unshare": (272, 97), "setns": (308, 268), "move_mount": (429, 429), "open_tree": (428, 428),
    "fsopen": (430, 430), "fsmount": (432, 432), "mount_setattr": (442, 442),
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "reboot": (169, 142),
    "swapon": (167, 224), "swapoff": (168, 225), "sethostname": (170, 161),
    "setdomainname": (171, 162), "settimeofday": (164, 170), "clock_settime": (227, 112),
    "adjtimex": (159, 171), "clock_adjtime": (305, 266), "acct": (163, 89), "quotactl": (179, 60),
    "iopl": (172, -1), "ioperm": (173, -1),
    "sched_setparam": (142, 118), "sched_setscheduler": (144, 119), "sched_setattr": (314, 274),
}  # fmt: skip
# Landlock does not cover permissions; but shutil.copy, which sets them, must not fail.
WITHOUT_EFFECT = {
    "chmod": (90, -1), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452),
}  # fmt: skip
CLONE, PRLIMIT = (56, 220), (302, 261)
# A filter cannot read the arguments of these; C libraries then use calls where it can.
UNREADABLE = {"clone3": (435, 435), "close_range": (436, 436)}
TO_A_PROCESS = {"kill": (62, 129), "tgkill": (234, 131)}
# The third number: the place of the descriptor among the arguments.
TO_A_DESCRIPTOR = {
    "close": (3, 57, 0), "fcntl": (72, 25, 0), "dup2": (33, -1, 1), "dup3": (292, 24, 1),
}  # fmt: skip

Instruction = tuple[int, int, int, int]


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def _machine() -> tuple[int, int] | None:
    is_linux = sys.platform == "linux" and sys.maxsize > 2**32
    return MACHINES.get(platform.machine()) if is_linux else None


def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, value: int) -> bool:
    if sys.platform != "linux":
        return False
    zero = ctypes.c_ulong(0)
    return bool(_library().prctl(option, ctypes.c_ulong(value), zero, zero, zero) == 0)


def forbid_new_privileges() -> bool:
    """Keep programs such as sudo from changing the user; the two filters below need this."""
    return _prctl(PR_SET_NO_NEW_PRIVS, 1)


def die_with(parent: int) -> bool:
    """Let the kernel kill this process when the parent ends, however it ends."""
    active = _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if active and os.getppid() != parent:  # the parent ended before the call
        os._exit(1)
    return active


def filter_calls(descriptors: Sequence[int]) -> bool:
    """Refuse sockets, new processes and programs, signals to others, closing ``descriptors``.

    Threads are allowed.
    """
    machine = _machine()
    if machine is None:
        return False
    instructions = b"".join(struct.pack("=HBBI", *one) for one in _filter(*machine, descriptors))
    program = _Program(len(instructions) // 8, instructions)
    number = ctypes.c_long(SECCOMP[machine[1]])
    mode, flag = ctypes.c_ulong(SECCOMP_SET_MODE_FILTER), ctypes.c_ulong(SECCOMP_FILTER_FLAG_TSYNC)
    return bool(_library().syscall(number, mode, flag, ctypes.byref(program)) == 0)


def _filter(architecture: int, column: int, descriptors: Sequence[int]) -> list[Instruction]:
    """Write the program for the kernel's BPF machine.

    An instruction is (code, how many to skip if true, how many if false, value).
    """
    refuse, allow = (RETURN, 0, 0, REFUSE), (RETURN, 0, 0, ALLOW)
    program: list[Instruction] = [
        (LOAD, 0, 0, ARCHITECTURE), (EQUAL, 1, 0, architecture), (RETURN, 0, 0, KILL),
        # the calls of the x32 interface
        (LOAD, 0, 0, NUMBER), (AT_LEAST, 0, 1, 0x40000000), refuse,
    ]  # fmt: skip

    def on(numbers: Sequence[int], *body: Instruction) -> None:
        if numbers[column] >= 0:
            program.extend([(EQUAL, 0, len(body), numbers[column]), *body])

    answers = ((REFUSED, REFUSE), (WITHOUT_EFFECT, IGNORE), (UNREADABLE, UNKNOWN))
    for table, answer in answers:
        for numbers in table.values():
            on(numbers, (RETURN, 0, 0, answer))
    on(CLONE, (LOAD, 0, 0, ARGUMENT[0]), (ANY_BIT, 1, 0, CLONE_THREAD), refuse, allow)
    for numbers in TO_A_PROCESS.values():
        on(numbers, (LOAD, 0, 0, ARGUMENT[0]), (EQUAL, 1, 0, os.getpid()), refuse, allow)
    low, high = ARGUMENT[2], ARGUMENT[2] + 4  # a pointer, null where a limit is only read
    is_null = ((LOAD, 0, 0, low), (EQUAL, 0, 2, 0), (LOAD, 0, 0, high), (EQUAL, 1, 0, 0))
    on(PRLIMIT, *is_null, refuse, allow)
    for *columns, place in TO_A_DESCRIPTOR.values():
        tests = [(EQUAL, len(descriptors) - i, 0, number) for i, number in enumerate(descriptors)]
        on(columns, (LOAD, 0, 0, ARGUMENT[place]), *tests, allow, refuse)
    return [*program, allow]


LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 444, 445, 446
WRITING = 0b1_1111_1111_0011  # execute, write, remove, make; reading stays allowed
MOVING, TRUNCATING = 1 << 13, 1 << 14  # known to the second and third version
WRITE_FILE = 1 << 1
SOCKETS_AND_SIGNALS = 0b11  # of other processes; known to the sixth


def restrict_writing(folder: str) -> bool:
    """Allow making, changing and removing files only under ``folder``, by Linux's Landlock.

    Writing to ``/dev/null`` is still allowed.
    """
    if _machine() is None:
        return False
    call, number, none = _library().syscall, ctypes.c_long, ctypes.c_uint(0)
    version = call(number(LANDLOCK_CREATE), None, ctypes.c_size_t(0), ctypes.c_uint(1))
    if version < 1:
        return False
    handled = WRITING | (MOVING if version >= 2 else 0) | (TRUNCATING if version >= 3 else 0)
    attribute = struct.pack("=Q", handled)
    if version >= 6:
        attribute += struct.pack("=QQ", 0, SOCKETS_AND_SIGNALS)
    rules = call(number(LANDLOCK_CREATE), attribute, ctypes.c_size_t(len(attribute)), none)
    if rules < 0:
        return False
    try:
        _allow(rules, folder, handled)
        _allow(rules, os.devnull, WRITE_FILE | (handled & TRUNCATING))
        return bool(call(number(LANDLOCK_RESTRICT), ctypes.c_int(rules), none) == 0)
    finally:
        os.close(rules)


def _allow(rules: int, path: str, access: int) -> None:
    place = os.open(path, os.O_PATH)
    try:
        beneath = struct.pack("=Qi", access, place)
        number = ctypes.c_long(LANDLOCK_ADD)
        _library().syscall(number, ctypes.c_int(rules), ctypes.c_int(1), beneath, ctypes.c_uint(0))
    finally:
        os.close(place)
