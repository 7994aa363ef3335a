#!/usr/bin/env python3
"""What permessage-deflate would save and cost on frames like ours: size and time per frame, by zlib itself.

    python3 benches/realtime/deflate.py
"""
import json
import random
import time
import uuid
import zlib

FRAMES = 20_000


def frames(chance):
    """Three progress frames, then a durable one."""
    project, job = str(uuid.uuid4()), str(uuid.uuid4())
    for number in range(FRAMES):
        ts = 1767225600123 + number * 37
        if number % 4 == 3:
            data = {"state": chance.choice(["auto", "review"]), "probability": round(chance.random(), 4)}
            entity = str(uuid.UUID(int=chance.getrandbits(128)))
            body = {"ep": "k3f9", "off": 1850 + number, "ts": ts, "DataUpdate": {
                "project_id": project, "entity": "match", "entity_id": entity, "action": "updated", "data": data}}
        else:
            body = {"ts": ts, "JobProgressUpdate": {
                "project_id": project, "job_id": job, "state": "scoring", "phase": "scoring", "done": number * 1009,
                "total": 100000, "matches": number * 337, "rows_per_second": round(chance.random() * 9e4, 1),
                "eta_seconds": round(chance.random() * 60, 1), "terminal": False}}
        yield json.dumps(body, separators=(",", ":")).encode()


def main():
    sent = list(frames(random.Random(1)))
    size = sum(map(len, sent))
    print(f"{FRAMES} frames of {size / FRAMES:.0f} bytes")
    for name, level, window, keep in [
        ("context of 32 KiB, level 1", 1, 15, True),
        ("context of 32 KiB, level 6", 6, 15, True),
        ("context of 1 KiB, level 6", 6, 10, True),
        ("no context, level 1", 1, 15, False),
    ]:
        begun, packed = time.process_time(), 0
        deflate = zlib.compressobj(level, zlib.DEFLATED, -window)
        for frame in sent:
            if not keep:
                deflate = zlib.compressobj(level, zlib.DEFLATED, -window)
            # RFC 7692 cuts the four bytes that end a flush.
            packed += len(deflate.compress(frame) + deflate.flush(zlib.Z_SYNC_FLUSH)) - 4
        spent = (time.process_time() - begun) / FRAMES * 1e6
        print(f"{name:28} {packed / size:.2f} of the size, {spent:.1f} us a frame")


if __name__ == "__main__":
    main()
