"""Rate limits as the service counts them: the busiest window, and the share of the limit that is used.

    python -m benchmarks.caption.rate_limit                          # windows of 6 s instead of a minute
    python -m benchmarks.caption.rate_limit --window 60 --seconds 180

`--window` replaces the minute of all limits. Requests are really sent, and the service counts them on arrival.
"""

import argparse
import asyncio
import time

from sg.caption.hosted.engine.pacing import EDGE_S, Pacer
from sg.caption.hosted.services.gemini import Gemini
from sg.caption.hosted.services.records import Request, RequestMedia
from sg.caption.hosted.services.secrets import Secret
from tests.caption.hosted.builder import KEY
from tests.caption.hosted.fake_gemini.running import in_thread
from tests.caption.hosted.fake_gemini.state import State, busiest_window


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--window", type=float, default=6.0)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rpm", type=float, default=150.0)
    parser.add_argument("--tpm", type=float, default=1250.0 * 120)
    options = parser.parse_args()
    for name, rpm, tpm in (("requests", options.rpm, None), ("tokens", None, options.tpm)):
        state = State()
        with in_thread(state) as url:
            asyncio.run(send(url, rpm, tpm, options.window, options.seconds))
        requests, tokens = busiest_window(state.arrivals, options.window)
        used, limit = (requests, rpm) if name == "requests" else (tokens, tpm)
        assert limit is not None
        whole = int(options.seconds // options.window) * options.window
        first = state.arrivals[0][0]
        inside = [amount for when, amount in state.arrivals if when < first + whole]
        mean = (len(inside) if name == "requests" else sum(inside)) / (whole / options.window)
        print(f"{name:<9} limit {limit:,.0f}, busiest window {used:,.0f}, mean window {mean:,.0f} ({mean / limit:.1%})")


async def send(url: str, rpm: float | None, tpm: float | None, window: float, seconds: float) -> None:
    pacer = Pacer(rpm=rpm, tpm=tpm, usd_per_10_min=None, minute_s=window, edge_s=EDGE_S)
    service = Gemini(Secret(KEY), base_url=url, api_version="v1beta", timeout_s=30)
    until = time.monotonic() + seconds

    async def client(number: int) -> None:
        made = Request("m", "s", "u", RequestMedia("video/mp4", b"clip:%d;" % number), {})
        while time.monotonic() < until:
            place = await pacer.leave(1250, 0)
            if time.monotonic() < until:
                await service.generate(made)
                place.settle(1250, 0)

    await asyncio.gather(*(client(number) for number in range(16)))
    await service.close()


if __name__ == "__main__":
    main()
