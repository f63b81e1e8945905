import os, signal
answer = []
for act in (os.setsid, lambda: os.setpgid(0, 0), lambda: os.memfd_create('x'), lambda: signal.pidfd_send_signal(0, 0),
            lambda: os.pidfd_open(os.getppid()), lambda: os.fchown(0, 0, 0),
            lambda: os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))):
    try: answer.append(repr(act()))
    except PermissionError: pass
