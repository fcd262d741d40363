"""What `rim check-gpu --full` measures: a module an item, whose `run` yields rows as it measures them."""
