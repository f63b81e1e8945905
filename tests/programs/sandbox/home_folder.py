import os, pathlib, pwd
(pathlib.Path.home() / 'mine.txt').write_text('kept as long as I run')
answer = [os.environ['HOME'], os.environ['TMPDIR'], os.getcwd(), pwd.getpwuid(os.getuid()).pw_dir, os.listdir()]
open(answer[3] + '/.aevb-check-test', 'w')
