"""The workflows of this use case: what runs, in which order, with which names."""
