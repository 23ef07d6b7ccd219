"""The processes of the loop on one machine: MLflow, Airflow, the promoter and the reports."""
