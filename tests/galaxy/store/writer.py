"""A process that records events in a folder and says each number once it is recorded, until it is killed."""

import asyncio
import sys
from itertools import count

from galaxy.store import open_store
from tests.galaxy.store.facts import batch, row


async def main(folder: str, durability: str) -> None:
    assert durability in ("power", "process")
    store = await open_store(folder, durability)
    for seq in count(1, 3):
        await store.append(batch(*(row(seq + n) for n in range(3))))
        sys.stdout.write(f"{seq + 2}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
