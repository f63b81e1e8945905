import os
os.closerange(0, 65_536)
for number in range(2_000):
    try: os.close(number)
    except OSError: pass
answer = 'still here'
