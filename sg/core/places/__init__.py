"""Places: folders of this machine and addresses such as s3://bucket/folder, and what keeps them in step."""
