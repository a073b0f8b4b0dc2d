"""Recording what environment runners sample, in Parquet files, and reading it."""
