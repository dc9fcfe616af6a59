"""A loopback server that speaks the wire format of the Gemini API and of the OpenAI chat API, with their faults."""
