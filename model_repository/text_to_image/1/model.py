"""The front for clients that take one response: HTTP infer, unary gRPC and perf_analyzer. It holds no logic."""

import json
import secrets

import triton_python_backend_utils as pb_utils

OUTPUTS = ["image", "seed"]


class TritonPythonModel:
    """Forwards a request to `diffusion` and returns its last response. An instance blocks on its own request."""

    def execute(self, requests: list) -> list:
        return [self._forward(request) for request in requests]

    def _forward(self, request):
        # Over HTTP a client that leaves is not noticed, so it may name its request and cancel it with another one.
        parameters = json.loads(request.parameters() or "{}")
        if "cancel" in parameters:
            self._cancel(str(parameters["cancel"]), request.inputs())
            return pb_utils.InferenceResponse(error=_cancelled())
        token = str(parameters.get("token") or secrets.token_hex(16))
        responses = pb_utils.InferenceRequest(
            request_id=request.request_id(),
            model_name="diffusion",
            inputs=request.inputs(),
            requested_output_names=OUTPUTS,
            parameters={"token": token},
        ).exec(decoupled=True)
        last = None
        for response in responses:  # one a step: the moments at which a cancelled request can be noticed
            if response.has_error():
                return pb_utils.InferenceResponse(error=_with_code(response.error().message()))
            if request.is_cancelled():
                self._cancel(token, request.inputs())
            if pb_utils.get_output_tensor_by_name(response, "image") is not None:
                last = response
        if last is None:
            return pb_utils.InferenceResponse(error=_cancelled())
        return pb_utils.InferenceResponse([pb_utils.get_output_tensor_by_name(last, name) for name in OUTPUTS])

    def _cancel(self, token: str, inputs: list) -> None:
        """Tell `diffusion` to drop the request: a BLS request cannot be cancelled."""
        cancel = pb_utils.InferenceRequest(
            model_name="diffusion", inputs=inputs, requested_output_names=OUTPUTS, parameters={"cancel": token}
        )
        list(cancel.exec(decoupled=True))


def _cancelled():
    return pb_utils.TritonError("the request was cancelled", pb_utils.TritonError.CANCELLED)


def _with_code(message: str):
    """The error that `diffusion` sent: BLS has lost its code, which stands before the message as well."""
    name, separator, rest = message.partition(": ")
    if separator and name in ("INVALID_ARG", "UNAVAILABLE", "INTERNAL"):
        return pb_utils.TritonError(rest, getattr(pb_utils.TritonError, name))
    return pb_utils.TritonError(message)
