"""What the DAGs are declared with: operators, links, alerts, assets and settings. Airflow and yaml only."""
