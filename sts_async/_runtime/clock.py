"""The clocks of this host, which a client takes unless a test gives it others."""

import asyncio
import time as _time


class SystemClock:
    """The clocks of this host."""

    time = staticmethod(_time.time)
    monotonic = staticmethod(_time.monotonic)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)
