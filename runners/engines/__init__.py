"""The engines beyond the direct runner: Prism, Flink and Spark."""
