"""
asyncio and the operating system: shared tasks, semaphores, deadlines, threads, processes, files and forks.

Nothing here knows STS, AWS or aiohttp.
"""
