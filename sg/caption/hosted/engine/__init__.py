"""The engine: one result per video, within the limits of pace and cost, across crashes and errors of the service."""
