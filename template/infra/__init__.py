"""The AWS resources of this use case, as an app of the AWS CDK."""
