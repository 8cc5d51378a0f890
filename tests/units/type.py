"""Types at a terminal of its own: `type.py COMMAND… < DIALOGUE`, a JSON list of [question, answer].

Runs the command, waits for each question and types the answer and Enter. Prints as JSON what the terminal showed, the exit code, and
whether the terminal showed what is typed ("echo") before the first question, between the questions, and after the end. An answer of
null is the passphrase in words that was shown last.
"""

import json
import os
import pty
import re
import select
import sys
import termios
import time


def echo(terminal):
    return bool(termios.tcgetattr(terminal)[3] & termios.ECHO)


def main():
    dialogue = json.load(sys.stdin)
    # The terminal stays open here, so that it can be looked at when the command has ended.
    control, terminal = pty.openpty()
    child = os.fork()
    if child == 0:
        os.setsid()
        os.close(control)
        # The first terminal that a session opens is its own.
        own = os.open(os.ttyname(terminal), os.O_RDWR)
        for number in range(3):
            os.dup2(own, number)
        os.execvp(sys.argv[1], sys.argv[1:])
    before, between, shown, seen = echo(terminal), [], b"", 0

    def more():
        nonlocal shown
        ready, _, _ = select.select([control], [], [], 0.05)
        if ready:
            shown += os.read(control, 4096)
        return bool(ready)

    patience = time.monotonic() + 60
    for question, answer in dialogue:
        while question.encode() not in shown[seen:]:
            more()
            if time.monotonic() > patience:
                sys.exit(f"no question {question!r}: {shown.decode()}")
        seen = shown.index(question.encode(), seen) + len(question)
        between.append(echo(terminal))
        if answer is None:
            answer = re.findall(rb"\n    ([a-z-]+)\r", shown)[-1].decode()
        os.write(control, answer.encode() + b"\n")
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        more()
        between.append(echo(terminal))
        if time.monotonic() > patience:
            sys.exit(f"does not end: {shown.decode()}")
    while more():
        pass
    after = echo(terminal)
    # Between the last answer and the end the program gives the terminal back.
    between = between[: len(dialogue)]
    json.dump({"shown": shown.decode(), "code": os.waitstatus_to_exitcode(status), "before": before, "between": between, "after": after}, sys.stdout)


main()
