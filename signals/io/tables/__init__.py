"""Tables and arrays, which say little of themselves: CSV, NumPy, Parquet in, ECGRecords out."""
