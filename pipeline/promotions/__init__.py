"""How an answer given in Airflow becomes a review on the record and a promotion: evidence first, then the log."""
