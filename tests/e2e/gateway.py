"""The JSON gateway, as tests call it."""

import base64
import json
import urllib.request


def b64(text):
    return base64.b64encode(text.encode()).decode()


def post(member, path, body, timeout=30):
    """The answer to what goes to /v3/PATH; one that is refused is an HTTPError."""
    url = f"http://{member.endpoint}/v3/{path}"
    with urllib.request.urlopen(url, json.dumps(body).encode(), timeout=timeout) as answer:
        return json.load(answer)
