"""The vision tower of InternVideo2: from published weights to one vector per video."""
