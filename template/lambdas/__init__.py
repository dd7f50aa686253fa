"""The Lambda functions: a file each, with nothing but boto3 and the standard library."""
