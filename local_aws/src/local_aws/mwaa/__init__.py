"""Amazon MWAA: environments in which Airflow really runs."""
