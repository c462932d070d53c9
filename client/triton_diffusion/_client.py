"""The client."""

from collections.abc import Generator
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self, TypeAlias

from PIL.Image import Image

from ._errors import InvalidRequest
from ._events import Event
from ._request import checked, tensors
from ._response import events, pictures

if TYPE_CHECKING:
    from ._grpc import GrpcTransport
    from ._http import HttpTransport

Protocol: TypeAlias = Literal["grpc", "http"]


class Client:
    """Asks a Triton Diffusion server for pictures.

    url: "host:port" without a scheme; Triton's own ports are 8001 for gRPC and 8000 for HTTP. HTTP takes a base path
    behind the port, gRPC any of its own target names ("dns:///host:8001").
    protocol: "grpc", or "http" where only that gets through: it has no `stream`, and cancels nothing on the server.

    Nothing is sent before the first call. One client serves many threads. It is a context manager; `close` ends its
    connections and with them, on gRPC, every call that still runs.

    Arguments that are not given are not sent, and the server fills in its defaults. It also decides what is allowed:

    - prompt, negative_prompt: text of at most 4096 bytes in UTF-8
    - num_images: pictures to make, 1..8; picture k uses seed+k
    - height, width: pixels
    - num_inference_steps: 1..1000; fewer is faster
    - guidance_scale: 0..50, how strictly to follow the prompt; 1.0 or less turns guidance off and halves the work
    - sampler: "ddpm", "ddim", "dpmpp_2m" or "dpmpp_2m_sde"
    - timestep_spacing: "leading", "trailing", "linspace" or "karras"
    - eta: 0..1, the noise that the sampler "ddim" adds
    - seed: 0 or more; the same seed and settings make the same picture. Without one the server draws it.
    - timeout: seconds for the whole call; None waits as long as the server takes

    Every call raises InvalidRequest, ServerUnavailable, DeadlineExceeded or GenerationFailed.
    """

    def __init__(self, url: str, protocol: Protocol = "grpc") -> None:
        if not url or url.startswith(("http://", "https://", "grpc://", "grpcs://")):
            raise InvalidRequest(f'url is {url!r}; it must be "host:port" without a scheme', "url")
        self._transport = _transport(url, protocol)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._transport.close()

    def text_to_image(
        self,
        prompt: str,
        *,
        negative_prompt: str | None = None,
        num_images: int | None = None,
        height: int | None = None,
        width: int | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        sampler: str | None = None,
        timestep_spacing: str | None = None,
        eta: float | None = None,
        seed: int | None = None,
        timeout: float | None = None,
    ) -> list[Image]:
        """Makes the pictures and returns them: `num_images` RGB images of `width` x `height`.

        `image.info` holds the picture's own `seed` and the settings that were given, under the names of the arguments;
        `save_png` writes them into the file. The class documents the arguments and the errors.

        When `timeout` has passed the server stops the work on gRPC; on HTTP it cannot know, and finishes it.
        """
        fields = checked(
            {
                "prompt": prompt,
                "negative_prompt": negative_prompt,
                "num_images": num_images,
                "height": height,
                "width": width,
                "num_inference_steps": num_inference_steps,
                "guidance_scale": guidance_scale,
                "sampler": sampler,
                "timestep_spacing": timestep_spacing,
                "eta": eta,
                "seed": seed,
            }
        )
        return pictures(self._transport.infer("text_to_image", tensors(fields), timeout), fields)

    def stream(
        self,
        prompt: str,
        *,
        negative_prompt: str | None = None,
        num_images: int | None = None,
        height: int | None = None,
        width: int | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        sampler: str | None = None,
        timestep_spacing: str | None = None,
        eta: float | None = None,
        seed: int | None = None,
        preview_interval: int | None = None,
        timeout: float | None = None,
    ) -> Generator[Event]:
        """Makes the pictures and yields what happens: `Progress` every step, `Preview` every `preview_interval` steps
        (none by default), and `Completed` with the pictures at the end. gRPC only.

        The request is sent when the first event is asked for. Closing the iterator (`close()`, leaving the function
        that holds it, an exception) cancels the request, and the server stops within one step.

        A wrong argument is refused here; every other error is raised by the iterator. The time that the caller takes
        between events counts towards `timeout`.
        """
        fields = checked(
            {
                "prompt": prompt,
                "negative_prompt": negative_prompt,
                "num_images": num_images,
                "height": height,
                "width": width,
                "num_inference_steps": num_inference_steps,
                "guidance_scale": guidance_scale,
                "sampler": sampler,
                "timestep_spacing": timestep_spacing,
                "eta": eta,
                "seed": seed,
                "preview_interval": preview_interval,
            }
        )
        return events(self._transport.stream("diffusion", tensors(fields), timeout), fields)


def _transport(url: str, protocol: Protocol) -> "GrpcTransport | HttpTransport":
    # Imported here because each takes a fifth of a second.
    if protocol == "grpc":
        from ._grpc import GrpcTransport

        return GrpcTransport(url)
    if protocol == "http":
        from ._http import HttpTransport

        return HttpTransport(url)
    raise InvalidRequest(f'protocol is {protocol!r}; it must be "grpc" or "http"', "protocol")
