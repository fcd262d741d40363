"""One module per rule of the workflow, each thin: check the settings, load, call the library, write."""
