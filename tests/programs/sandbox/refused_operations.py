answer = []
def attempt(act):
    try: act()
    except PermissionError as error: answer.append(str(error))
import os, socket, sqlite3
attempt(lambda: socket.create_connection(('127.0.0.1', 9)))
for path in (outside + '/x', '../x'):
    attempt(lambda: open(path, 'w'))
    attempt(lambda: os.open(path, os.O_CREAT | os.O_WRONLY))
    attempt(lambda: os.mkdir(path))
    attempt(lambda: os.symlink('/etc', path))
    attempt(lambda: sqlite3.connect(path))
attempt(lambda: os.rmdir(outside))
attempt(lambda: os.rename(outside, 'mine'))
os.symlink(outside, 'way_out')
attempt(lambda: open('way_out/x', 'w'))
