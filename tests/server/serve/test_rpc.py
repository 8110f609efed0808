"""The service over gRPC: the official stubs of TensorFlow Serving, unchanged, health, reflection, bad input, the token and TLS."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from google.protobuf import descriptor_pool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from fl import keys
from server.serve.messages import SERVICES, message
from tests.server.serve.conftest import Running, start, stop

PREDICT = "/tensorflow.serving.PredictionService/Predict"
CLASSIFY = "/tensorflow.serving.PredictionService/Classify"


@pytest.fixture(scope="module")
def channel(running: Running) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{running.grpc}") as opened:
        yield opened


def test_tensorflow_servings_own_stubs_find_what_they_know(
    channel: grpc.Channel, truth: Callable[[np.ndarray], np.ndarray], images: np.ndarray
) -> None:
    import tensorflow as tf
    from tensorflow_serving.apis import (
        classification_pb2,
        get_model_metadata_pb2,
        get_model_status_pb2,
        model_service_pb2_grpc,
        predict_pb2,
        prediction_service_pb2_grpc,
    )  # fmt: skip

    stub, wanted = prediction_service_pb2_grpc.PredictionServiceStub(channel), truth(images)
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "digits", "serving_default"
    for tensor in (tf.make_tensor_proto(images), _listed(tf, images)):  # as bytes, as a list of floats
        request.inputs["image"].CopyFrom(tensor)
        answer = stub.Predict(request, timeout=10)
        np.testing.assert_allclose(tf.make_ndarray(answer.outputs["probabilities"]), wanted, atol=1e-6)
        assert answer.model_spec.version.value == 3

    asked = classification_pb2.ClassificationRequest()
    asked.model_spec.name, asked.model_spec.version.value = "digits", 3
    for image in images:
        example = asked.input.example_list.examples.add()
        example.features.feature["image"].float_list.value.extend(image.ravel().tolist())
    rows = stub.Classify(asked, timeout=10).result.classifications
    assert [one.label for one in rows[0].classes] == [str(n) for n in range(10)]
    np.testing.assert_allclose([[one.score for one in row.classes] for row in rows], wanted, atol=1e-6)

    about = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    about.model_spec.name = "digits"
    found = get_model_metadata_pb2.SignatureDefMap()
    assert stub.GetModelMetadata(about, timeout=10).metadata["signature_def"].Unpack(found)
    signature = found.signature_def["serving_default"]
    assert [dim.size for dim in signature.inputs["image"].tensor_shape.dim] == [-1, 28, 28, 1]
    assert signature.outputs["probabilities"].dtype == tf.float32.as_datatype_enum

    status = get_model_status_pb2.GetModelStatusRequest()
    status.model_spec.name = "digits"
    (state,) = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(status, timeout=10).model_version_status
    assert (state.version, state.state, state.status.error_code) == (3, 30, 0)


def _listed(tf: Any, images: np.ndarray) -> Any:
    tensor = tf.make_tensor_proto(images[:, :1, :1])
    tensor.tensor_shape.CopyFrom(tf.TensorShape(images.shape).as_proto())
    tensor.ClearField("tensor_content")
    tensor.float_val[:] = images.ravel().tolist()
    return tensor


def test_every_message_has_the_official_fields_and_numbers(channel: grpc.Channel) -> None:
    """Reflection gives the descriptors; each field of ours is the same in the official packages."""
    from tensorflow_serving.apis import get_model_status_pb2, prediction_service_pb2  # noqa: F401

    default = descriptor_pool.Default()
    pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
    seen = set()

    def same(mine: Any) -> None:
        if mine.full_name in seen:
            return
        seen.add(mine.full_name)
        theirs = default.FindMessageTypeByName(mine.full_name)
        for field in mine.fields:
            other = theirs.fields_by_name[field.name]
            assert (field.number, field.type, field.is_repeated) == (other.number, other.type, other.is_repeated), field
            if field.message_type:
                same(field.message_type)

    for name in ("tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"):
        for method in pool.FindServiceByName(name).methods:
            same(method.input_type)
            same(method.output_type)
    assert len(seen) > 20


def test_health_and_the_open_protocol(
    channel: grpc.Channel, truth: Callable[[np.ndarray], np.ndarray], images: np.ndarray
) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    for name in ("", *SERVICES):
        assert health.Check(health_pb2.HealthCheckRequest(service=name), timeout=10).status == 1

    request = message("inference.ModelInferRequest")(model_name="digits", id="7")
    tensor = request.inputs.add(name="image", datatype="FP32", shape=images.shape)
    request.raw_input_contents.append(images.astype("<f4").tobytes())
    answer = _call(channel, "/inference.GRPCInferenceService/ModelInfer", request, "inference.ModelInferResponse")
    np.testing.assert_allclose(
        np.frombuffer(answer.raw_output_contents[0], "<f4").reshape(-1, 10), truth(images), atol=1e-6
    )
    assert (answer.id, answer.model_version) == ("7", "3")

    del request.raw_input_contents[:]
    tensor.contents.fp32_contents.extend(images.ravel().tolist())
    answer = _call(channel, "/inference.GRPCInferenceService/ModelInfer", request, "inference.ModelInferResponse")
    flat = np.array(answer.outputs[0].contents.fp32_contents)
    np.testing.assert_allclose(flat.reshape(-1, 10), truth(images), atol=1e-6)


def _call(channel: grpc.Channel, path: str, request: Any, response: str) -> Any:
    return message(response).FromString(channel.unary_unary(path)(request.SerializeToString(), timeout=10))


def _request(**changed: Any) -> bytes:
    request = message("tensorflow.serving.PredictRequest")()
    request.model_spec.name = changed.get("name", "digits")
    request.model_spec.signature_name = changed.get("signature", "")
    if "version" in changed:
        request.model_spec.version.value = changed["version"]
    tensor = request.inputs[changed.get("input", "image")]
    tensor.dtype = changed.get("dtype", 1)
    for size in changed.get("shape", (1, 28, 28, 1)):
        tensor.tensor_shape.dim.add(size=size)
    tensor.tensor_content = changed.get("content", np.zeros(784, "<f4").tobytes())
    request.output_filter.extend(changed.get("outputs", ()))
    return request.SerializeToString()  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("octets", "code", "words"),
    [
        (b"\xff\xff garbage", "INVALID_ARGUMENT", "no tensorflow.serving.PredictRequest"),
        (_request()[:-100], "INVALID_ARGUMENT", "no tensorflow.serving.PredictRequest"),  # half a message
        (b"", "NOT_FOUND", "no model ''"),
        (_request(name="letters"), "NOT_FOUND", "only 'digits'"),
        (_request(version=9), "NOT_FOUND", "only 3"),
        (_request(signature="train"), "INVALID_ARGUMENT", "'train'"),
        (_request(input="picture"), "INVALID_ARGUMENT", "picture"),
        (_request(dtype=3), "INVALID_ARGUMENT", "DT_INT32"),
        (_request(shape=(28, 28)), "INVALID_ARGUMENT", "shape [28, 28]"),
        (_request(shape=(-1, 28, 28, 1)), "INVALID_ARGUMENT", "makes no sense"),
        (_request(shape=(2**62, 2**62)), "INVALID_ARGUMENT", "makes no sense"),
        (_request(shape=(2**30,) * 8), "INVALID_ARGUMENT", "3136 bytes"),
        (_request(shape=(0, 28, 28, 1), content=b""), "INVALID_ARGUMENT", "n ≥ 1"),
        (_request(content=np.full(784, np.nan, "<f4").tobytes()), "INVALID_ARGUMENT", "not a number"),
        (_request(content=np.full(784, -1, "<f4").tobytes()), "INVALID_ARGUMENT", "holds -1"),
        (_request(outputs=("logits",)), "INVALID_ARGUMENT", "'logits'"),
        (_request(shape=(257, 28, 28, 1), content=np.zeros(257 * 784, "<f4").tobytes()), "RESOURCE_EXHAUSTED", "at most 256"),
        (b"x" * 4_000_001, "RESOURCE_EXHAUSTED", "larger than max"),
    ],
)  # fmt: skip
def test_bad_input_is_told_what_is_wrong(channel: grpc.Channel, octets: bytes, code: str, words: str) -> None:
    call = channel.unary_unary(PREDICT)
    with pytest.raises(grpc.RpcError) as refused:
        call(octets, timeout=10)
    assert refused.value.code().name == code and words in refused.value.details()
    assert call(_request(), timeout=10)


def test_tiny_examples_are_counted_before_they_are_converted(channel: grpc.Channel) -> None:
    request = message("tensorflow.serving.ClassificationRequest")()
    request.model_spec.name = "digits"
    for _ in range(257):
        request.input.example_list.examples.add().features.feature["image"].float_list.value.append(0)
    with pytest.raises(grpc.RpcError) as refused:
        channel.unary_unary(CLASSIFY)(request.SerializeToString(), timeout=10)
    assert refused.value.code().name == "RESOURCE_EXHAUSTED" and "257 images" in refused.value.details()


def test_a_strangers_message_is_not_received(model: Path, tmp_path: Path) -> None:
    """Who says no token is refused before a byte of the message has come; with the token it is waited for."""
    secret, sent = tmp_path / "token", threading.Event()
    secret.write_text("a secret of some length")
    running = start(model, "--token-file", str(secret))

    def late() -> Iterator[bytes]:
        sent.wait()
        yield _request()

    try:
        with grpc.insecure_channel(f"127.0.0.1:{running.grpc}") as channel:
            for token, code in (
                ("", "UNAUTHENTICATED"),
                ("a guess", "UNAUTHENTICATED"),
                (secret.read_text(), "DEADLINE_EXCEEDED"),
            ):
                bearer = (("authorization", f"Bearer {token}"),)
                for path in (PREDICT, CLASSIFY, "/inference.GRPCInferenceService/ServerLive"):
                    with pytest.raises(grpc.RpcError) as refused:
                        channel.stream_unary(path)(late(), timeout=1, metadata=bearer)
                    assert refused.value.code().name == code
            assert health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10).status == 1
    finally:
        sent.set()
        stop(running)


def test_other_computers_need_the_token_over_tls(model: Path, tmp_path: Path) -> None:
    keys.authority(tmp_path)
    keys.server(tmp_path, ["127.0.0.1"])
    secret = tmp_path / "token"
    secret.write_text("a secret of some length\n")
    tls = ["--key", str(tmp_path / "server.key"), "--certificate", str(tmp_path / "server.crt")]
    running = start(model, *tls, "--token-file", str(secret))
    try:
        ca, bearer = tmp_path / "ca.crt", "Bearer a secret of some length"
        web = httpx.Client(verify=str(ca), base_url=f"https://127.0.0.1:{running.http}")
        assert web.get("/v1/models/digits").status_code == 401
        assert web.get("/v1/models/digits", headers={"authorization": "Bearer wrong"}).status_code == 401
        assert web.get("/v1/models/digits", headers={"authorization": bearer}).status_code == 200
        assert web.get("/v2/health/ready").status_code == 200 and web.get("/metrics").status_code == 401
        credentials = grpc.ssl_channel_credentials(ca.read_bytes())
        with grpc.secure_channel(f"127.0.0.1:{running.grpc}", credentials) as channel:
            with pytest.raises(grpc.RpcError) as refused:
                channel.unary_unary(PREDICT)(_request(), timeout=10)
            assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
            assert channel.unary_unary(PREDICT)(_request(), timeout=10, metadata=(("authorization", bearer),))
        web.close()
    finally:
        stop(running)
