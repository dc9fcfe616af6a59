"""A rehearsal: the real code of a stage, without weights and with processes that do not exist.

Floating-point tensors have shapes and types but no values, and the other processes of the team answer at once. So a
stage of a 7B model on 16 GPUs runs on a laptop, and shows what it needs: memory, operations and traffic.
"""
