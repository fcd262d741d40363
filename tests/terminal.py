"""A terminal for tests: runs a command on a pseudo-terminal and keeps what stood on its screen each time the command paused."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
from dataclasses import dataclass

import pyte

QUIET = 0.15  # seconds without output after which the screen is looked at


@dataclass
class Shown:
    """What a user saw: the screen at every pause, and in the end all lines with those that had moved off its top."""

    status: int
    screens: list[list[str]]
    lines: list[str]


def show(line: list[str], columns: int = 100, rows: int = 30, **options: object) -> Shown:
    """Run a command on a terminal of this size, until it ends."""
    reader, writer = pty.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    screen = pyte.HistoryScreen(columns, rows, history=10_000)
    stream = pyte.ByteStream(screen)
    running = subprocess.Popen(line, stdin=writer, stdout=writer, stderr=writer, start_new_session=True, **options)
    os.close(writer)
    screens: list[list[str]] = []
    changed = False
    while True:
        if not select.select([reader], [], [], QUIET)[0]:
            if changed:
                screens.append([text.rstrip() for text in screen.display])
            changed = False
            continue
        try:
            read = os.read(reader, 65536)
        except OSError:  # the other end was closed
            break
        if not read:
            break
        stream.feed(read)
        changed = True
    os.close(reader)
    above = ["".join(row[column].data for column in range(columns)).rstrip() for row in screen.history.top]
    lines = [*above, *(text.rstrip() for text in screen.display)]
    while lines and not lines[-1]:
        lines.pop()
    return Shown(running.wait(timeout=60), screens, lines)
