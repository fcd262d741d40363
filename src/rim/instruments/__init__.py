"""What looks at replies: judges, graders, annotators of patterns, rewriting and injection."""
