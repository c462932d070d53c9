"""The dashboard, filled by a real load of this machine: python -m benchmarks.dashboard [IMAGE]

A server with a short queue and a gateway with two keys serve more and more callers, then too many, then few; some make
mistakes, some leave early, some are in a hurry. A real Prometheus watches, and its answers to the dashboard's own
queries are drawn as Grafana would, which does not run here.
"""

import contextlib
import random
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import httpx2
import typer
from triton_diffusion import Client, DiffusionError
from triton_diffusion.gateway import new_key

from benchmarks.drawing import draw
from tests.support.launching import ALL_CORES, gateway, launch, wait_until_ready
from tests.support.prometheus import prometheus

PHASES = ((40, 1), (50, 6), (50, 48), (60, 12), (40, 2))  # seconds, callers
STEPS = (10, 20, 20, 20, 50)
PROMPTS = ("a small red circle on a blue background", "a large white triangle on the left of a green background")


class Callers:
    """So many callers at once, each with one request after another, half of them by way of the gateway."""

    def __init__(self, server: str, gateway: str, keys: list[str]) -> None:
        self._client = Client(server, retries=0)
        self._gateway = httpx2.Client(base_url=gateway, timeout=120)
        self._keys = keys
        self._wanted = 0
        self._threads: list[threading.Thread] = []

    def become(self, wanted: int) -> None:
        """Let there be `wanted` callers; those too many end with their request."""
        self._wanted = wanted
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        for number in range(len(self._threads), wanted):
            thread = threading.Thread(target=self._ask, args=(number,))
            thread.start()
            self._threads.append(thread)

    def end(self) -> None:
        self._wanted = 0
        for thread in self._threads:
            thread.join()
        self._client.close()
        self._gateway.close()

    def _ask(self, number: int) -> None:
        chance = random.Random(number)
        key = self._keys[number // 2 % len(self._keys)]
        while number < self._wanted:
            prompt, steps = chance.choice(PROMPTS), chance.choice(STEPS)
            if number % 2 == 0:
                body = {"prompt": prompt, "steps": steps if chance.random() > 0.05 else 0}
                headers = {"authorization": f"Bearer {key}"}
                answer = self._gateway.post("/v1/images/generations", json=body, headers=headers)
                failed = answer.status_code != 200
            else:
                failed = not self._stream(prompt, steps, chance)
            if failed:
                time.sleep(chance.uniform(0.2, 1))

    def _stream(self, prompt: str, steps: int, chance: random.Random) -> bool:
        """Ask the server itself; whether there is an image, or the caller has left."""
        timeout = 4.0 if chance.random() < 0.2 else None
        events = self._client.stream(prompt, num_inference_steps=steps, timeout=timeout)
        leaves = chance.random() < 0.05
        with contextlib.suppress(DiffusionError), contextlib.closing(events):
            for count, _ in enumerate(events):
                if leaves and count == 5:
                    break
            return True
        return False


@contextlib.contextmanager
def served(repository: Path) -> Iterator[tuple[Callers, dict[str, str]]]:
    """Callers of a server and a gateway, and what Prometheus is to watch."""
    launcher = launch(repository, ALL_CORES, "--max-queue=16")
    try:
        server = wait_until_ready(launcher)
        with tempfile.TemporaryDirectory() as folder:
            keys = {name: new_key(name) for name in ("alice", "bob")}
            Path(folder, "keys").write_text("".join(line for _, line in keys.values()))
            options = ["--url", server.grpc_url, "--keys", f"{folder}/keys", "--concurrency=64", "--retries=1"]
            with Path(folder, "log").open("w") as log, gateway(*options, log=log) as (address, _):
                callers = Callers(server.grpc_url, address, [key for key, _ in keys.values()])
                yield (
                    callers,
                    {
                        "triton-diffusion-server": server.metrics_url,
                        "triton-diffusion-gateway": address.removeprefix("http://"),
                    },
                )
    finally:
        launcher.terminate()
        launcher.wait()


def main(
    image: Annotated[Path, typer.Argument(help="PNG to write.")] = Path("docs/dashboard.png"),
    repository: Path = Path("model_repository"),
) -> None:
    """Draw the dashboard as it looks under load."""
    with served(repository) as (callers, targets), prometheus(targets) as watching:
        start = time.time()  # noqa: TID251 (a date)
        for seconds, count in PHASES:
            print(f"{count} callers for {seconds} s", flush=True)
            callers.become(count)
            time.sleep(seconds)
        callers.end()
        draw(watching, start, time.time(), image)  # noqa: TID251 (a date)
    print(image)


if __name__ == "__main__":
    typer.run(main)
