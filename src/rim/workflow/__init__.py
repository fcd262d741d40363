"""What Snakemake is told: fingerprints of code, records of jobs, costs, clusters, and what ran."""
