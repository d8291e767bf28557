"""Engines that answer with their own port. Called with the ports; a request's header x-hold delays the answer.

A port given as PORT=SECONDS delays every answer."""
import asyncio
import sys


delays = {port: float(delay or 0) for port, _, delay in (word.partition("=") for word in sys.argv[1:])}


async def serve(reader, writer):
    port = str(writer.get_extra_info("sockname")[1]).encode()
    try:
        while True:
            length, hold = 0, delays[port.decode()]
            for line in (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n"):
                if line.startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
                if line.startswith(b"x-hold:"):
                    hold = float(line.split(b":")[1])
            await reader.readexactly(length)
            await asyncio.sleep(hold)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(port), port))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def main():
    servers = [await asyncio.start_server(serve, "127.0.0.1", int(port)) for port in delays]
    print("ready", flush=True)
    await asyncio.gather(*(server.serve_forever() for server in servers))


asyncio.run(main())
