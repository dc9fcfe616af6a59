"""Clients of captioning services: one small protocol, and one file per API."""
