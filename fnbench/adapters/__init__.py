"""One module per dataset: the folder as its owners distribute it becomes Captures."""
