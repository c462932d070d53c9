"""Requests over HTTP that end Triton 2.51, take all its memory, or are wrong and answered with 500."""

import gzip
import json
from dataclasses import dataclass, field

INFER = "/v2/models/text_to_image/infer"
GENERATE = "/v2/models/text_to_image/generate"
PROMPT = {"name": "prompt", "datatype": "BYTES", "shape": [1], "data": ["a red circle"]}
STEPS = {"name": "num_inference_steps", "datatype": "INT32", "shape": [1], "data": [1]}


@dataclass(frozen=True)
class Malformed:
    """One request, what the refusal of the checked nginx says, and its status."""

    body: bytes
    says: str
    status: int = 400
    path: str = INFER
    headers: dict[str, str] = field(default_factory=dict)


def infer(*inputs: object, **fields: object) -> bytes:
    return json.dumps({"inputs": [PROMPT, STEPS, *inputs], **fields}).encode()


def tensor(shape: object, data: object = (1,), datatype: str = "INT64", name: str = "seed", **fields: object) -> object:
    return {"name": name, "datatype": datatype, "shape": shape, "data": data, **fields}


def _raw(number: str, datatype: str = "INT64") -> bytes:
    """A request whose seed is written as `number`."""
    return infer(tensor([1], [777], datatype)).replace(b"777", number.encode())


def _binary(size: object) -> object:
    return {"name": "seed", "datatype": "INT64", "shape": [1], "parameters": {"binary_data_size": size}}


DEADLY = {
    "INT64 of 2^63-1 values": Malformed(infer(tensor([2**63 - 1])), "shape of seed is"),
    "INT64 of 2^62 values": Malformed(infer(tensor([2**62])), "shape of seed is"),
    "FP32 of 2^63-1 values": Malformed(infer(tensor([2**63 - 1], [1.5], "FP32", "eta")), "shape of eta is"),
    "texts of 2^62 values": Malformed(infer(tensor([2**62], ["a"], "BYTES", "sampler")), "shape of sampler is"),
    "a million lists": Malformed(b"[" * 1_000_000, "larger than", 413),
    "a million objects": Malformed(b'{"a":' * 1_000_000, "larger than", 413),
    "60,000 lists": Malformed(b"[" * 60_000, "nests deeper than 8 levels"),
    "12,000 objects": Malformed(b'{"a":' * 12_000, "nests deeper than 8 levels"),
}
"""End Triton 2.51, or might."""
HUGE = {
    "17 GB declared": Malformed(infer(tensor([2**31])), "shape of seed is"),
    "8 GB declared": Malformed(infer(tensor([2**30])), "that is 1073741824 values, but its data holds 1"),
    "40 MB in gzip": Malformed(
        gzip.compress(b" " * 40_000_000), "content-encoding is", 415, headers={"Content-Encoding": "gzip"}
    ),
}
"""Take much memory."""
WRONG = {
    "no JSON": Malformed(b"{", "no JSON at byte 1"),
    "a list": Malformed(b"[]", "no JSON object"),
    "no inputs": Malformed(b"{}", "inputs is missing"),
    "timeout of text": Malformed(infer(parameters={"timeout": "soon"}), 'timeout is \\"soon\\": use a whole number'),
    "negative timeout": Malformed(infer(parameters={"timeout": -1}), "timeout is -1: use a whole number"),
    "timeout with a fraction": Malformed(infer(parameters={"timeout": 1e7}), "timeout is 10000000.0: use a whole"),
    "priority of text": Malformed(infer(parameters={"priority": "high"}), "priority is"),
    "parameters in a list": Malformed(infer(parameters=[1]), "parameters is [1]: use an object"),
    "binary_data_size of text": Malformed(infer(_binary("8")), 'binary_data_size is \\"8\\": use a whole number'),
    "binary_data_size of another shape": Malformed(infer(_binary(4)), "its shape [1] takes 8 bytes"),
    "binary_data_size without data": Malformed(infer(_binary(8)), "8 in sum, but 0 bytes follow"),
    "seed with a fraction": Malformed(_raw("7.0"), "holds 7.0: INT64 takes whole numbers"),
    "seed of 65 bits": Malformed(_raw("9223372036854775808"), "more than 64 bits"),
    "seed of text": Malformed(infer(tensor([1], ["7"])), 'holds \\"7\\": INT64 takes whole numbers'),
    "height past 32 bits": Malformed(infer(tensor([1], [2**40], "INT32", "height")), "INT32 takes whole numbers"),
    "a number past any": Malformed(_raw("1e400", "FP32"), "1e400 is too large"),
    "half a surrogate pair": Malformed(infer(id="\ud800"), "half of a surrogate pair"),
    "a name twice": Malformed(b'{"inputs": [], "inputs": []}', "stands twice"),
    "fewer values than declared": Malformed(infer(tensor([2])), "that is 2 values, but its data holds 1"),
    "no shape": Malformed(infer(tensor(None)), "shape of seed is null"),
    "an unknown field": Malformed(infer(input=1), "is no field of a request"),
    "shared memory": Malformed(
        infer(tensor([1], parameters={"shared_memory_region": "x"})), "shared_memory_region is not served here"
    ),
    "an id that is a number": Malformed(infer(id=5), "id is 5: use text"),
    "generate: no JSON": Malformed(b"{", "no JSON at byte 1", path=GENERATE),
    "generate: a number as prompt": Malformed(b'{"prompt": 1}', "BYTES takes texts", path=GENERATE),
    "generate: a field that is none": Malformed(b'{"prompt": "a", "step": 1}', "is no input: use", path=GENERATE),
    "generate: a wrong timeout": Malformed(
        b'{"prompt": "a", "parameters": {"timeout": "x"}}', "timeout is", path=GENERATE
    ),
    "no encoding that is known": Malformed(infer(), "content-encoding is", 415, headers={"Content-Encoding": "br"}),
    "a header's length of text": Malformed(
        infer(), "Inference-Header-Content-Length is", headers={"Inference-Header-Content-Length": "x"}
    ),
    "a header's length past the body": Malformed(
        infer(), "Inference-Header-Content-Length is", headers={"Inference-Header-Content-Length": "999999"}
    ),
}
"""Answered by Triton with 500, 501 or as if nothing were wrong, or with less to say."""
MALFORMED = {**DEADLY, **HUGE, **WRONG}
