"""Run a stranger's program in a child process that first gives up the means to do harm."""
