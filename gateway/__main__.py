"""`python -m gateway`: one gateway, until SIGTERM."""

import asyncio
import signal
import sys

import structlog
import uvloop

from gateway.server import running
from gateway.settings import BadSettings, Settings


async def work(settings: Settings) -> None:
    over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, over.set)
    async with running(settings) as gateway:
        stopped = asyncio.create_task(over.wait())
        await asyncio.wait({stopped, gateway.line}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if gateway.line.done():
            gateway.line.result()


def main() -> int:
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ]
    )
    try:
        settings = Settings.read()
    except BadSettings as error:
        print(f"gateway: {error}", file=sys.stderr)
        return 2
    uvloop.run(work(settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
