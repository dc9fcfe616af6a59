"""A loopback server with the wire formats of the Gemini API and the OpenAI chat API, and with their faults."""
