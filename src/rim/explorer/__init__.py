"""Replies that one can read: found and filtered, on a terminal, as a page for a browser, and as logs of Inspect."""
