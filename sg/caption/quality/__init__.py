"""Quality gates: pure checks of a caption, run when it arrives and again by the audit, without new requests."""
