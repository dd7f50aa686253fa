"""IAM: sessions of roles, what they call, and what their policies allow."""
