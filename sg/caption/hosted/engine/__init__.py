"""The engine: every clip exactly once, at the allowed pace and price, whatever the service and the machine do."""
