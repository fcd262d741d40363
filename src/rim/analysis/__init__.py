"""Inside the models: activations, probes, refusal heads, safety-critical neurons, RAS and its baselines."""
