import colorsys, json, os, pathlib, platform, shutil, tempfile, threading, wsgiref.headers
with tempfile.TemporaryDirectory() as folder:
    pathlib.Path(folder, 'a').mkdir()
    pathlib.Path(folder, 'a', 'b').write_text('x')
    os.symlink('/etc', folder + '/link')
os.makedirs('out/deep', exist_ok=True)
os.makedirs('/tmp', exist_ok=True)
os.rename('out/deep', 'out/there')
shutil.copy('/etc/hostname', 'out/copy')
shutil.rmtree('out')
open(os.devnull, 'w').write('x')
open('/proc/self/status').read()
platform.node()
found = []
thread = threading.Thread(target=found.append, args=(1,))
thread.start(); thread.join()
answer = found + os.listdir()
