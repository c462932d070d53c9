"""The client."""

import time
from collections.abc import Generator, Sequence
from contextlib import closing, suppress
from typing import Self, TypeVar, Unpack

from PIL.Image import Image

from ._attempts import Server, Servers
from ._checkpoint import DESCRIBE_TIMEOUT, MODELS, Checkpoint
from ._deadline import Deadline
from ._errors import DeadlineExceeded, DiffusionError
from ._events import Completed, Event
from ._metadata import settings_used
from ._request import Request, Value, new_request
from ._response import Answer, Model, images_of, no_image, progress_events
from ._settings import Settings, StreamSettings, takes
from ._transports.address import ProtocolName
from ._transports.factory import transports
from ._transports.mock import MockTransport
from ._transports.shared_memory import SharedMemory
from ._transports.tls import Tls
from ._transports.transport import CHECKPOINT, READY, VERSION, Question, Transport, check_streaming

T = TypeVar("T")


class Client:
    """Client of a Triton Diffusion server, for threads.

    url: "host:port"; several for servers with the same models, of which each call goes to the one with the least to do
    and, if one is lost, to another. A scheme says the protocol too: "grpc://", "grpcs://" (TLS), "http://", "https://".
    HTTP takes a base path behind the port, gRPC any of its own target names ("dns:///host:8001"). By default localhost,
    on Triton's own port.
    protocol: "grpc", the default, or "http" if only that gets through: it has no `stream`.
    retries: tries after the first, if a server is not there, is lost or is overloaded; 0 for none. Between the tries it
    waits 0.25, 0.5, 1, 2, 4, 8, 8, ... seconds (each by up to a half less, by chance), as long as an overloaded server
    asks for (and by up to a half more), or not at all while another server is up. Where a server is gone that this
    client has reached before, it asks on for 20 seconds, in which the server starts again; not with 0.
    shared_memory: "system" for images of `text_to_image` to come through memory shared with a server on this host,
    "cuda" for memory of its first GPU (needs tritonclient[cuda]); gRPC only. It pays for large images. If the server
    refuses, a warning says so and the images come over the connection.
    tls: certificates for servers with TLS, a `Tls`; without it a server must have one that this machine trusts.
    transport: in place of url and protocol, a `MockTransport` for tests.

    Nothing is sent before the first call. One client serves many threads. It is a context manager; `close` ends its
    connections and with them, on gRPC, every call that still runs.

    Settings of a call that are not given are not sent, and the server fills in its defaults. It also decides what is
    allowed: `checkpoint` has defaults, limits, and the names of samplers. Every call takes, beside its settings,

    - timeout: seconds for the whole call, every try included; None waits as long as the server takes,
      over HTTP up to 600 seconds without a byte
    - request_id: names the call in the logs of the server and in errors: up to 128 ASCII letters, digits and
      _ . : @ + = / -. Without one the client draws it, as it draws a seed that is not given.

    Every call raises InvalidRequest, ServerUnavailable, DeadlineExceeded or GenerationFailed. A call that is tried
    again keeps its seed, so it gives the same images; the logger "triton_diffusion" tells of it at level INFO.
    """

    def __init__(
        self,
        url: str | Sequence[str] | None = None,
        protocol: ProtocolName | None = None,
        *,
        retries: int = 3,
        shared_memory: SharedMemory | None = None,
        tls: Tls | None = None,
        transport: MockTransport | None = None,
    ) -> None:
        self._shares_memory = shared_memory is not None
        self._servers: Servers[Transport] = Servers(
            [transport] if transport else transports(url, protocol, shared_memory, tls), retries
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def streams(self) -> bool:
        """True if `stream` can be called: over gRPC."""
        return self._servers.all[0].transport.streams

    def close(self) -> None:
        """Ends the connections; the client takes no further calls."""
        self._servers.closed = True
        for server in self._servers.all:
            server.transport.close()

    @takes(Settings)
    def text_to_image(
        self,
        prompt: str,
        *,
        timeout: float | None = None,
        request_id: str | None = None,
        **settings: Unpack[Settings],
    ) -> list[Image]:
        """Makes the images and returns them: `num_images` RGB images of `width` x `height`.

        `image.info` holds all that makes the image again: its own `seed`, its size and the settings, under the names
        of the arguments, and `model` and `model_version`; `save_png` writes them into the file.

        When `timeout` has passed, or Ctrl-C ends the call, the server stops the work within one step. The settings,
        beside `prompt`, text of what the images show:
        """
        request = new_request("text_to_image", {"prompt": prompt, **settings}, request_id)
        attempts = self._servers.attempts(timeout)
        while True:
            with attempts.next() as server:
                size = self._size(request, server, attempts.deadline)
                answer = server.transport.infer(request, attempts.deadline, size)
                return images_of(answer.outputs, self._settings(request, answer, server, attempts.deadline))
            time.sleep(attempts.pause)

    @takes(StreamSettings)
    def stream(
        self,
        prompt: str,
        *,
        timeout: float | None = None,
        request_id: str | None = None,
        **settings: Unpack[StreamSettings],
    ) -> Generator[Event]:
        """Makes the images and yields events: `Queued` while the request waits for room, `Progress` every step,
        `Preview` every `preview_interval` steps (none by default), and `Completed` with the images at the end. gRPC
        only.

        The request is sent when the first event is asked for. Closing the iterator (`close()`, leaving the function
        that holds it, an exception) cancels the request, and the server stops within one step. If the call is tried
        again the events start over.

        A wrong argument is refused here; every other error is raised by the iterator. The time that the caller takes
        between events counts towards `timeout`, which starts with the first of them. The settings, beside `prompt`:
        """
        request = new_request("diffusion", {"prompt": prompt, **settings}, request_id)
        check_streaming(self._servers.all[0].transport)
        Deadline(timeout)  # refuses a wrong one
        return self._events(request, timeout)

    def is_ready(self, timeout: float = 5.0) -> bool:
        """True if a server is there and all its models are loaded."""
        deadline = self._servers.attempts(timeout).deadline
        for server in self._servers.all:
            with suppress(DiffusionError):
                if server.transport.ask(READY, deadline):
                    return True
        return False

    def models(self, timeout: float | None = None) -> list[Model]:
        """The models that make an image, and the readiness of each: `diffusion`, `text_to_image`, and the networks that
        the server describes; those that `diffusion` has opened itself are ready when it is. A server that does not
        describe itself shows the first two."""
        attempts = self._servers.attempts(timeout)
        while True:
            with attempts.next() as server:
                server.transport.ask(VERSION, attempts.deadline)  # raises where nobody is there
                checkpoint = self._checkpoint(server, attempts.deadline)
                names = MODELS if checkpoint is None else checkpoint.models
                models = [self._model(name, server, attempts.deadline) for name in names]
                return models if checkpoint is None else [*models, *checkpoint.networks_in(models[0])]
            time.sleep(attempts.pause)

    def checkpoint(self, timeout: float | None = None) -> Checkpoint | None:
        """The server's description of itself: checkpoint, sizes, defaults, samplers, limits. None from a server without
        one."""
        return self._ask(CHECKPOINT, timeout)

    def _ask(self, question: Question[T], timeout: float | None) -> T:
        attempts = self._servers.attempts(timeout)
        while True:
            with attempts.next() as server:
                return server.transport.ask(question, attempts.deadline)
            time.sleep(attempts.pause)

    def _model(self, name: str, server: Server[Transport], deadline: Deadline) -> Model:
        try:
            return server.transport.model(name, deadline)
        except DeadlineExceeded:
            raise
        except DiffusionError as error:
            return Model(name, "", ready=False, reason=str(error))

    def _events(self, request: Request, timeout: float | None) -> Generator[Event]:
        attempts = self._servers.attempts(timeout)
        while True:
            with attempts.next() as server:
                with closing(server.transport.stream(request, attempts.deadline)) as answers:
                    for answer in answers:
                        if "image" in answer.outputs:
                            for _ in answers:  # to the end of the call, so that leaving now cancels nothing
                                pass
                            settings = self._settings(request, answer, server, attempts.deadline)
                            yield Completed(images_of(answer.outputs, settings))
                            return
                        yield from progress_events(answer.outputs)
                raise no_image()
            time.sleep(attempts.pause)

    def _settings(
        self, request: Request, answer: Answer, server: Server[Transport], deadline: Deadline
    ) -> dict[str, Value]:
        return settings_used(request, self._checkpoint(server, deadline), answer)

    def _size(self, request: Request, server: Server[Transport], deadline: Deadline) -> int | None:
        """Bytes of the images, if they are to come through shared memory."""
        checkpoint = self._checkpoint(server, deadline) if self._shares_memory else None
        return None if checkpoint is None else checkpoint.image_bytes(request.fields)

    def _checkpoint(self, server: Server[Transport], deadline: Deadline) -> Checkpoint | None:
        if server.checkpoint is None:
            with suppress(DiffusionError):  # an image is worth more than what is written into it
                limit = deadline.no_later_than(DESCRIBE_TIMEOUT)
                server.checkpoint = server.transport.ask(CHECKPOINT, limit)
        return server.checkpoint
