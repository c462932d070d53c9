"""The code to copy: that it makes the same image is seen in test_page.py; here is what could break it."""

import ast
import json
import shlex

import pytest
from triton_diffusion.web.snippets import as_curl, as_python

PROMPTS = ["a circle", 'it\'s "quoted" and $HOME `date` \\n', "two\nlines", "Ein großer Kreis 🔵", "{} %s !"]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_python_says_what_was_asked(prompt):
    arguments = {"prompt": prompt, "negative_prompt": prompt, "seed": 2**62, "guidance_scale": 3.5}
    module = ast.parse(as_python(arguments, ["localhost:8001"]))
    (call,) = [node for node in ast.walk(module) if isinstance(node, ast.Call) and len(node.keywords) > 1]
    said = {"prompt": ast.literal_eval(call.args[0])}
    said |= {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
    assert said == arguments


def test_python_names_every_server():
    assert "Client('a:1')" in as_python({"prompt": "a"}, ["a:1"]).replace('"', "'")
    assert "Client(['a:1', 'b:2'])" in as_python({"prompt": "a"}, ["a:1", "b:2"]).replace('"', "'")


@pytest.mark.parametrize("prompt", PROMPTS)
def test_curl_sends_what_was_asked(prompt):
    command = shlex.split(as_curl({"prompt": prompt, "seed": 7, "eta": 0.5}, "localhost:8000"))
    assert command[:3] == ["curl", "-sf", "http://localhost:8000/v2/models/text_to_image/infer"]
    assert json.loads(command[command.index("-d") + 1])["inputs"] == [
        {"name": "prompt", "datatype": "BYTES", "shape": [1], "data": [prompt]},
        {"name": "seed", "datatype": "INT64", "shape": [1], "data": [7]},
        {"name": "eta", "datatype": "FP32", "shape": [1], "data": [0.5]},
    ]


def test_curl_keeps_the_scheme():
    assert "https://example.org/v2/models" in as_curl({"prompt": "a"}, "https://example.org")
