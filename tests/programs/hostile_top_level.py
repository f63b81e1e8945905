while True: pass
input('name? ')
import sys
sys.exit(3)
open('gone', 'w').write('x')
bytearray(20 * 10**9)
