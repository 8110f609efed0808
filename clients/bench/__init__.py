"""What an exported model costs on this device: accuracy, latency, throughput, size, memory, energy."""
