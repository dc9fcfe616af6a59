"""The fake service in a process of its own: `python -m tests.caption.hosted.fake_gemini` prints its port."""

import argparse
import asyncio

from tests.caption.hosted.fake_gemini.faults import FaultPlan
from tests.caption.hosted.fake_gemini.server import FakeGemini


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--fault-rate", type=float, default=0.0)
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--max-per-s", type=float, default=2000.0)
    options = parser.parse_args()
    fake = FakeGemini()
    settings = fake.state.settings
    settings.plan, settings.latency_s = FaultPlan(rate=options.fault_rate), options.latency
    settings.max_per_s = options.max_per_s
    server, port = await fake.start()
    print(port, flush=True)
    await server.serve_forever()


asyncio.run(main())
