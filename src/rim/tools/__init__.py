"""One module per command for people, each thin: declare its arguments, call the library, print."""
