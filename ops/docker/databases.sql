-- The decision log has the database that Postgres makes by itself; these are for the others.
CREATE DATABASE airflow OWNER segloop;
CREATE DATABASE mlflow OWNER segloop;
CREATE DATABASE mlflow_auth OWNER segloop;
