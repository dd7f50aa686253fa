"""Resource types of CloudFormation that ministack has not."""
