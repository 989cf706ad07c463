"""The command line in a process with a terminal of its own."""

import asyncio
import fcntl
import os
import pty
import sys
import termios


def environ(**more: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "AWS_EC2_METADATA_DISABLED": "true", **more}


class Terminal:
    """The command on a terminal of its own, which is not its standard input."""

    def __init__(self) -> None:
        self.ours, self.its = pty.openpty()
        self.shown = b""

    async def start(self, *arguments: str, shows_output: bool = False, **more: str) -> None:
        """Start the command; with *shows_output*, its output and errors go to the terminal, not to pipes."""

        def take() -> None:
            fcntl.ioctl(self.its, termios.TIOCSCTTY, 0)

        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "error", "-m", "sts_async", *arguments),
            env=environ(**more),
            start_new_session=True,
            preexec_fn=take,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=self.its if shows_output else asyncio.subprocess.PIPE,
            stderr=self.its if shows_output else asyncio.subprocess.PIPE,
        )

    async def until(self, text: bytes) -> None:
        """Wait until the terminal shows *text*."""
        while text not in self.shown:
            self.shown += await asyncio.to_thread(os.read, self.ours, 1024)

    def type(self, text: bytes) -> None:
        os.write(self.ours, text)

    def echoes(self) -> bool:
        return bool(termios.tcgetattr(self.its)[3] & termios.ECHO)

    async def end(self) -> tuple[int | None, str, str]:
        out, err = await self.process.communicate()
        return self.process.returncode, (out or b"").decode(), (err or b"").decode()

    def close(self) -> None:
        os.close(self.ours)
        os.close(self.its)
