"""All that a GPU is to be measured for, item by item, each in a process of its own: `rim check-gpu --full`."""
