import importlib, shutil, sys
import _queue  # a module of Python's own that is a compiled file
shutil.copyfile(_queue.__file__, '_queue.so')
del sys.modules['_queue']
sys.path.insert(0, '.')
importlib.invalidate_caches()
import _queue
