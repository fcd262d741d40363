"""The world of the model organisms: its requests and stories, the texts made of them, and the tokenizer."""
