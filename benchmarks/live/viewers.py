"""Viewers of the live page without a browser: how old is what they see, though one of them stalls?

A process of its own, so that their work is not the page's:
``python -m benchmarks.live.viewers 127.0.0.1:8080``
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import time
from typing import Any

import websockets.asyncio.client

TAKEN = '{"type": "taken"}'


async def look(
    address: str, view: dict[str, Any], until: float, most: int | None = None
) -> list[dict[str, float]]:
    """Watch until this ``time.monotonic()`` or ``most`` pictures: number, age and time of each."""
    seen: list[dict[str, float]] = []
    async with websockets.asyncio.client.connect(f"ws://{address}/live", max_size=None) as socket:
        await socket.send(json.dumps({"type": "view", "view": view}))
        while (left := until - time.monotonic()) > 0 and len(seen) != most:
            try:
                message = await asyncio.wait_for(socket.recv(), left)
            except asyncio.TimeoutError:
                break
            if isinstance(message, str):
                continue
            now_ms = time.time_ns() / 1e6
            header = json.loads(message[4 : 4 + int.from_bytes(message[:4], "big")])
            await socket.send(TAKEN)
            if header["utc_ms"] is not None:
                seen.append({"index": header["index"], "age": now_ms - header["utc_ms"], "at": now_ms})
    return seen


async def stall(address: str, until: float) -> None:
    """Ask for pictures, never read one, and claim all the time to have seen them."""
    host, port = address.rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port), limit=1)
    del reader
    key = base64.b64encode(os.urandom(16)).decode()
    writer.write(
        f"GET /live HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
    )
    raw = TAKEN.encode()
    frame = bytes([0x81, 0x80 | len(raw), 0, 0, 0, 0]) + raw  # a mask of zeros
    while time.monotonic() < until and not writer.is_closing():
        writer.write(frame)
        await asyncio.sleep(0.05)
    writer.transport.abort()


async def crowd(address: str, viewers: int, stalled: int, seconds: float) -> list[list[dict[str, float]]]:
    """What each viewer saw, the stalled ones left out."""
    until = time.monotonic() + seconds
    idle = [asyncio.create_task(stall(address, until)) for _ in range(stalled)]
    seen = await asyncio.gather(*(look(address, {"kind": "fused"}, until) for _ in range(viewers - stalled)))
    await asyncio.gather(*idle, return_exceptions=True)
    return list(seen)


def main() -> None:
    """Watch, and print what was seen as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("--viewers", type=int, default=10)
    parser.add_argument("--stalled", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=10)
    args = parser.parse_args()
    print(json.dumps(asyncio.run(crowd(args.address, args.viewers, args.stalled, args.seconds))))


if __name__ == "__main__":
    main()
