"""A program on the phone's PATH: hands its name and arguments to the phone, and says what the phone answers.

It runs by itself, under whatever name it was called by. It imports next to nothing, for a shell starts many of it.

    said      the length of what follows, a line end; the arguments with a zero byte between them
    answered  exit code, length of stdout, length of stderr, a line end; both outputs
"""

import os
import sys
from _socket import AF_INET, SOCK_STREAM, socket


def main() -> int:
    name = sys.argv[0].rpartition("/")[2]
    said = b"\0".join(map(os.fsencode, [name, *sys.argv[1:]]))
    line = socket(AF_INET, SOCK_STREAM)
    line.connect(("127.0.0.1", int(os.environ["PHONE"])))
    line.send(b"%d\n" % len(said) + said)
    answer = b""
    while piece := line.recv(1 << 20):
        answer += piece
    head, _, outputs = answer.partition(b"\n")
    code, stdout, stderr = map(int, head.split())
    sys.stdout.buffer.write(outputs[:stdout])
    sys.stderr.buffer.write(outputs[stdout : stdout + stderr])
    return code


if __name__ == "__main__":
    sys.exit(main())
