"""Services that write captions: one small protocol, and one file for each way of talking to one."""
