"""NVIDIA's own clients against server.serve, unchanged, in an environment of their own: `python triton.py HTTP_PORT GRPC_PORT`.

Reads images f32 [n, 28, 28, 1] (npy) from its standard input; prints JSON: what each client was told, probabilities and all.
"""

from __future__ import annotations

import io
import json
import sys
from typing import Any

import numpy as np
import tritonclient.grpc as remote
import tritonclient.http as web


def calls(module: Any, port: int, images: np.ndarray, **how: bool) -> dict[str, Any]:
    """All of the protocol's calls by one client. how: of HTTP, whether tensors go as bytes."""
    client = module.InferenceServerClient(f"127.0.0.1:{port}")
    image = module.InferInput("image", list(images.shape), "FP32")
    image.set_data_from_numpy(images, **how)
    answer = client.infer("digits", [image], outputs=[module.InferRequestedOutput("probabilities", **how)])
    metadata = client.get_model_metadata("digits", **({"as_json": True} if module is remote else {}))
    try:
        client.infer("letters", [image])
        refused = ""
    except module.InferenceServerException as error:
        refused = str(error)
    return {
        "live": client.is_server_live(), "ready": client.is_server_ready(), "model": client.is_model_ready("digits"),
        "inputs": [one["name"] for one in metadata["inputs"]], "refused": refused,
        "probabilities": answer.as_numpy("probabilities").tolist(),
    }  # fmt: skip


if __name__ == "__main__":
    http_port, grpc_port = map(int, sys.argv[1:])
    given = np.load(io.BytesIO(sys.stdin.buffer.read()), allow_pickle=False)
    results = {
        "http, bytes": calls(web, http_port, given, binary_data=True),
        "http, JSON": calls(web, http_port, given, binary_data=False),
        "gRPC": calls(remote, grpc_port, given),
    }
    print(json.dumps(results))
