"""`python -m gateway`: one gateway, until SIGTERM."""

import asyncio
import gc
import signal
import sys

import structlog
import uvloop

from gateway.server import running
from gateway.settings import BadSettings, Settings

SWITCH_S = 0.0005
# Requests leave few cycles behind: collecting as often as Python does costs a tenth of the time.
COLLECT = (20_000, 20, 20)


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
    # The threads that keep and send events hold the loop up for no longer than this.
    sys.setswitchinterval(SWITCH_S)
    gc.freeze()
    gc.set_threshold(*COLLECT)
    uvloop.run(work(settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
