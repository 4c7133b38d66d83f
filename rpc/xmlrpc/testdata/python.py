"""Answers, for each line of documents in base64, what xmlrpc.client makes of it.

An answer is a line of JSON: the method or nil, the parameters as pairs of type
and value, the call as this module would send it, in base64, and the parameters that
it would find in that; or null for what it refuses.
"""

import base64
import json
import struct
import sys
import xmlrpc.client


def show(v):
    if v is None:
        return ["nil", ""]
    if isinstance(v, bool):
        return ["bool", str(v)]
    if isinstance(v, int):
        return ["int", str(v)]
    if isinstance(v, float):
        return ["double", "nan" if v != v else struct.pack(">d", v).hex()]
    if isinstance(v, str):
        return ["string", v]
    if isinstance(v, xmlrpc.client.Binary):
        return ["base64", base64.b64encode(v.data).decode()]
    if isinstance(v, xmlrpc.client.DateTime):
        return ["date", v.value]
    if isinstance(v, (list, tuple)):
        return ["array", [show(i) for i in v]]
    if isinstance(v, dict):
        return ["struct", [[k, show(i)] for k, i in v.items()]]
    raise TypeError(type(v))


def answer(doc):
    try:
        params, method = xmlrpc.client.loads(doc)
    except Exception:
        return None
    try:
        again = xmlrpc.client.dumps(params, method, allow_none=True).encode()
    except OverflowError:  # integers that only calls of others have
        again = b""
    return {
        "method": method,
        "params": show(params),
        "again": base64.b64encode(again).decode(),
        "echo": show(xmlrpc.client.loads(again)[0]) if again else None,
    }


for line in sys.stdin:
    print(json.dumps(answer(base64.b64decode(line))), flush=False)
