import os
def writes(number):
    try: return os.write(number, b' ')
    except OSError: return 0
there = [number for number in range(3, 1_100) if writes(number)]
while True:
    for number in there: os.write(number, bytes(2**16))
