"""The global model as a service, in the protocols of TensorFlow Serving and of the Open Inference Protocol. No TensorFlow here."""
