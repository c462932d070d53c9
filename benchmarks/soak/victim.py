"""A client that is to be killed: python -m benchmarks.soak.victim PROTOCOL URL; it says when its request is inside."""

import itertools
import sys
import threading

from triton_diffusion import Client

from benchmarks.soak.kinds import KILLED_STEPS, PROMPT


def main() -> None:
    protocol, url = sys.argv[1:]
    with Client(url, protocol, retries=0) as client:  # type: ignore[arg-type]
        client.checkpoint()
        if protocol == "http":  # Triton does not notice that this one is gone: the request runs to its end
            threading.Timer(0.1, print, ["inside"], {"flush": True}).start()
            client.text_to_image(PROMPT, num_inference_steps=KILLED_STEPS)
        for _ in itertools.islice(client.stream(PROMPT, num_inference_steps=1000), 1, None):
            print("inside", flush=True)


if __name__ == "__main__":
    main()
