import colorsys, os, sys
answer = ['MY_SECRET' in os.environ, sys.stdin.read(), os.listdir(), sys.flags.isolated, os.getsid(0) == os.getpid(),
          [int(n) for n in os.listdir('/proc/self/fd')] if os.path.exists('/proc/self/fd') else []]
