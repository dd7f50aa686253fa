"""The workflows as DAGs of Airflow, which finds this folder's parent in the data bucket."""
